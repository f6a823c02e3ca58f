/* A plan in words, for Events and conditions. */
#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/model/names.h"

static const struct {
    unsigned flaw;
    const char *words;
} flaw_words[] = {
    {FLAW_SUPERUSER, "SUPERUSER"},
    {FLAW_CREATE_DB, "CREATEDB"},
    {FLAW_CREATE_ROLE, "CREATEROLE"},
    {FLAW_REPLICATION, "REPLICATION"},
    {FLAW_BYPASS_RLS, "BYPASSRLS"},
    {FLAW_NO_INHERIT, "NOINHERIT"},
    {FLAW_LOGIN, "LOGIN"},
    {FLAW_CONNECTION_LIMIT, "a connection limit"},
    {FLAW_EXPIRES, "VALID UNTIL"},
};

static void describe_flaws(const struct action *action, struct buf *out)
{
    const char *separator = " had ";
    (void)buf_printf(out, "role \"%s\"", action->role);
    for (size_t i = 0; i < ARRAY_COUNT(flaw_words); i++) {
        if (action->flaws & flaw_words[i].flaw) {
            (void)buf_printf(out, "%s%s", separator, flaw_words[i].words);
            separator = ", ";
        }
    }
}

static const char *grantee_words(const char *grantee)
{
    return *grantee ? grantee : "PUBLIC";
}

static void describe(const struct action *action, struct buf *out)
{
    switch (action->kind) {
    case ACTION_MAKE_SHARED_ROLES:
        (void)buf_printf(out, "role \"%s\" or \"%s\" was missing", NAME_ROLE_APP,
                         NAME_ROLE_GATEWAY);
        return;
    case ACTION_CREATE_ROLE:
        (void)buf_printf(out, "role \"%s\" was missing", action->role);
        return;
    case ACTION_MARK_ROLE:
        (void)buf_printf(out, "role \"%s\" had not its mark", action->role);
        return;
    case ACTION_RESTRICT_ROLE:
        describe_flaws(action, out);
        return;
    case ACTION_DISABLE_LOGIN:
        (void)buf_printf(out, "role \"%s\" could log in", action->role);
        return;
    case ACTION_ACT_AS_OWNER:
        (void)buf_printf(out, "the controller could not act as role \"%s\"", action->role);
        return;
    case ACTION_GRANT_ROLE:
        (void)buf_printf(out, "role \"%s\" was no member of \"%s\"", action->member, action->role);
        return;
    case ACTION_REVOKE_ROLE:
        (void)buf_printf(out, "role \"%s\" was a member of \"%s\"", action->member, action->role);
        return;
    case ACTION_DROP_DATABASE:
        (void)buf_append_text(out, "the database was left behind by an interrupted DROP DATABASE");
        return;
    case ACTION_CREATE_DATABASE:
        (void)buf_append_text(out, "the database was missing");
        return;
    case ACTION_TAKE_DATABASE:
        (void)buf_printf(out, "the database was owned by \"%s\"", action->member);
        return;
    case ACTION_MARK_DATABASE:
        (void)buf_append_text(out, "the database had not its mark");
        return;
    case ACTION_REVOKE_DATABASE:
        (void)buf_printf(out, "%s had rights on the database", grantee_words(action->member));
        return;
    case ACTION_GRANT_DATABASE:
        (void)buf_printf(out, "%s lacked rights on the database", grantee_words(action->member));
        return;
    case ACTION_OPEN_DATABASE:
        (void)buf_append_text(out, "the database took no connections");
        return;
    case ACTION_CLOSE_DATABASE:
        (void)buf_append_text(out, "the database took connections");
        return;
    }
}

void database_plan_describe(const struct scope *scope, const struct plan *plan, struct buf *out)
{
    enum { DESCRIBED_MAX = 12 };

    (void)buf_printf(out, "database \"%s\": ", scope->database);
    for (size_t i = 0; i < plan->count && i < DESCRIBED_MAX; i++) {
        (void)buf_append_text(out, i > 0 ? "; " : "");
        describe(&plan->actions[i], out);
    }
    if (plan->count > DESCRIBED_MAX) {
        (void)buf_printf(out, "; and %zu more", plan->count - DESCRIBED_MAX);
    }
}
