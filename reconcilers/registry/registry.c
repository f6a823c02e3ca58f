/* The registry as a service to the steps: a pool of connections behind a guard, and the small
 * tables that steps of other concerns keep there. Every write is preceded by a read, so that
 * nothing is written when nothing differs. */
#include "reconcilers/registry/registry.h"

#include "controller/base/clock.h"
#include "controller/base/jsonw.h"
#include "controller/base/log.h"
#include "controller/base/str.h"
#include "reconcilers/drivers/embedded.h"
#include "reconcilers/drivers/migrate.h"

enum { ITEMS_MAX_BYTES = 1 << 20, DIGEST_TEXT_BYTES = 65 };

extern const struct embedded_file registry_migrations[];

struct registry {
    struct secret url;
    struct sql_pool *pool;
    struct backend *backend;
};

static int open_connection(void *context, const struct call *call, struct sql_conn **ret,
                           struct err *err)
{
    struct registry *registry = context;

    return sql_connect_uri(call, &registry->url, ret, err);
}

struct registry *registry_new(const struct secret *url, int connections)
{
    struct registry *registry = xcalloc(1, sizeof(*registry));

    secret_init(&registry->url);
    secret_copy(&registry->url, url);
    registry->pool = sql_pool_new("registry", connections, open_connection, registry);
    registry->backend = backend_new("registry", connections);
    return registry;
}

void registry_free(struct registry *registry)
{
    if (registry) {
        backend_free(registry->backend);
        sql_pool_free(registry->pool);
        secret_release(&registry->url);
        free(registry);
    }
}

int registry_connect(struct registry *registry, const struct call *call, struct sql_conn **ret,
                     struct err *err)
{
    return open_connection(registry, call, ret, err) ? err_wrap(err, "registry") : 0;
}

/* ---- loans ---- */

int registry_borrow(struct registry *registry, struct reconcile *rc, struct registry_loan *loan,
                    struct err *err)
{
    if (backend_enter(registry->backend, rc, err)) {
        return err->cls == ERR_RETRY ? err_wrap(err, "registry") : -1;
    }
    if (sql_pool_borrow(registry->pool, &rc->call, &loan->conn, err)) {
        backend_leave(registry->backend, sql_err_unreachable(err), err);
        return err_wrap(err, "registry");
    }
    loan->registry = registry;
    return 0;
}

int registry_loan_report(struct registry_loan *loan, struct err *err)
{
    loan->failure = *err;
    return err->cls == ERR_CANCELED || err->code[0] == '\0' ? -1 : err_wrap(err, "registry");
}

void registry_return(struct registry_loan *loan)
{
    bool unreachable = sql_err_unreachable(&loan->failure);

    /* A step may end in the middle of a transaction of its own. */
    sql_rollback(loan->conn);
    sql_pool_return(loan->registry->pool, loan->conn);
    backend_leave(loan->registry->backend, unreachable, unreachable ? &loan->failure : NULL);
    *loan = (struct registry_loan){0};
}

/* ---- setting up ---- */

/* PUBLIC may connect to every new database, and tenants' roles are members of PUBLIC. */
static int close_to_public(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT datname, pg_has_role(current_user, datdba, 'USAGE'), "
                "EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) "
                "WHERE grantee = 0) FROM pg_database WHERE datname = current_database()");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    const char *name = sql_text(rows, 0, 0);
    if (!sql_bool(rows, 0, 2)) {
        return 0;
    }
    if (!sql_bool(rows, 0, 1)) {
        log_warn(call->log,
                 "every role may connect to the registry database; its owner should run REVOKE "
                 "ALL ON DATABASE ... FROM PUBLIC",
                 KV("database", name));
        return 0;
    }
    sql_clear(&query);
    SQL(&query, "REVOKE ALL ON DATABASE ");
    sql_ident(&query, name);
    SQL(&query, " FROM PUBLIC");
    return sql_exec(conn, call, &query, NULL, err);
}

/* Say what is missing before a statement fails with less to go by. */
static int check_rights(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT current_database(), current_user, "
                "CASE WHEN to_regclass('public.schema_migrations') IS NULL "
                "THEN has_schema_privilege('public', 'CREATE') "
                "ELSE has_table_privilege('public.schema_migrations', 'SELECT, INSERT') END");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    if (sql_bool(rows, 0, 2)) {
        return 0;
    }
    return err_set(err, ERR_RETRY, "InsufficientPrivilege",
                   "role \"%s\" may not make the registry's tables in database \"%s\": make it "
                   "the owner (ALTER DATABASE \"%s\" OWNER TO \"%s\") of that database and of "
                   "what is in it",
                   sql_text(rows, 0, 1), sql_text(rows, 0, 0), sql_text(rows, 0, 0),
                   sql_text(rows, 0, 1));
}

int registry_migrate(struct registry *registry, const struct call *call, struct err *err)
{
    AUTO(sql_loan) struct sql_loan loan = {0};
    int applied = 0;

    if (sql_loan_take(&loan, registry->pool, call, err) || close_to_public(loan.conn, call, err) ||
        check_rights(loan.conn, call, err) ||
        migrate(loan.conn, call, registry_migrations, &applied, err) ||
        registry_grant_gateway(loan.conn, call, err)) {
        return -1;
    }
    log_debug(call->log, "registry migrated", KV_INT("applied", applied));
    return 0;
}

/* ---- digests ---- */

static int read_digest(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                       const char *kind, char ret[DIGEST_TEXT_BYTES], struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT digest FROM public.tenant_credentials WHERE tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " AND kind = ");
    sql_param(&query, kind);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    (void)snprintf(ret, DIGEST_TEXT_BYTES, "%s",
                   sql_row_count(rows) > 0 ? sql_text(rows, 0, 0) : "");
    return 0;
}

int registry_digest_get(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                        const char *kind, char ret[65], struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return read_digest(loan.conn, &rc->call, tenant_id, kind, ret, err)
               ? registry_loan_report(&loan, err)
               : 0;
}

static int write_digest(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                        const char *kind, const char *digest, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "INSERT INTO public.tenant_credentials (tenant_id, kind, digest) VALUES (");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_param(&query, kind);
    SQL(&query, ", ");
    sql_param(&query, digest);
    SQL(&query, ") ON CONFLICT (tenant_id, kind) DO UPDATE SET digest = excluded.digest, "
                "updated_at = now()");
    return sql_exec(conn, call, &query, NULL, err);
}

int registry_digest_put(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                        const char *kind, const char *digest, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    char stored[DIGEST_TEXT_BYTES];

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    if (read_digest(loan.conn, &rc->call, tenant_id, kind, stored, err)) {
        return registry_loan_report(&loan, err);
    }
    if (text_equal(stored, digest)) {
        return 0;
    }
    return write_digest(loan.conn, &rc->call, tenant_id, kind, digest, err)
               ? registry_loan_report(&loan, err)
               : 0;
}

/* ---- what is retained ---- */

static void render_items(struct buf *text, const struct retained *items, size_t count)
{
    struct jsonw writer;

    jsonw_init(&writer, text);
    jsonw_array(&writer, NULL);
    for (size_t i = 0; i < count; i++) {
        jsonw_object(&writer, NULL);
        jsonw_text(&writer, "kind", items[i].kind);
        jsonw_text(&writer, "name", items[i].name);
        jsonw_text(&writer, "location", items[i].location);
        jsonw_int(&writer, "size_bytes", items[i].size_bytes);
        jsonw_end_object(&writer);
    }
    jsonw_end_array(&writer);
}

/* The items as rows of a statement, without those that stand already: what was said of them first
 * holds, since a size and a time for deletion are taken once. */
static void append_missing(struct sql *query, const char *tenant_id, const char *items)
{
    SQL(query, " FROM jsonb_to_recordset(");
    sql_param(query, items);
    SQL(query, "::jsonb) AS i (kind text, name text, location text, size_bytes bigint) "
               "WHERE NOT EXISTS (SELECT FROM public.tenant_retained r WHERE r.tenant_id = ");
    sql_param(query, tenant_id);
    SQL(query, "::uuid AND r.kind = i.kind AND r.name = i.name AND r.location = i.location)");
}

static int count_missing(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                         const char *items, int64_t *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT count(*)");
    append_missing(&query, tenant_id, items);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = sql_int(rows, 0, 0);
    return 0;
}

static int insert_missing(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                          const char *subdomain, const char *items, int64_t delete_after_s,
                          struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "INSERT INTO public.tenant_retained (tenant_id, subdomain, delete_after, kind, "
                "name, location, size_bytes) SELECT ");
    sql_param(&query, tenant_id);
    SQL(&query, "::uuid, ");
    sql_param(&query, subdomain);
    SQL(&query, ", to_timestamp(nullif(");
    sql_param_int(&query, delete_after_s);
    SQL(&query, "::bigint, 0)), i.kind, i.name, i.location, i.size_bytes");
    append_missing(&query, tenant_id, items);
    SQL(&query, " ON CONFLICT (tenant_id, kind, name, location) DO NOTHING");
    return sql_exec(conn, call, &query, NULL, err);
}

int registry_retain(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                    const char *subdomain, const struct retained *items, size_t count,
                    int64_t delete_after_s, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(buf) struct buf text = BUF(ITEMS_MAX_BYTES);
    int64_t missing = 0;

    render_items(&text, items, count);
    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    if (count_missing(loan.conn, &rc->call, tenant_id, buf_text(&text), &missing, err) ||
        (missing > 0 && insert_missing(loan.conn, &rc->call, tenant_id, subdomain, buf_text(&text),
                                       delete_after_s, err))) {
        return registry_loan_report(&loan, err);
    }
    return 0;
}

static void append_retained(struct sql *query, const char *tenant_id, const char *kind,
                            const char *name)
{
    SQL(query, " FROM public.tenant_retained WHERE tenant_id = ");
    sql_param(query, tenant_id);
    if (kind) {
        SQL(query, " AND kind = ");
        sql_param(query, kind);
    }
    if (name) {
        SQL(query, " AND name = ");
        sql_param(query, name);
    }
}

int registry_unretain(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                      const char *kind, const char *name, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    SQL(&query, "SELECT count(*)");
    append_retained(&query, tenant_id, kind, name);
    if (sql_query(loan.conn, &rc->call, &query, &rows, err)) {
        return registry_loan_report(&loan, err);
    }
    if (sql_int(rows, 0, 0) == 0) {
        return 0;
    }
    sql_clear(&query);
    SQL(&query, "DELETE");
    append_retained(&query, tenant_id, kind, name);
    return sql_exec(loan.conn, &rc->call, &query, NULL, err) ? registry_loan_report(&loan, err) : 0;
}
