#include "controller/base/str.h"
#include "reconcilers/database/fence_internal.h"
#include "reconcilers/drivers/embedded.h"

extern const struct embedded_file tenant_fence[];

enum { SPENT, RAISE, LOWER }; /* the files, in order */
enum { ROLES_MAX_BYTES = 512, VACUUM_TABLES_MAX = 1000 };

#define FENCE "tenantry_storage"

const char *fence_body(void)
{
    return tenant_fence[SPENT].bytes;
}

/* The tenant's roles that may own a table, separated by blanks. */
static void put_roles(struct buf *out, const struct scope *scope)
{
    for (int role = 0; role < ROLE_COUNT; role++) {
        if (scope_owns(scope, role)) {
            (void)buf_printf(out, "%s%s", out->len > 0 ? " " : "", scope->roles[role]);
        }
    }
}

/* A condition on a table c. */
static void append_is_tenants(struct sql *query, const char *roles)
{
    SQL(query, "c.relkind IN ('r', 'p') AND c.relpersistence <> 't' "
               "AND pg_get_userbyid(c.relowner) = ANY (string_to_array(");
    sql_param(query, roles);
    SQL(query, ", ' '))");
}

int fence_observe(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                  struct fence_seen *ret, struct err *err)
{
    AUTO(buf) struct buf roles = BUF(ROLES_MAX_BYTES);
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    put_roles(&roles, scope);
    sql_init(&query);
    SQL(&query, "SELECT count(*) FILTER (WHERE g.oid IS NULL OR g.tgenabled <> 'A'), "
                "count(g.oid), (SELECT count(*) > 0 FROM pg_proc p JOIN pg_namespace n "
                "ON n.oid = p.pronamespace WHERE p.proname = '" FENCE "' AND n.nspname = ");
    sql_param(&query, scope->schema);
    SQL(&query, " AND p.prosrc = ");
    sql_param(&query, fence_body());
    SQL(&query, ") FROM pg_class c LEFT JOIN pg_trigger g ON g.tgrelid = c.oid "
                "AND g.tgname = '" FENCE "' WHERE ");
    append_is_tenants(&query, buf_text(&roles));
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = (struct fence_seen){sql_int(rows, 0, 0), sql_int(rows, 0, 1), sql_bool(rows, 0, 2)};
    return 0;
}

static void append_setting(struct sql *script, const char *name, const char *value)
{
    SQL(script, "SELECT set_config(");
    sql_literal(script, name);
    SQL(script, ", ");
    sql_literal(script, value);
    SQL(script, ", true);\n");
}

static void append_settings(struct sql *script, const struct scope *scope)
{
    AUTO(buf) struct buf roles = BUF(ROLES_MAX_BYTES);

    put_roles(&roles, scope);
    append_setting(script, "lock_timeout", "5s");
    append_setting(script, "tenantry.schema", scope->schema);
    append_setting(script, "tenantry.owner", scope->roles[ROLE_OWNER]);
    append_setting(script, "tenantry.roles", buf_text(&roles));
}

int fence_raise(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    append_settings(&script, scope);
    SQL(&script, "SET LOCAL ROLE ");
    sql_ident(&script, scope->roles[ROLE_OWNER]);
    SQL(&script, ";\nCREATE OR REPLACE FUNCTION ");
    sql_ident2(&script, scope->schema, FENCE);
    SQL(&script, "() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS ");
    sql_literal(&script, fence_body());
    SQL(&script, ";\nRESET ROLE;\n");
    sql_append_file(&script, &tenant_fence[RAISE]);
    return sql_script(conn, call, &script, err);
}

int fence_lower(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    append_settings(&script, scope);
    sql_append_file(&script, &tenant_fence[LOWER]);
    return sql_script(conn, call, &script, err);
}

/* ---- vacuum ---- */

static int list_dead(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                     struct sql_rows **ret, struct err *err)
{
    AUTO(buf) struct buf roles = BUF(ROLES_MAX_BYTES);
    AUTO(sql) struct sql query = {0};

    put_roles(&roles, scope);
    sql_init(&query);
    SQL(&query, "SELECT n.nspname, c.relname FROM pg_class c "
                "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
                "AND pg_stat_get_dead_tuples(c.oid) > 0 AND ");
    append_is_tenants(&query, buf_text(&roles));
    SQL(&query, " ORDER BY pg_stat_get_dead_tuples(c.oid) DESC LIMIT ");
    sql_integer(&query, VACUUM_TABLES_MAX);
    return sql_query(conn, call, &query, ret, err);
}

int fence_vacuum(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                 struct err *err)
{
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    AUTO(sql) struct sql query = {0};

    if (list_dead(conn, call, scope, &rows, err)) {
        return -1;
    }
    if (sql_row_count(rows) == 0) {
        return 0;
    }
    sql_init(&query);
    for (int i = 0; i < sql_row_count(rows); i++) {
        if (i == 0) {
            SQL(&query, "VACUUM (SKIP_LOCKED) ");
        } else {
            SQL(&query, ", ");
        }
        sql_ident2(&query, sql_text(rows, i, 0), sql_text(rows, i, 1));
    }
    return sql_exec(conn, call, &query, NULL, err);
}
