/* Who sees and may do what in a tenant schema.
 *
 * A row is visible, and may be written, when its tenant_id is the tenant's of whom the session is;
 * that is
 *   - for the application roles, which serve all tenants, the tenant that app.tenant_id names;
 *   - for everyone else, that is the tenants' logins and their kin, their own, as long as
 *     app.tenant_id is unset or names that one; naming another shows nothing.
 * Where the tables are the tenant's alone, its id is a literal of the policy; where they are
 * shared, a function looks it up by the session's login (rows/keyed.sql). So no setting can widen
 * what is seen. Settings are compared as text, or cast only when they look like a UUID, so that no
 * setting can make a query fail. Each test is a sub-select without a row's data, which is evaluated
 * once a query and leaves a plain comparison of tenant_id to the index. */
#include "controller/base/str.h"
#include "reconcilers/database/schema_internal.h"
#include "reconcilers/drivers/embedded.h"

extern const struct embedded_file tenant_rows[];

static const char *const tables[] = {"api_keys", "applications", "deployments", "users"};

const char *schema_tables(const struct scope *scope)
{
    return scope->mode->rows_are_keyed ? "api_keys applications deployments users tenant_logins"
                                       : "api_keys applications deployments users";
}

#define IS_APPLICATION_ROLE "current_user IN ('tenantry_app', 'tenantry_gateway')"

/* The id of the tenant that the role and the settings allow, NULL = none. */
static void append_literal_tenant(struct sql *script, const struct scope *scope)
{
    SQL(script, "CASE WHEN coalesce(lower(nullif("
                "current_setting('app.tenant_id', true), '')), CASE WHEN " IS_APPLICATION_ROLE
                " THEN '' ELSE ");
    sql_literal(script, scope->tenant_id);
    SQL(script, " END) = ");
    sql_literal(script, scope->tenant_id);
    SQL(script, " THEN ");
    sql_literal(script, scope->tenant_id);
    SQL(script, "::uuid END");
}

/* function: "tenant", or "writer" of rows that are written. */
static void append_keyed_tenant(struct sql *script, const char *schema, const char *function)
{
    sql_ident2(script, schema, function);
    SQL(script, "(current_user)");
}

static void append_tenant_test(struct sql *script, const struct scope *scope, const char *schema,
                               const char *function)
{
    SQL(script, "tenant_id = (SELECT ");
    if (scope->mode->rows_are_keyed) {
        append_keyed_tenant(script, schema, function);
    } else {
        append_literal_tenant(script, scope);
    }
    SQL(script, ")");
}

/* Through the application roles a user sees the deployments of his own applications; owner and
 * admin see all. */
static void append_deployment_test(struct sql *script, const char *schema)
{
    SQL(script, " AND ((SELECT NOT (" IS_APPLICATION_ROLE ") OR coalesce("
                "current_setting('app.user_role', true) IN ('admin', 'owner'), false)) "
                "OR application_id IN (SELECT a.id FROM ");
    sql_ident2(script, schema, "applications");
    SQL(script, " a WHERE a.user_id = (SELECT CASE WHEN current_setting('app.user_id', true) ~ "
                "'^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' "
                "THEN current_setting('app.user_id', true)::uuid END)))");
}

static void append_test(struct sql *script, const struct scope *scope, const char *schema,
                        const char *table, const char *function)
{
    SQL(script, "(");
    append_tenant_test(script, scope, schema, function);
    if (text_equal(table, "deployments")) {
        append_deployment_test(script, schema);
    }
    SQL(script, ")");
}

static void append_table_rights(struct sql *script, const struct scope *scope, const char *schema,
                                const char *table)
{
    SQL(script, "ALTER TABLE ");
    sql_ident2(script, schema, table);
    SQL(script, " ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, "
                "ALTER COLUMN tenant_id SET DEFAULT ");
    if (scope->mode->rows_are_keyed) {
        append_keyed_tenant(script, schema, "tenant");
    } else {
        sql_literal(script, scope->tenant_id);
    }
    SQL(script, ";\nCREATE POLICY tenant ON ");
    sql_ident2(script, schema, table);
    SQL(script, " USING ");
    append_test(script, scope, schema, table, "tenant");
    SQL(script, " WITH CHECK ");
    append_test(script, scope, schema, table, "writer");
    SQL(script, ";\nGRANT SELECT, INSERT, UPDATE, DELETE ON ");
    sql_ident2(script, schema, table);
    SQL(script, " TO ");
    sql_ident(script, scope->roles[ROLE_RW]);
    SQL(script, ", tenantry_app;\nGRANT SELECT ON ");
    sql_ident2(script, schema, table);
    SQL(script, " TO ");
    sql_ident(script, scope->roles[ROLE_RO]);
    SQL(script, ";\n");
}

static void append_default_rights(struct sql *script, const struct scope *scope, const char *schema)
{
    SQL(script, "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;\n");
    /* DROP OWNED of a role takes it out of default privileges without asking for more than to be
     * its member, as every tenant is of a shared rw. There tables get their rights one by one. */
    if (scope->mode->rows_are_keyed) {
        return;
    }
    SQL(script, "ALTER DEFAULT PRIVILEGES IN SCHEMA ");
    sql_ident(script, schema);
    SQL(script, " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ");
    sql_ident(script, scope->roles[ROLE_RW]);
    SQL(script, ", tenantry_app;\nALTER DEFAULT PRIVILEGES IN SCHEMA ");
    sql_ident(script, schema);
    SQL(script, " GRANT SELECT ON TABLES TO ");
    sql_ident(script, scope->roles[ROLE_RO]);
    SQL(script, ";\nALTER DEFAULT PRIVILEGES IN SCHEMA ");
    sql_ident(script, schema);
    SQL(script, " GRANT USAGE, SELECT ON SEQUENCES TO ");
    sql_ident(script, scope->roles[ROLE_RW]);
    SQL(script, ", tenantry_app;\n");
}

void schema_keyed_version(char ret_text[HASH128_TEXT_BYTES])
{
    hash128_text(hash_128((struct str){tenant_rows[0].bytes, tenant_rows[0].size}), ret_text);
}

static void append_keys(struct sql *script, const struct scope *scope, const char *schema)
{
    SQL(script, "SET LOCAL search_path TO ");
    sql_ident(script, schema);
    SQL(script, ", pg_catalog;\n");
    sql_append_file(script, &tenant_rows[0]);
    SQL(script, "SET LOCAL search_path TO pg_catalog, pg_temp;\nGRANT EXECUTE ON FUNCTION ");
    sql_ident2(script, schema, "tenant");
    SQL(script, "(name), ");
    sql_ident2(script, schema, "writer");
    SQL(script, "(name) TO ");
    sql_ident(script, scope->roles[ROLE_RW]);
    SQL(script, ", ");
    sql_ident(script, scope->roles[ROLE_RO]);
    SQL(script, ", tenantry_app, tenantry_gateway;\n");
}

void schema_append_usage(struct sql *script, const struct scope *scope, const char *schema)
{
    SQL(script, "GRANT USAGE ON SCHEMA ");
    sql_ident(script, schema);
    SQL(script, " TO ");
    sql_ident(script, scope->roles[ROLE_RW]);
    SQL(script, ", ");
    sql_ident(script, scope->roles[ROLE_RO]);
    SQL(script, ", tenantry_app;\n");
}

void schema_append_rights(struct sql *script, const struct scope *scope, const char *schema)
{
    SQL(script, "REVOKE ALL ON SCHEMA ");
    sql_ident(script, schema);
    SQL(script, " FROM PUBLIC;\n");
    schema_append_usage(script, scope, schema);
    append_default_rights(script, scope, schema);
    if (scope->mode->rows_are_keyed) {
        append_keys(script, scope, schema);
    }
    for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
        append_table_rights(script, scope, schema, tables[i]);
    }
}
