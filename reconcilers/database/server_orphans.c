/* Three looks, each narrowing the one before: the ids in marks on the server, without those of the
 * Tenants in the cache; what the registry knows of the rest; and the names of what is left. The
 * names are read last, so that what was removed meanwhile is not told. */
#include "reconcilers/database/server_orphans.h"

#include "controller/base/map.h"
#include "controller/base/metrics.h"
#include "controller/base/str.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"
#include "reconcilers/registry/orphans.h"

enum { ORPHANS_SHOWN = 20, IDS_MAX_BYTES = 8 << 20 };

static struct metric orphans_metric =
    METRIC_GAUGE("tenantry_orphans",
                 "Databases, schemas and roles with our mark that no Tenant stands for.", "server");

struct ids {
    const char **items; /* in the arena */
    size_t count;
};

/* ---- the ids of Tenants ---- */

static bool note_id(void *context, const struct record *record)
{
    struct map *known = context;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tenant *tenant = ARENA_NEW(&scratch, struct tenant);
    tenant_unpack(record, &scratch, tenant);
    if (!text_is_empty(tenant->status.tenant_id)) {
        (void)map_put(known, str_from(tenant->status.tenant_id), known);
    }
    return true;
}

static void take_unknown(struct reconcile *rc, const struct services *services,
                         const struct sql_rows *rows, struct ids *ret)
{
    struct map known;

    map_init(&known);
    cache_each(services->tenants, note_id, &known);
    ret->items = ARENA_ARRAY(rc->arena, const char *, (size_t)sql_row_count(rows));
    ret->count = 0;
    for (int i = 0; i < sql_row_count(rows); i++) {
        if (!map_has(&known, str_from(sql_text(rows, i, 0)))) {
            ret->items[ret->count++] = arena_strdup(rc->arena, sql_text(rows, i, 0));
        }
    }
    map_release(&known);
}

/* ---- on the server ---- */

static int list_ids(struct reconcile *rc, const struct services *services, const char *server,
                    struct ids *ret, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (servers_borrow(services->servers, rc, server, NULL, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    /* What the tenants of a server share bears the word "shared" in place of an id. The marks of a
     * tenant are several: to take each apart by a regular expression computed more, with a thousand
     * tenants, than all that is asked for a new one. So by its place, and each id is judged once.
     */
    SQL(&query, "WITH marked AS MATERIALIZED (SELECT DISTINCT substr(description, "
                "length('tenantry: tenant ') + 1, 36) AS id FROM pg_shdescription "
                "WHERE description LIKE 'tenantry: tenant ' || repeat('_', 36) || ' %') "
                "SELECT id FROM marked WHERE id ~ '^[0-9a-f-]{36}$' ORDER BY id");
    if (sql_query(loan.conn, &rc->call, &query, &rows, err)) {
        loan.failure = *err;
        return -1;
    }
    take_unknown(rc, services, rows, ret);
    return 0;
}

static void render(struct buf *text, const struct ids *ids)
{
    (void)buf_append_char(text, '{');
    for (size_t i = 0; i < ids->count; i++) {
        (void)buf_printf(text, "%s%s", i > 0 ? "," : "", ids->items[i]);
    }
    (void)buf_append_char(text, '}');
}

/* A schema in a database that tenants share bears the name of its owner role, whose mark is its
 * own; what that role owns in the tenant's own database goes with that. */
static void append_schemas(struct sql *query)
{
    SQL(query, "UNION ALL SELECT 'schema', left(r.rolname, -length('.owner')), "
               "split_part(s.description, ' ', 3) FROM pg_shdescription s "
               "JOIN pg_roles r ON r.oid = s.objoid JOIN pg_shdepend p "
               "ON p.refclassid = 'pg_authid'::regclass AND p.refobjid = r.oid "
               "JOIN pg_database d ON d.oid = p.dbid "
               "WHERE s.classoid = 'pg_authid'::regclass AND r.rolname LIKE '%.owner' "
               "AND p.classid = 'pg_namespace'::regclass AND p.deptype = 'o' "
               "AND d.datname <> left(r.rolname, -length('.owner'))");
}

static int list_names(struct reconcile *rc, const struct services *services, const char *server,
                      const struct ids *ids, int64_t *ret_count, struct buf *words, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    AUTO(buf) struct buf list = BUF(IDS_MAX_BYTES);
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    render(&list, ids);
    if (servers_borrow(services->servers, rc, server, NULL, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT o.kind, o.name, o.id, count(*) OVER () FROM ("
                "SELECT 'database' AS kind, d.datname AS name, "
                "split_part(s.description, ' ', 3) AS id FROM pg_shdescription s "
                "JOIN pg_database d ON d.oid = s.objoid "
                "WHERE s.classoid = 'pg_database'::regclass UNION ALL SELECT 'role', r.rolname, "
                "split_part(s.description, ' ', 3) FROM pg_shdescription s "
                "JOIN pg_roles r ON r.oid = s.objoid WHERE s.classoid = 'pg_authid'::regclass ");
    append_schemas(&query);
    SQL(&query, ") o "
                "WHERE o.id = ANY (");
    sql_param(&query, buf_text(&list));
    SQL(&query, "::text[]) ORDER BY o.id, o.kind, o.name LIMIT ");
    sql_integer(&query, ORPHANS_SHOWN);
    if (sql_query(loan.conn, &rc->call, &query, &rows, err)) {
        loan.failure = *err;
        return -1;
    }
    *ret_count = sql_row_count(rows) > 0 ? sql_int(rows, 0, 3) : 0;
    for (int i = 0; i < sql_row_count(rows); i++) {
        bool same = i > 0 && text_equal(sql_text(rows, i, 2), sql_text(rows, i - 1, 2));
        if (!same) {
            (void)buf_printf(words, "%stenant id %s:", i > 0 ? "; " : "", sql_text(rows, i, 2));
        }
        (void)buf_printf(words, "%s %s \"%s\"", same ? "," : "", sql_text(rows, i, 0),
                         sql_text(rows, i, 1));
    }
    return 0;
}

/* ---- what the registry says ---- */

static bool has_tenant(const struct services *services, struct arena *arena,
                       const struct registry_claim *claim)
{
    AUTO(record)
    const struct record *record =
        *claim->tenant_name ? cache_get(services->tenants, claim->tenant_name) : NULL;

    if (!record) {
        return false;
    }
    struct tenant *tenant = ARENA_NEW(arena, struct tenant);
    tenant_unpack(record, arena, tenant);
    return text_equal(tenant->uid, claim->tenant_uid);
}

/* Leave out what is kept on purpose, and Tenants that do not know their id yet. */
static int narrow(struct reconcile *rc, const struct services *services, struct ids *ids,
                  struct err *err)
{
    struct registry_claim *claims = NULL;
    size_t left = 0;

    if (ids->count == 0) {
        return 0;
    }
    if (registry_claims(services->registry, rc, ids->items, ids->count, &claims, err)) {
        return -1;
    }
    for (size_t i = 0; i < ids->count; i++) {
        if (!claims[i].retained && !has_tenant(services, rc->arena, &claims[i])) {
            ids->items[left++] = ids->items[i];
        }
    }
    ids->count = left;
    return 0;
}

int server_find_orphans(struct reconcile *rc, const struct services *services, const char *server,
                        int64_t *ret_count, struct buf *words, struct err *err)
{
    struct ids ids = {0};

    *ret_count = 0;
    if (list_ids(rc, services, server, &ids, err) || narrow(rc, services, &ids, err) ||
        (ids.count > 0 && list_names(rc, services, server, &ids, ret_count, words, err))) {
        return -1;
    }
    if (*ret_count > ORPHANS_SHOWN) {
        (void)buf_printf(words, "; and %lld more", (long long)(*ret_count - ORPHANS_SHOWN));
    }
    metric_set(&orphans_metric, (double)*ret_count, server);
    return 0;
}

void server_forget_orphans(const char *server)
{
    metric_drop(&orphans_metric, server);
}
