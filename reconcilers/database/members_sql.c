/* The statements behind the members in the tenant's users: one a kind of action, for all people at
 * once. Whoever is disabled keeps row and password, which fit together again if they come back;
 * their API keys end, since a key is all that it takes. */
#include "controller/base/jsonw.h"
#include "controller/base/str.h"
#include "reconcilers/database/members_internal.h"

enum { PEOPLE_MAX_BYTES = 1 << 20 };

static const char *copy(struct arena *arena, const struct sql_rows *rows, int row, int column)
{
    return arena_strdup(arena, sql_text(rows, row, column));
}

int members_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                    const struct scope *scope, const char *emails, const struct user_row **ret,
                    size_t *ret_count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT email, full_name, role, password_hash LIKE '" MEMBER_DISABLED "%' FROM ");
    sql_ident2(&query, scope->schema, "users");
    SQL(&query, " WHERE email IN (SELECT jsonb_array_elements_text(");
    sql_param(&query, emails);
    SQL(&query, "::jsonb))");
    if (tables_read(conn, call, scope, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct user_row *users = ARENA_ARRAY(arena, struct user_row, count);
    for (size_t i = 0; i < count; i++) {
        users[i] = (struct user_row){
            .email = copy(arena, rows, (int)i, 0),
            .full_name = copy(arena, rows, (int)i, 1),
            .role = copy(arena, rows, (int)i, 2),
            .disabled = sql_bool(rows, (int)i, 3),
        };
    }
    *ret = users;
    *ret_count = count;
    return 0;
}

size_t members_write(const struct members_plan *plan, enum member_action_kind kind, struct buf *out)
{
    struct jsonw writer;
    size_t count = 0;

    jsonw_init(&writer, out);
    jsonw_array(&writer, NULL);
    for (size_t i = 0; i < plan->count; i++) {
        const struct member_action *action = &plan->actions[i];
        if (action->kind == kind) {
            jsonw_object(&writer, NULL);
            jsonw_text(&writer, "email", action->email);
            jsonw_text(&writer, "name", action->name);
            jsonw_text(&writer, "role", action->role);
            jsonw_end_object(&writer);
            count++;
        }
    }
    jsonw_end_array(&writer);
    return count;
}

static void append_people(struct sql *query, const char *people)
{
    SQL(query, " FROM jsonb_to_recordset(");
    sql_param(query, people);
    SQL(query, "::jsonb) AS p (email text, name text, role text)");
}

/* What somebody else added meanwhile is seen by the next run. */
static void append_add(struct sql *query, const struct scope *scope, const char *people)
{
    SQL(query, "INSERT INTO ");
    sql_ident2(query, scope->schema, "users");
    SQL(query, " (email, full_name, role, must_change_password, password_hash) "
               "SELECT p.email, p.name, p.role, true, '" MEMBER_NO_PASSWORD "'");
    append_people(query, people);
    SQL(query, " ON CONFLICT DO NOTHING");
}

static void append_update(struct sql *query, const struct scope *scope, const char *people,
                          bool enable)
{
    SQL(query, "UPDATE ");
    sql_ident2(query, scope->schema, "users");
    SQL(query, " u SET role = p.role, full_name = coalesce(p.name, u.full_name)");
    if (enable) {
        SQL(query, ", password_hash = substr(u.password_hash, length('" MEMBER_DISABLED "') + 1)");
    }
    append_people(query, people);
    SQL(query, " WHERE u.email = p.email");
    if (enable) {
        SQL(query, " AND u.password_hash LIKE '" MEMBER_DISABLED "%'");
    }
}

/* One statement ends keys and password together. */
static void append_disable(struct sql *query, const struct scope *scope, const char *people)
{
    SQL(query, "WITH gone AS (UPDATE ");
    sql_ident2(query, scope->schema, "users");
    SQL(query, " u SET password_hash = '" MEMBER_DISABLED "' || u.password_hash");
    append_people(query, people);
    SQL(query, " WHERE u.email = p.email AND u.password_hash NOT LIKE '" MEMBER_DISABLED "%' "
               "RETURNING u.id) UPDATE ");
    sql_ident2(query, scope->schema, "api_keys");
    SQL(query, " k SET expires_at = now() FROM gone WHERE k.user_id = gone.id AND "
               "(k.expires_at IS NULL OR k.expires_at > now())");
}

static void append_erase(struct sql *query, const struct scope *scope, const char *people)
{
    SQL(query, "DELETE FROM ");
    sql_ident2(query, scope->schema, "users");
    SQL(query, " WHERE email IN (SELECT p.email");
    append_people(query, people);
    SQL(query, ")");
}

static int execute(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                   const struct members_plan *plan, enum member_action_kind kind, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(buf) struct buf people = BUF(PEOPLE_MAX_BYTES);

    sql_init(&query);
    if (members_write(plan, kind, &people) == 0) {
        return 0;
    }
    if (kind == MEMBER_ADD) {
        append_add(&query, scope, buf_text(&people));
    } else if (kind == MEMBER_DISABLE) {
        append_disable(&query, scope, buf_text(&people));
    } else if (kind == MEMBER_ERASE) {
        append_erase(&query, scope, buf_text(&people));
    } else {
        append_update(&query, scope, buf_text(&people), kind == MEMBER_ENABLE);
    }
    return tables_write(conn, call, scope, &query, err);
}

int members_execute(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                    const struct members_plan *plan, struct err *err)
{
    for (int kind = MEMBER_ADD; kind <= MEMBER_ERASE; kind++) {
        if (execute(conn, call, scope, plan, (enum member_action_kind)kind, err)) {
            return -1;
        }
    }
    return 0;
}
