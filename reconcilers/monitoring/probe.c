/* The health checks themselves. */
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "controller/kube/secret_object.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/drivers/aws.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/model/login_keep.h"
#include "reconcilers/model/names.h"
#include "reconcilers/monitoring/monitor_internal.h"
#include "reconcilers/storage/stores.h"

enum { PROBE_TIMEOUT_MS = 5000 };

static struct call soon(const struct call *call)
{
    struct call sooner = *call;
    int64_t latest_ms = clock_monotonic_ms() + PROBE_TIMEOUT_MS;

    if (sooner.deadline_ms == 0 || sooner.deadline_ms > latest_ms) {
        sooner.deadline_ms = latest_ms;
    }
    return sooner;
}

/* ---- what a tenant logs in with ---- */

/* One kind of check as the tenant: where the login stands, and what is done with it. */
struct check_as {
    enum login_kind kind;
    const char *entries[3]; /* of the Secret: user, password, and database or NULL */
    const char *(*name)(struct arena *arena, const char *subdomain);
    int (*run)(struct reconcile *rc, const struct services *services, const struct tenant *tenant,
               const struct login *login, struct err *err);
    bool (*is_refused)(const struct err *err);
};

static int take(const struct kube_secret *secret, const char *entry, struct secret *ret,
                struct err *err)
{
    const struct secret *value = entry ? kube_secret_get(secret, entry) : NULL;

    if (entry && !value) {
        return err_set(err, ERR_RETRY, "NotFound", "it lacks \"%s\"", entry);
    }
    if (value) {
        secret_copy(ret, value);
    }
    return 0;
}

static int read_login(struct reconcile *rc, const struct services *services,
                      const struct tenant *tenant, const struct check_as *as, struct login *ret,
                      struct err *err)
{
    AUTO(kube_secret) struct kube_secret secret = {0};
    const char *namespace_ = name_namespace(rc->arena, tenant->subdomain);
    const char *name = as->name(rc->arena, tenant->subdomain);

    return kube_secret_fetch(services->kube, &rc->call, namespace_, name, NAME_LABEL_TENANT_UID,
                             &secret, err) ||
                   take(&secret, as->entries[0], &ret->user, err) ||
                   take(&secret, as->entries[1], &ret->password, err) ||
                   take(&secret, as->entries[2], &ret->database, err)
               ? err_wrap(err, "secret \"%s/%s\"", namespace_, name)
               : 0;
}

/* What is refused is not kept, whosever mistake it is: the next check asks again. */
static int run_with(struct reconcile *rc, const struct services *services,
                    const struct tenant *tenant, const struct check_as *as,
                    const struct login *login, struct err *err)
{
    int result = as->run(rc, services, tenant, login, err);

    if (result && as->is_refused(err)) {
        login_keep_drop(services->logins, tenant->uid, as->kind);
    }
    return result;
}

static int run_as_read(struct reconcile *rc, const struct services *services,
                       const struct tenant *tenant, const struct check_as *as,
                       const struct login *refused, struct err *err)
{
    AUTO(login) struct login login = {0};
    struct err why = {0};

    if (read_login(rc, services, tenant, as, &login, &why)) {
        *err = why;
        return -1;
    }
    if (refused && login_equal(refused, &login)) {
        return -1; /* with what the other side said, which is what it would say again */
    }
    login_keep_add(services->logins, tenant->uid, as->kind, &login);
    return run_with(rc, services, tenant, as, &login, err);
}

/* What is kept may be older than the Secret: if it is refused, the Secret decides. A server out of
 * reach refuses nothing, so that its end is no reason to ask for all Secrets. */
static int run_as(struct reconcile *rc, const struct services *services,
                  const struct tenant *tenant, const struct check_as *as, struct err *err)
{
    AUTO(login) struct login kept = {0};

    if (!login_keep_get(services->logins, tenant->uid, as->kind, &kept)) {
        return run_as_read(rc, services, tenant, as, NULL, err);
    }
    int result = run_with(rc, services, tenant, as, &kept, err);
    return result && as->is_refused(err) ? run_as_read(rc, services, tenant, as, &kept, err)
                                         : result;
}

/* ---- the database ---- */

static int connect(struct reconcile *rc, const struct services *services,
                   const struct tenant *tenant, const struct login *login, const struct call *call,
                   struct sql_conn **ret, struct err *err)
{
    struct server_endpoint endpoint;

    if (servers_endpoint(services->servers, call, rc->arena, tenant->status.place.server, &endpoint,
                         err)) {
        return -1;
    }
    const struct sql_target target = {
        .hosts = &endpoint.host, /* several, joined by ',' */
        .host_count = 1,
        .port = endpoint.port,
        .database = secret_bytes(&login->database),
        .user = secret_bytes(&login->user),
        .password = &login->password,
        .sslmode = endpoint.sslmode,
        .ca_pem = text_is_empty(endpoint.ca_pem) ? NULL : endpoint.ca_pem,
        .target_session_attrs = endpoint.target_session_attrs,
        .statement_timeout_ms = PROBE_TIMEOUT_MS,
    };
    return sql_connect(call, &target, ret, err);
}

static int query_database(struct reconcile *rc, const struct services *services,
                          const struct tenant *tenant, const struct login *login, struct err *err)
{
    AUTO(sql_conn) struct sql_conn *conn = NULL;
    AUTO(sql) struct sql query = {0};
    struct call call = soon(&rc->call);

    if (connect(rc, services, tenant, login, &call, &conn, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT 1 FROM ");
    sql_ident2(&query, tenant->status.place.schema, "users");
    SQL(&query, " LIMIT 1");
    return sql_query(conn, &call, &query, NULL, err);
}

int probe_database(struct reconcile *rc, const struct services *services,
                   const struct tenant *tenant, struct err *err)
{
    static const struct check_as as = {
        .kind = LOGIN_DATABASE,
        .entries = {"user", "password", "dbname"},
        .name = name_database_secret,
        .run = query_database,
        .is_refused = sql_err_refuses_login,
    };
    return run_as(rc, services, tenant, &as, err) ? err_wrap(err, "database, as the tenant") : 0;
}

/* ---- a bucket ---- */

/* Nothing has such a name, so that the list is short. */
#define NO_OBJECT ".tenantry-probe/"

static int on_object(void *context, const struct s3_item *item, struct err *err)
{
    (void)context;
    (void)item;
    (void)err;
    return 0;
}

static int list_bucket(struct reconcile *rc, const struct services *services,
                       const struct tenant *tenant, const struct login *login, struct err *err)
{
    const struct tenant_bucket *bucket = &tenant->status.buckets[0];
    AUTO(store_loan) struct store_loan loan = {0};
    AUTO(s3) struct s3 *s3 = NULL;
    struct call call = soon(&rc->call);

    if (stores_borrow(services->stores, rc, bucket->store, &loan, err) ||
        stores_open_as(&loan, secret_bytes(&login->user), &login->password, &s3, err)) {
        return -1;
    }
    if (s3_list_objects(s3, &call, bucket->name, NO_OBJECT, on_object, NULL, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

int probe_bucket(struct reconcile *rc, const struct services *services, const struct tenant *tenant,
                 struct err *err)
{
    static const struct check_as as = {
        .kind = LOGIN_STORAGE,
        .entries = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
        .name = name_storage_secret,
        .run = list_bucket,
        .is_refused = aws_err_refuses_key,
    };
    return run_as(rc, services, tenant, &as, err)
               ? err_wrap(err, "bucket \"%s\", as the tenant", tenant->status.buckets[0].name)
               : 0;
}
