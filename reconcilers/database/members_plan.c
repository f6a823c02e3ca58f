/* Who of the spec becomes a user, and what happens to those whom it no longer names.
 *
 * Everybody who is there and named stays, also when the limit has fallen below: a limit destroys
 * nothing. Those who are new come in the order of the list, as far as there is room. Whoever is no
 * longer named is disabled; nobody is looked at whom the spec never named, since other programs may
 * have users of their own. */
#include <string.h>

#include "controller/base/str.h"
#include "reconcilers/database/members_internal.h"

enum { ACTIONS_A_PERSON = 2, EXCESS_SHOWN = 20 };

static const struct user_row *find_user(const struct members_seen *seen, const char *email)
{
    for (size_t i = 0; i < seen->user_count; i++) {
        if (text_equal(seen->users[i].email, email)) {
            return &seen->users[i];
        }
    }
    return NULL;
}

static const struct member_row *find_registered(const struct members_seen *seen, const char *email)
{
    for (size_t i = 0; i < seen->registered_count; i++) {
        if (text_equal(seen->registered[i].email, email)) {
            return &seen->registered[i];
        }
    }
    return NULL;
}

static bool is_named(const struct tenant *tenant, const char *email)
{
    bool named = text_equal(tenant->owner.email, email);
    for (size_t i = 0; i < tenant->member_count; i++) {
        named |= text_equal(tenant->members[i].email, email);
    }
    return named;
}

static bool is_to_be_erased(const char *list, const char *email)
{
    struct str rest = str_from(list);
    while (rest.len > 0) {
        if (str_equal_c(str_trim(str_cut(&rest, ',')), email)) {
            return true;
        }
    }
    return false;
}

static void add(struct members_plan *plan, enum member_action_kind kind, const char *email,
                const struct person *person)
{
    plan->actions[plan->count++] = (struct member_action){
        .kind = kind,
        .email = email,
        .name = person && !text_is_empty(person->name) ? person->name : NULL,
        .role = person ? member_role_text(person->role) : NULL,
    };
}

static bool differs(const struct user_row *user, const struct person *person)
{
    return !text_equal(user->role, member_role_text(person->role)) ||
           (!text_is_empty(person->name) && !text_equal(user->full_name, person->name));
}

/* The spec's owner is nobody's member. */
static bool is_member(const struct tenant *tenant, const struct person *person)
{
    return !text_equal(person->email, tenant->owner.email);
}

static int64_t count_present(const struct tenant *tenant, const struct members_seen *seen)
{
    int64_t count = 1; /* the owner */
    for (size_t i = 0; i < tenant->member_count; i++) {
        const struct person *person = &tenant->members[i];
        const struct user_row *user = find_user(seen, person->email);
        count += is_member(tenant, person) && user && !user->disabled ? 1 : 0;
    }
    return count;
}

/* Actions on users. *ret_fits false: there is no room. */
static void plan_user(const struct members_seen *seen, const struct person *person, int64_t limit,
                      int64_t *count, bool *ret_fits, struct members_plan *ret)
{
    const struct user_row *user = find_user(seen, person->email);

    *ret_fits = true;
    if (user && !user->disabled) {
        if (differs(user, person)) {
            add(ret, MEMBER_UPDATE, person->email, person);
        }
        return;
    }
    if (limit >= 0 && *count >= limit) {
        *ret_fits = false;
        return;
    }
    (*count)++;
    add(ret, user ? MEMBER_ENABLE : MEMBER_ADD, person->email, person);
}

static void plan_registered(const struct members_seen *seen, const struct person *person,
                            struct members_plan *ret)
{
    const struct member_row *row = find_registered(seen, person->email);

    if (!row || !row->managed || !text_equal(row->status, "active") ||
        !text_equal(row->role, member_role_text(person->role))) {
        add(ret, MEMBER_REGISTER, person->email, person);
    }
}

static void plan_removed(const struct tenant *tenant, const char *erase,
                         const struct members_seen *seen, struct members_plan *ret)
{
    for (size_t i = 0; i < seen->registered_count; i++) {
        const struct member_row *row = &seen->registered[i];
        const struct user_row *user = find_user(seen, row->email);
        if (!row->managed || is_named(tenant, row->email)) {
            continue;
        }
        if (is_to_be_erased(erase, row->email)) {
            add(ret, MEMBER_ERASE, row->email, NULL);
            add(ret, MEMBER_FORGET, row->email, NULL);
            continue;
        }
        if (user && !user->disabled) {
            add(ret, MEMBER_DISABLE, row->email, NULL);
        }
        if (!text_equal(row->status, "disabled")) {
            add(ret, MEMBER_SUSPEND, row->email, NULL);
        }
    }
}

static const char *describe_excess(struct arena *arena, const char *names, size_t count,
                                   int64_t limit)
{
    return arena_printf(arena,
                        "users: the owner and all members are %lld over the limit of %lld; not "
                        "added: %s%s; raise the limit (spec.quotas.users, or another tier), or "
                        "remove members",
                        (long long)count, (long long)limit, names,
                        count > EXCESS_SHOWN ? " and more" : "");
}

void members_plan(struct arena *arena, const struct tenant *tenant, int64_t limit,
                  const char *erase, const struct members_seen *seen, struct members_plan *ret)
{
    size_t most = (tenant->member_count + seen->registered_count) * ACTIONS_A_PERSON;
    int64_t present = count_present(tenant, seen);
    const char *names = "";
    size_t excess = 0;

    *ret = (struct members_plan){.actions = ARENA_ARRAY(arena, struct member_action, most)};
    for (size_t i = 0; i < tenant->member_count; i++) {
        const struct person *person = &tenant->members[i];
        bool fits = true;
        if (!is_member(tenant, person)) {
            continue;
        }
        plan_user(seen, person, limit, &present, &fits, ret);
        if (fits) {
            plan_registered(seen, person, ret);
        } else if (excess++ < EXCESS_SHOWN) {
            names = arena_printf(arena, "%s%s%s", names, *names ? ", " : "", person->email);
        }
    }
    plan_removed(tenant, erase, seen, ret);
    ret->excess = excess > 0 ? describe_excess(arena, names, excess, limit) : NULL;
}
