/* The health checks themselves. */
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "controller/kube/secret_object.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/drivers/sql.h"
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

/* ---- the database ---- */

static int fetch_login(struct reconcile *rc, const struct services *services,
                       const struct tenant *tenant, struct kube_secret *ret, struct err *err)
{
    const char *namespace_ = name_namespace(rc->arena, tenant->subdomain);
    const char *name = name_database_secret(rc->arena, tenant->subdomain);
    if (kube_secret_fetch(services->kube, &rc->call, namespace_, name, NAME_LABEL_TENANT_UID, ret,
                          err)) {
        return err_wrap(err, "secret \"%s/%s\"", namespace_, name);
    }
    if (!kube_secret_get(ret, "user") || !kube_secret_get(ret, "password") ||
        !kube_secret_get(ret, "dbname")) {
        return err_set(err, ERR_RETRY, "NotFound",
                       "secret \"%s/%s\" lacks user, password or dbname", namespace_, name);
    }
    return 0;
}

static int connect(struct reconcile *rc, const struct services *services,
                   const struct tenant *tenant, const struct call *call, struct sql_conn **ret,
                   struct err *err)
{
    AUTO(kube_secret) struct kube_secret login = {0};
    struct server_endpoint endpoint;

    if (fetch_login(rc, services, tenant, &login, err) ||
        servers_endpoint(services->servers, rc->arena, tenant->status.place.server, &endpoint,
                         err)) {
        return -1;
    }
    const struct sql_target target = {
        .hosts = &endpoint.host, /* several, joined by ',' */
        .host_count = 1,
        .port = endpoint.port,
        .database = secret_bytes(kube_secret_get(&login, "dbname")),
        .user = secret_bytes(kube_secret_get(&login, "user")),
        .password = kube_secret_get(&login, "password"),
        .sslmode = endpoint.sslmode,
        .ca_pem = text_is_empty(endpoint.ca_pem) ? NULL : endpoint.ca_pem,
        .target_session_attrs = endpoint.target_session_attrs,
        .statement_timeout_ms = PROBE_TIMEOUT_MS,
    };
    return sql_connect(call, &target, ret, err);
}

int probe_database(struct reconcile *rc, const struct services *services,
                   const struct tenant *tenant, struct err *err)
{
    AUTO(sql_conn) struct sql_conn *conn = NULL;
    AUTO(sql) struct sql query = {0};
    struct call call = soon(&rc->call);

    if (connect(rc, services, tenant, &call, &conn, err)) {
        return err_wrap(err, "database, as the tenant");
    }
    sql_init(&query);
    SQL(&query, "SELECT 1 FROM ");
    sql_ident2(&query, tenant->status.place.schema, "users");
    SQL(&query, " LIMIT 1");
    return sql_query(conn, &call, &query, NULL, err) ? err_wrap(err, "database, as the tenant") : 0;
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
                       const struct tenant_bucket *bucket, const struct kube_secret *keys,
                       struct err *err)
{
    AUTO(store_loan) struct store_loan loan = {0};
    AUTO(s3) struct s3 *s3 = NULL;
    struct call call = soon(&rc->call);

    if (stores_borrow(services->stores, rc, bucket->store, &loan, err) ||
        stores_open_as(&loan, secret_bytes(kube_secret_get(keys, "AWS_ACCESS_KEY_ID")),
                       kube_secret_get(keys, "AWS_SECRET_ACCESS_KEY"), &s3, err)) {
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
    AUTO(kube_secret) struct kube_secret keys = {0};
    const char *namespace_ = name_namespace(rc->arena, tenant->subdomain);
    const char *name = name_storage_secret(rc->arena, tenant->subdomain);
    const struct tenant_bucket *bucket = &tenant->status.buckets[0];

    if (kube_secret_fetch(services->kube, &rc->call, namespace_, name, NAME_LABEL_TENANT_UID, &keys,
                          err)) {
        return err_wrap(err, "secret \"%s/%s\"", namespace_, name);
    }
    if (!kube_secret_get(&keys, "AWS_ACCESS_KEY_ID") ||
        !kube_secret_get(&keys, "AWS_SECRET_ACCESS_KEY")) {
        return err_set(err, ERR_RETRY, "NotFound", "secret \"%s/%s\" lacks a key", namespace_,
                       name);
    }
    return list_bucket(rc, services, bucket, &keys, err)
               ? err_wrap(err, "bucket \"%s\", as the tenant", bucket->name)
               : 0;
}
