/* The step Members: the spec's members as users of the tenant, and in tenant_users.
 *
 * The registry remembers whom the spec named, so that who is named no longer can be told from users
 * whom other programs made. Users are changed before the registry: after a crash in between, the
 * registry still tells what is to be done. A person is told by the address, which both tables hold
 * once a tenant; so whatever is done twice is the same. */
#include "controller/base/jsonw.h"
#include "controller/base/str.h"
#include "reconcilers/database/members_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/registry/quotas_plan.h"

enum { PEOPLE_MAX_BYTES = 1 << 20 };

static int64_t users_limit(struct reconcile *rc, const struct tenant_work *work)
{
    size_t count = 0;
    const struct quota *quotas = quotas_effective(rc->arena, work->tier, work->tenant, &count);
    const struct quota *users = quotas_find(quotas, count, "users");

    return users ? users->limit : -1;
}

/* Everybody who matters: whom the spec names, and whom it did. */
static void write_emails(const struct tenant *tenant, const struct members_seen *seen,
                         struct buf *out)
{
    struct jsonw writer;

    jsonw_init(&writer, out);
    jsonw_array(&writer, NULL);
    for (size_t i = 0; i < tenant->member_count; i++) {
        jsonw_text(&writer, NULL, tenant->members[i].email);
    }
    for (size_t i = 0; i < seen->registered_count; i++) {
        if (seen->registered[i].managed) {
            jsonw_text(&writer, NULL, seen->registered[i].email);
        }
    }
    jsonw_end_array(&writer);
}

static bool concerns_nobody(const struct tenant *tenant, const struct members_seen *seen)
{
    bool anybody = tenant->member_count > 0;
    for (size_t i = 0; i < seen->registered_count; i++) {
        anybody |= seen->registered[i].managed;
    }
    return !anybody;
}

static int ensure_users(struct reconcile *rc, const struct tenant_work *work,
                        const struct scope *scope, struct sql_conn *conn, struct members_seen *seen,
                        struct members_plan *ret, struct err *err)
{
    AUTO(buf) struct buf emails = BUF(PEOPLE_MAX_BYTES);

    write_emails(work->tenant, seen, &emails);
    if (members_observe(conn, &rc->call, rc->arena, scope, buf_text(&emails), &seen->users,
                        &seen->user_count, err)) {
        return -1;
    }
    members_plan(rc->arena, work->tenant, users_limit(rc, work), work->tenant->erase_members, seen,
                 ret);
    return members_execute(conn, &rc->call, scope, ret, err);
}

static int visit_database(struct reconcile *rc, const struct tenant_work *work,
                          struct members_seen *seen, struct members_plan *ret, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct scope scope;

    scope_init(&scope, rc->arena, work);
    if (servers_borrow(work->services->servers, rc, scope.server, scope.database, &loan, err)) {
        return -1;
    }
    if (rows_begin(loan.conn, &rc->call, &scope, err) ||
        ensure_users(rc, work, &scope, loan.conn, seen, ret, err) ||
        rows_end(loan.conn, &rc->call, &scope, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

static int write_registry(struct reconcile *rc, const struct tenant_work *work,
                          const struct members_plan *plan, struct err *err)
{
    static const struct {
        enum member_action_kind kind;
        enum member_change change;
    } changes[] = {
        {MEMBER_REGISTER, MEMBER_ROW_ACTIVE},
        {MEMBER_SUSPEND, MEMBER_ROW_DISABLED},
        {MEMBER_FORGET, MEMBER_ROW_GONE},
    };

    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        AUTO(buf) struct buf people = BUF(PEOPLE_MAX_BYTES);
        if (members_write(plan, changes[i].kind, &people) > 0 &&
            registry_members_write(work->services->registry, rc, work->tenant_id, changes[i].change,
                                   buf_text(&people), err)) {
            return -1;
        }
    }
    return 0;
}

/* For people: whom it concerns, one Event each is enough said. */
static void tell(const struct tenant_work *work, const struct members_plan *plan)
{
    static const struct {
        enum member_action_kind kind;
        const char *reason;
        const char *words;
    } told[] = {
        {MEMBER_ADD, "MemberAdded", "is a user of the tenant"},
        {MEMBER_ENABLE, "MemberAdded", "is a user of the tenant again"},
        {MEMBER_DISABLE, "MemberDisabled", "can no longer log in; what is theirs stays"},
        {MEMBER_ERASE, "MemberErased", "was erased, with all that was theirs"},
    };

    for (size_t i = 0; i < plan->count; i++) {
        for (size_t j = 0; j < ARRAY_COUNT(told); j++) {
            if (told[j].kind == plan->actions[i].kind) {
                work_event(work, EVENT_NORMAL, told[j].reason, "Members", "%s %s",
                           plan->actions[i].email, told[j].words);
            }
        }
    }
}

int members_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct members_seen seen = {0};
    struct members_plan plan;

    /* Without a tier (the tenant is suspended and its tier is gone) nobody knows who would fit. */
    if (!work->tier) {
        return 0;
    }
    if (registry_members_list(work->services->registry, rc, work->tenant_id, &seen.registered,
                              &seen.registered_count, err)) {
        return -1;
    }
    if (concerns_nobody(work->tenant, &seen)) {
        return 0;
    }
    if (visit_database(rc, work, &seen, &plan, err) || write_registry(rc, work, &plan, err)) {
        return -1;
    }
    tell(work, &plan);
    work->members_excess = plan.excess;
    return 0;
}
