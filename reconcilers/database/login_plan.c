/* What a login role must be, and the difference from what it is. */
#include <string.h>

#include "controller/base/hash.h"
#include "controller/base/str.h"
#include "reconcilers/database/login_internal.h"

#define DEFAULTS_WORD "defaults "

static const struct {
    enum login_default bit;
    const char *setting;
} settings[] = {
    {DEFAULT_ROLE, "role"},
    {DEFAULT_SEARCH_PATH, "search_path"},
    {DEFAULT_STATEMENT_TIMEOUT, "statement_timeout"},
    {DEFAULT_IDLE_TIMEOUT, "idle_in_transaction_session_timeout"},
};

static unsigned wanted_defaults(const struct scope *scope, const struct login_wanted *wanted)
{
    unsigned defaults = DEFAULT_SEARCH_PATH;
    defaults |= scope->mode->logins_begin_as_group ? DEFAULT_ROLE : 0U;
    defaults |= wanted->statement_timeout_ms > 0 ? DEFAULT_STATEMENT_TIMEOUT : 0U;
    defaults |= wanted->idle_in_transaction_timeout_ms > 0 ? DEFAULT_IDLE_TIMEOUT : 0U;
    return defaults;
}

const char *login_mark(struct arena *arena, const struct scope *scope,
                       const struct login_wanted *wanted)
{
    char digest[HASH128_TEXT_BYTES];
    const char *text = arena_printf(
        arena, "%s %s%s %lld %lld", scope->roles[scope->mode->login_group], scope->schema,
        wanted->extensions ? " extensions" : "", (long long)wanted->statement_timeout_ms,
        (long long)wanted->idle_in_transaction_timeout_ms);

    hash128_text(hash_128(str_from(text)), digest);
    /* The times stand there in clear too, for the watchdog: the role may change its settings, but
     * not its comment. */
    return arena_printf(arena, "%s %s%.16s times %lld/%lld", scope->mark, DEFAULTS_WORD, digest,
                        (long long)wanted->statement_timeout_ms,
                        (long long)wanted->idle_in_transaction_timeout_ms);
}

/* Those of our settings that the role has at all, whatever their value. */
static unsigned seen_defaults(const struct role_seen *seen)
{
    unsigned found = 0;
    struct str rest = str_from(seen->settings);

    while (rest.len > 0) {
        struct str name = str_cut(&rest, ' ');
        for (size_t i = 0; i < ARRAY_COUNT(settings); i++) {
            found |= str_equal_c(name, settings[i].setting) ? settings[i].bit : 0U;
        }
    }
    return found;
}

static void plan_defaults(const struct scope *scope, const struct role_seen *seen,
                          const struct login_wanted *wanted, const char *mark,
                          struct login_plan *ret)
{
    unsigned all = wanted_defaults(scope, wanted);
    struct mark known = {0};
    struct mark current = {0};
    bool same = mark_parse(seen->comment, &known) && mark_parse(mark, &current) &&
                str_equal(known.rest, current.rest);

    ret->set_defaults = same ? all & ~seen_defaults(seen) : all;
    ret->reset_defaults = same ? 0 : seen_defaults(seen) & ~all;
}

void login_plan(struct arena *arena, const struct scope *scope, const struct seen *all,
                const struct login_wanted *wanted, bool password_in_force, struct login_plan *ret)
{
    const char *mark = login_mark(arena, scope, wanted);
    const struct role_seen *seen = &all->roles[wanted->slot];

    *ret = (struct login_plan){
        .create = !seen->exists,
        .set_password = !seen->exists || !password_in_force,
        .set_login = !seen->exists || seen->can_login != wanted->enabled,
    };
    /* Without a tier there is no opinion about limits, so an existing login keeps what it has. */
    if (seen->exists && !wanted->limits_known) {
        return;
    }
    ret->set_limit = !seen->exists || seen->connection_limit != wanted->connection_limit;
    ret->set_database_limit = scope->mode->owns_database && all->database.exists &&
                              all->database.connection_limit != wanted->database_limit;
    ret->set_mark = !text_equal(seen->comment, mark);
    plan_defaults(scope, seen, wanted, mark, ret);
}

bool login_plan_is_empty(const struct login_plan *plan)
{
    return !plan->create && !plan->set_password && !plan->set_login && !plan->set_limit &&
           !plan->set_database_limit && !plan->set_mark && plan->set_defaults == 0 &&
           plan->reset_defaults == 0;
}
