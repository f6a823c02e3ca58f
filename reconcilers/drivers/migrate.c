/* Migrations of the registry. What was applied stands in schema_migrations, and is compared before
 * anything is locked or written, so that a start with nothing to do writes nothing.
 *
 * Each file is applied in one transaction: advisory lock, second look at what is applied (another
 * program may have been faster), the file, its row. A crash leaves the file wholly applied or not
 * at all. */
#include "reconcilers/drivers/migrate.h"

#include <inttypes.h>
#include <string.h>

#include "controller/base/hash.h"
#include "controller/base/str.h"
#include "reconcilers/drivers/sql_internal.h"

enum {
    LOCK_CLASS = 0x7e4a, /* ours in the registry's key space: locks of migrations */
    VERSION_DIGITS = 4,
    PATIENCE_MS = 10 * 60 * 1000,
};

struct version {
    int64_t number;
    const struct embedded_file *file;
    char checksum[SHA256_TEXT_BYTES];
};

static const char mismatch[] = "MigrationMismatch";

static int parse_version(const struct embedded_file *file, struct version *ret, struct err *err)
{
    struct str name = str_from(file->name);
    struct str rest = name;
    struct str digits = str_cut(&rest, '_');

    if (digits.len != VERSION_DIGITS || rest.len <= strlen(".sql") ||
        !str_ends_with(name, STR(".sql")) || !str_to_int64(digits, &ret->number) ||
        ret->number <= 0) {
        return err_set(err, ERR_TERMINAL, mismatch, "\"%s\" is not named NNNN_words.sql",
                       file->name);
    }
    ret->file = file;
    hash_sha256_text((struct str){file->bytes, file->size}, ret->checksum);
    return 0;
}

/* Versions are 1, 2, 3, ... */
static int parse_all(const struct embedded_file *files, struct arena *arena,
                     struct version **ret_versions, int64_t *ret_count, struct err *err)
{
    int64_t count = 0;

    while (files[count].name) {
        count++;
    }
    struct version *versions = ARENA_ARRAY(arena, struct version, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        if (parse_version(&files[i], &versions[i], err)) {
            return -1;
        }
        if (versions[i].number != i + 1) {
            return err_set(err, ERR_TERMINAL, mismatch,
                           "migration \"%s\" comes where %04" PRId64 " is expected", files[i].name,
                           i + 1);
        }
    }
    *ret_versions = versions;
    *ret_count = count;
    return 0;
}

static int table_exists(struct sql_conn *conn, const struct call *call, bool *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    /* By a scan, not to_regclass(), which may still believe what it saw before the lock. */
    SQL(&query, "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'schema_migrations' "
                "AND relnamespace = 'public'::regnamespace)");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = sql_bool(rows, 0, 0);
    return 0;
}

/* Compare what is applied with what we bring; *ret_applied = how many of ours are. */
static int check_applied(struct sql_conn *conn, const struct call *call,
                         const struct version *versions, int64_t count, int64_t *ret_applied,
                         struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    bool exists = false;

    *ret_applied = 0;
    if (table_exists(conn, call, &exists, err)) {
        return -1;
    }
    if (!exists) {
        return 0;
    }
    sql_init(&query);
    SQL(&query, "SELECT version, name, checksum FROM public.schema_migrations ORDER BY version");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    for (int i = 0; i < sql_row_count(rows); i++) {
        int64_t number = sql_int(rows, i, 0);
        const char *name = sql_text(rows, i, 1);
        if (number > count) {
            return err_set(err, ERR_TERMINAL, mismatch,
                           "the database is at migration %" PRId64 " (\"%s\"), this program knows "
                           "%" PRId64 ": run the newer program, or restore a backup from before "
                           "its upgrade",
                           number, name, count);
        }
        if (number != i + 1) {
            return err_set(err, ERR_TERMINAL, mismatch,
                           "migration %04d is missing in schema_migrations while %04" PRId64
                           " is applied: restore the row or the database",
                           i + 1, number);
        }
        if (!text_equal(sql_text(rows, i, 2), versions[i].checksum)) {
            return err_set(err, ERR_TERMINAL, mismatch,
                           "migration \"%s\" was applied in another form than this program's "
                           "\"%s\": run the program that applied it; a released migration is "
                           "never edited, a new one is added",
                           name, versions[i].file->name);
        }
    }
    *ret_applied = sql_row_count(rows);
    return 0;
}

static int record(struct sql_conn *conn, const struct call *call, const struct version *version,
                  struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "INSERT INTO public.schema_migrations (version, name, checksum) VALUES (");
    sql_param_int(&query, version->number);
    SQL(&query, ", ");
    sql_param(&query, version->file->name);
    SQL(&query, ", ");
    sql_param(&query, version->checksum);
    SQL(&query, ")");
    return sql_exec(conn, call, &query, NULL, err);
}

/* Inside the transaction. */
static int apply_file(struct sql_conn *conn, const struct call *call, const struct version *version,
                      struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    if (version->number == 1) {
        SQL(&query, "CREATE TABLE IF NOT EXISTS public.schema_migrations ("
                    "version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, "
                    "applied_at timestamptz NOT NULL DEFAULT now());");
    }
    sql_append_file(&query, version->file);
    if (sql_script(conn, call, &query, err)) {
        return -1;
    }
    if (PQtransactionStatus(conn->pg) != PQTRANS_INTRANS) {
        return err_set(err, ERR_TERMINAL, mismatch, "it ends its own transaction");
    }
    return record(conn, call, version, err);
}

/* Begin, and wait for whoever migrates at the moment. */
static int begin_locked(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT set_config('statement_timeout', ");
    sql_param_int(&query, PATIENCE_MS);
    SQL(&query, ", true), set_config('lock_timeout', ");
    sql_param_int(&query, PATIENCE_MS);
    SQL(&query, ", true)");
    if (sql_begin(conn, call, err) || sql_query(conn, call, &query, NULL, err)) {
        return -1;
    }
    return sql_lock(conn, call, LOCK_CLASS, "schema_migrations", err);
}

/* *ret_done: false when another program applied it meanwhile. */
static int apply(struct sql_conn *conn, const struct call *call, const struct version *versions,
                 int64_t count, int64_t index, bool *ret_done, struct err *err)
{
    int64_t applied = 0;

    if (call_check_write(call, err) || begin_locked(conn, call, err) ||
        check_applied(conn, call, versions, count, &applied, err)) {
        return -1;
    }
    *ret_done = applied <= index;
    if (!*ret_done) {
        sql_rollback(conn);
        return 0;
    }
    if (apply_file(conn, call, &versions[index], err)) {
        return err_wrap(err, "migration \"%s\"", versions[index].file->name);
    }
    return sql_commit(conn, call, err);
}

int migrate(struct sql_conn *conn, const struct call *call, const struct embedded_file *files,
            int *ret_applied, struct err *err)
{
    AUTO(arena) struct arena arena = {0};
    struct version *versions = NULL;
    int64_t count = 0;
    int64_t applied = 0;
    int ran = 0;

    arena_init(&arena, 0);
    if (parse_all(files, &arena, &versions, &count, err) ||
        check_applied(conn, call, versions, count, &applied, err)) {
        return -1;
    }
    int64_t limit_ms = conn->limit_ms;
    conn->limit_ms = PATIENCE_MS + SQL_HUNG_MARGIN_MS;
    for (int64_t index = applied; index < count; index++) {
        bool done = false;
        if (apply(conn, call, versions, count, index, &done, err)) {
            sql_rollback(conn);
            conn->limit_ms = limit_ms;
            return -1;
        }
        ran += done ? 1 : 0;
    }
    conn->limit_ms = limit_ms;
    *ret_applied = ran;
    return 0;
}
