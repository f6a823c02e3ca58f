/* The words of the enums, in their order. The same arrays are what the codec reads by. */
#include "reconcilers/model/tenant.h"

#include "reconcilers/model/words.h"

const char *const tenant_state_words[] = {"Active", "Suspended", NULL};
const char *const isolation_words[] = {"", "Database", "Schema", "Row", NULL};
const char *const deletion_policy_words[] = {"Retain", "Delete", "Snapshot", NULL};
const char *const member_role_words[] = {"member", "admin", "owner", NULL};
const char *const billing_cycle_words[] = {"monthly", "annual", NULL};
const char *const fail_mode_words[] = {"Closed", "Open", NULL};
const char *const idle_wake_words[] = {"Hold", "Refuse", NULL};

const char *isolation_text(enum isolation isolation)
{
    return isolation_words[isolation];
}

bool isolation_parse(const char *text, enum isolation *ret)
{
    for (unsigned i = 0; isolation_words[i]; i++) {
        if (strcmp(isolation_words[i], text) == 0) {
            *ret = (enum isolation)i;
            return true;
        }
    }
    return false;
}

const char *deletion_policy_text(enum deletion_policy policy)
{
    return deletion_policy_words[policy];
}

const char *member_role_text(enum member_role role)
{
    return member_role_words[role];
}

const char *billing_cycle_text(enum billing_cycle cycle)
{
    return billing_cycle_words[cycle];
}

const char *fail_mode_text(enum fail_mode mode)
{
    return fail_mode_words[mode];
}

const char *idle_wake_text(enum idle_wake wake)
{
    return idle_wake_words[wake];
}
