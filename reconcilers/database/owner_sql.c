/* The statements behind the owner's row. The controller's role reads it with the rights
 * of the owner role, and writes it as that (tables.c), under row-level security like everybody. */
#include "controller/base/str.h"
#include "reconcilers/database/owner_internal.h"

#define UNIQUE_VIOLATION "23505"

static const char *copy(struct arena *arena, const struct sql_rows *rows, int row, int column)
{
    return arena_strdup(arena, sql_text(rows, row, column));
}

int owner_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                  const struct scope *scope, const char *user_id, const char *email,
                  struct owner_row **ret, size_t *ret_count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT id, email, full_name, role, must_change_password FROM ");
    sql_ident2(&query, scope->schema, "users");
    SQL(&query, " WHERE id = ");
    sql_param(&query, user_id);
    SQL(&query, "::uuid OR email = ");
    sql_param(&query, email);
    if (tables_read(conn, call, scope, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct owner_row *found = ARENA_ARRAY(arena, struct owner_row, count);
    for (size_t i = 0; i < count; i++) {
        found[i] = (struct owner_row){
            .id = copy(arena, rows, (int)i, 0),
            .email = copy(arena, rows, (int)i, 1),
            .full_name = copy(arena, rows, (int)i, 2),
            .role = copy(arena, rows, (int)i, 3),
            .must_change = sql_bool(rows, (int)i, 4),
        };
    }
    *ret = found;
    *ret_count = count;
    return 0;
}

/* The address or id was taken a moment ago: look again. */
static int exec_unique(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                       struct sql *query, struct err *err)
{
    if (tables_write(conn, call, scope, query, err)) {
        return err_has_code(err, UNIQUE_VIOLATION) ? err_reclass(err, ERR_CONFLICT, "Conflict")
                                                   : -1;
    }
    return 0;
}

static int insert(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                  const struct tenant *tenant, const char *user_id, const struct secret *hash,
                  struct err *err)
{
    AUTO(sql) struct sql query = {0};
    const char *name = tenant->owner.name;

    sql_init(&query);
    SQL(&query, "INSERT INTO ");
    sql_ident2(&query, scope->schema, "users");
    SQL(&query, " (id, email, full_name, role, must_change_password, password_hash) VALUES (");
    sql_param(&query, user_id);
    SQL(&query, "::uuid, ");
    sql_param(&query, tenant->owner.email);
    SQL(&query, ", ");
    sql_param(&query, text_is_empty(name) ? NULL : name);
    SQL(&query, ", 'owner', true, ");
    sql_param(&query, secret_bytes(hash));
    SQL(&query, ")");
    return exec_unique(conn, call, scope, &query, err);
}

static int update(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                  const struct owner_plan *plan, const struct tenant *tenant, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "UPDATE ");
    sql_ident2(&query, scope->schema, "users");
    SQL(&query, " SET role = 'owner'");
    if (plan->set_email) {
        SQL(&query, ", email = ");
        sql_param(&query, tenant->owner.email);
    }
    if (plan->set_name) {
        SQL(&query, ", full_name = ");
        sql_param(&query, tenant->owner.name);
    }
    SQL(&query, " WHERE id = ");
    sql_param(&query, plan->row->id);
    SQL(&query, "::uuid");
    return exec_unique(conn, call, scope, &query, err);
}

static int demote(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                  const struct owner_row *row, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "UPDATE ");
    sql_ident2(&query, scope->schema, "users");
    SQL(&query, " SET role = 'member' WHERE id = ");
    sql_param(&query, row->id);
    SQL(&query, "::uuid");
    return tables_write(conn, call, scope, &query, err);
}

int owner_execute(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                  const struct owner_plan *plan, const struct tenant *tenant, const char *user_id,
                  const struct secret *hash, struct err *err)
{
    if (plan->insert) {
        return insert(conn, call, scope, tenant, user_id, hash, err);
    }
    if ((plan->set_email || plan->set_name || plan->set_role) &&
        update(conn, call, scope, plan, tenant, err)) {
        return -1;
    }
    return plan->demote ? demote(conn, call, scope, plan->demote, err) : 0;
}

int owner_set_hash(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                   const char *user_id, const struct secret *hash, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "UPDATE ");
    sql_ident2(&query, scope->schema, "users");
    SQL(&query, " SET password_hash = ");
    sql_param(&query, secret_bytes(hash));
    SQL(&query, " WHERE must_change_password AND id = ");
    sql_param(&query, user_id);
    SQL(&query, "::uuid");
    return tables_write(conn, call, scope, &query, err);
}
