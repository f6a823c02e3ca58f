/* A spare is made closed, loses every right of PUBLIC, and is marked last: so one that is marked
 * can be given away as it is, and one that a crash left without its mark is finished by the next
 * run. It is opened by the tenant that takes it, with the tenant's own rights on it.
 *
 * No lock says whose a spare is. To take one is to rename it, in the transaction that does all the
 * rest: the server lets one transaction rename a database, and to the second the name is gone. So a
 * crash gives a spare to a tenant wholly or not at all, and two controllers never give it twice. */
#include "controller/base/str.h"
#include "reconcilers/database/spares.h"

#define DUPLICATE_DATABASE "42P04"
#define NO_SUCH_DATABASE "3D000"
#define TUPLE_CHANGED "XX000"
#define UNIQUE_VIOLATION "23505"

/* ---- seeing ---- */

int spares_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                   struct spare **ret, size_t *ret_count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT datname, NOT datallowconn AND pg_get_userbyid(datdba) = current_user, "
                "coalesce(shobj_description(oid, 'pg_database'), '') = '" SPARE_MARK "' "
                "AND NOT EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) "
                "WHERE grantee = 0), datconnlimit = -2 FROM pg_database "
                "WHERE datname LIKE 'tenantry\\_spare\\_%' ORDER BY length(datname), datname");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct spare *spares = ARENA_ARRAY(arena, struct spare, count);
    for (size_t i = 0; i < count; i++) {
        spares[i] = (struct spare){
            .name = arena_strdup(arena, sql_text(rows, (int)i, 0)),
            .ours = sql_bool(rows, (int)i, 1),
            .marked = sql_bool(rows, (int)i, 2),
            .dropped = sql_bool(rows, (int)i, 3),
        };
    }
    *ret = spares;
    *ret_count = count;
    return 0;
}

/* ---- making ---- */

static int explain(struct err *err)
{
    static const char *const raced[] = {DUPLICATE_DATABASE, NO_SUCH_DATABASE, TUPLE_CHANGED,
                                        UNIQUE_VIOLATION};
    for (size_t i = 0; i < ARRAY_COUNT(raced); i++) {
        if (err_has_code(err, raced[i])) {
            return err_reclass(err, ERR_CONFLICT, "Conflict");
        }
    }
    return -1;
}

static int mark(struct sql_conn *conn, const struct call *call, const char *name, struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    SQL(&script, "REVOKE ALL ON DATABASE ");
    sql_ident(&script, name);
    SQL(&script, " FROM PUBLIC;\nCOMMENT ON DATABASE ");
    sql_ident(&script, name);
    SQL(&script, " IS '" SPARE_MARK "';\n");
    return sql_script(conn, call, &script, err) ? explain(err) : 0;
}

static int create(struct sql_conn *conn, const struct call *call, const char *name, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "CREATE DATABASE ");
    sql_ident(&query, name);
    SQL(&query, " TEMPLATE template0 ENCODING 'UTF8' STRATEGY wal_log ALLOW_CONNECTIONS false");
    return sql_exec(conn, call, &query, NULL, err) ? explain(err) : mark(conn, call, name, err);
}

/* By name: one that a tenant took meanwhile has another. */
static int drop(struct sql_conn *conn, const struct call *call, const char *name, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "DROP DATABASE IF EXISTS ");
    sql_ident(&query, name);
    return sql_exec(conn, call, &query, NULL, err) ? explain(err) : 0;
}

int spares_execute(struct sql_conn *conn, const struct call *call, const struct spares_plan *plan,
                   struct err *err)
{
    switch (plan->action) {
    case SPARES_CREATE:
        return create(conn, call, plan->name, err);
    case SPARES_MARK:
        return mark(conn, call, plan->name, err);
    case SPARES_DROP:
        return drop(conn, call, plan->name, err);
    case SPARES_KEEP:
        break;
    }
    return 0;
}

/* ---- giving away ---- */

void spares_sql_choose(struct sql *query, const char *name)
{
    SQL(query, "(SELECT datname FROM pg_database WHERE datname LIKE 'tenantry\\_spare\\_%' "
               "AND NOT datallowconn AND datconnlimit <> -2 "
               "AND pg_get_userbyid(datdba) = current_user "
               "AND shobj_description(oid, 'pg_database') = '" SPARE_MARK "' "
               "ORDER BY md5(datname || ");
    sql_param(query, name);
    SQL(query, "::text) LIMIT 1)");
}

void spares_sql_take(struct sql *script, const char *spare, const char *name, const char *owner)
{
    SQL(script, "ALTER DATABASE ");
    sql_ident(script, spare);
    SQL(script, " RENAME TO ");
    sql_ident(script, name);
    SQL(script, ";\nALTER DATABASE ");
    sql_ident(script, name);
    SQL(script, " OWNER TO ");
    sql_ident(script, owner);
    SQL(script, ";\n");
}
