/* Migrations: each once, whole or not at all, however many programs start at once; and a database
 * that another program made is not touched. */
#include "tests/check.h"
#include "tests/integration/postgres.h"

#include <pthread.h>

#include "reconcilers/drivers/migrate.h"
#include "reconcilers/drivers/sql_internal.h"

#define FILE_OF(name, text) {name, text, sizeof(text) - 1}

enum { THREADS = 8, MIGRATION_LOCK = 0x7e4a };

static const struct embedded_file three[] = {
    FILE_OF("0001_people.sql", "CREATE TABLE public.people (name text); "
                               "CREATE INDEX ON public.people (name);"),
    FILE_OF("0002_pets.sql", "CREATE TABLE public.pets (name text);"),
    FILE_OF("0003_rows.sql",
            "INSERT INTO public.pets VALUES ('Rex'); -- with a comment at the end"),
    {NULL, NULL, 0},
};
static const struct embedded_file two[] = {
    FILE_OF("0001_people.sql", "CREATE TABLE public.people (name text); "
                               "CREATE INDEX ON public.people (name);"),
    FILE_OF("0002_pets.sql", "CREATE TABLE public.pets (name text);"),
    {NULL, NULL, 0},
};

static int set_up(void **state)
{
    (void)state;
    postgres_run(NULL, "DROP DATABASE IF EXISTS migrate_test WITH (FORCE)");
    postgres_run(NULL, "CREATE DATABASE migrate_test TEMPLATE template0");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    postgres_run(NULL, "DROP DATABASE IF EXISTS migrate_test WITH (FORCE)");
    postgres_done();
    return 0;
}

static int apply(const struct embedded_file *files, int *ret_applied, struct err *err)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=migrate_test");
    struct call call = {0};
    int result = migrate(conn, &call, files, ret_applied, err);

    CHECK(sql_is_healthy(conn));
    return result;
}

static int64_t count_in_database(const char *query)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=migrate_test");

    return postgres_int(conn, "%s", query);
}

static void change_database(const char *statement)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=migrate_test");

    postgres_run(conn, "%s", statement);
}

static void files_are_applied_in_order_and_once(void **state)
{
    struct err err = {0};
    int applied = -1;

    (void)state;
    CHECK_OK(apply(two, &applied, &err), &err);
    CHECK_INT(applied, 2);
    CHECK_OK(apply(three, &applied, &err), &err);
    CHECK_INT(applied, 1);
    CHECK_INT(count_in_database("SELECT count(*) FROM public.pets"), 1);
    CHECK_INT(count_in_database("SELECT count(*) FROM public.schema_migrations "
                                "WHERE length(checksum) = 64 AND applied_at <= now()"),
              3);
}

static void nothing_to_do_writes_nothing(void **state)
{
    struct err err = {0};
    int applied = -1;

    (void)state;
    CHECK_OK(apply(three, &applied, &err), &err);
    struct quiet quiet = postgres_quiet_begin();
    CHECK_OK(apply(three, &applied, &err), &err);
    CHECK_INT(applied, 0);
    postgres_quiet_end(&quiet);
}

static void nothing_to_do_needs_no_right_to_write(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};
    int applied = -1;

    (void)state;
    CHECK_OK(apply(three, &applied, &err), &err);
    conn = postgres_connect("dbname=migrate_test&options=-c%20default_transaction_read_only%3Don");
    CHECK_OK(migrate(conn, &call, three, &applied, &err), &err);
    CHECK_INT(applied, 0);
}

static void an_edited_file_is_refused(void **state)
{
    static const struct embedded_file edited[] = {
        FILE_OF("0001_people.sql", "CREATE TABLE public.people (name text, age int);"),
        {NULL, NULL, 0},
    };
    struct err err = {0};
    int applied = -1;

    (void)state;
    CHECK_OK(apply(two, &applied, &err), &err);
    CHECK_FAILS(apply(edited, &applied, &err), &err, ERR_TERMINAL, "MigrationMismatch");
    change_database("UPDATE public.schema_migrations SET checksum = 'x' WHERE version = 2");
    CHECK_FAILS(apply(two, &applied, &err), &err, ERR_TERMINAL, "MigrationMismatch");
    CHECK_NOT_NULL(strstr(err.message, "0002_pets.sql"));
}

static void a_newer_database_is_refused(void **state)
{
    struct err err = {0};
    int applied = -1;

    (void)state;
    CHECK_OK(apply(three, &applied, &err), &err);
    CHECK_FAILS(apply(two, &applied, &err), &err, ERR_TERMINAL, "MigrationMismatch");
    CHECK_NOT_NULL(strstr(err.message, "newer program"));
}

static void a_gap_is_refused(void **state)
{
    static const struct embedded_file holey[] = {
        FILE_OF("0001_a.sql", "SELECT 1;"),
        FILE_OF("0003_b.sql", "SELECT 1;"),
        {NULL, NULL, 0},
    };
    static const struct embedded_file misnamed[] = {FILE_OF("1_a.sql", "SELECT 1;"),
                                                    {NULL, NULL, 0}};
    struct err err = {0};
    int applied = -1;

    (void)state;
    CHECK_FAILS(apply(holey, &applied, &err), &err, ERR_TERMINAL, "MigrationMismatch");
    CHECK_FAILS(apply(misnamed, &applied, &err), &err, ERR_TERMINAL, "MigrationMismatch");
    CHECK_OK(apply(three, &applied, &err), &err);
    change_database("DELETE FROM public.schema_migrations WHERE version = 2");
    CHECK_FAILS(apply(three, &applied, &err), &err, ERR_TERMINAL, "MigrationMismatch");
}

static void a_file_that_fails_leaves_nothing(void **state)
{
    static const struct embedded_file failing[] = {
        FILE_OF("0001_a.sql", "CREATE TABLE public.a (); SELECT 1/0; CREATE TABLE public.b ();"),
        {NULL, NULL, 0},
    };
    struct err err = {0};
    int applied = -1;

    (void)state;
    CHECK_FAILS(apply(failing, &applied, &err), &err, ERR_RETRY, "SQLError");
    CHECK_TEXT(err.code, "22012");
    CHECK_NOT_NULL(strstr(err.message, "0001_a.sql"));
    CHECK_INT(count_in_database("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 0);
}

static void a_file_that_commits_by_itself_is_refused(void **state)
{
    static const struct embedded_file committing[] = {
        FILE_OF("0001_a.sql", "CREATE TABLE public.a (); COMMIT;"),
        {NULL, NULL, 0},
    };
    struct err err = {0};
    int applied = -1;

    (void)state;
    CHECK_FAILS(apply(committing, &applied, &err), &err, ERR_TERMINAL, "MigrationMismatch");
}

struct migrator {
    pthread_t thread;
    struct sql_conn *conn;
    int result;
    int applied;
    struct err err;
};

static void *run_migrator(void *argument)
{
    struct migrator *migrator = argument;
    struct call call = {0};

    migrator->result = migrate(migrator->conn, &call, three, &migrator->applied, &migrator->err);
    return NULL;
}

static void many_programs_at_once_apply_each_file_once(void **state)
{
    struct migrator migrators[THREADS] = {{0}};
    struct call call = {0};
    struct err err = {0};
    int applied = 0;

    (void)state;
    /* All of them have found nothing applied before the first may begin. */
    struct sql_conn *gate = postgres_connect("dbname=migrate_test");
    CHECK_OK(sql_begin(gate, &call, &err), &err);
    CHECK_OK(sql_lock(gate, &call, MIGRATION_LOCK, "schema_migrations", &err), &err);
    for (int i = 0; i < THREADS; i++) {
        migrators[i].conn = postgres_connect("dbname=migrate_test");
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&migrators[i].thread, NULL, run_migrator, &migrators[i]), 0);
    }
    postgres_wait("SELECT count(*) / %d FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
                  THREADS);
    sql_close(gate);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(migrators[i].thread, NULL);
        sql_close(migrators[i].conn);
        CHECK_OK(migrators[i].result, &migrators[i].err);
        applied += migrators[i].applied;
    }
    CHECK_INT(applied, 3);
    CHECK_INT(count_in_database("SELECT count(*) FROM public.pets"), 1);
}

static void a_closed_fence_applies_nothing(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=migrate_test");
    struct fence fence = {0};
    struct call call = {.fence = &fence};
    struct err err = {0};
    int applied = -1;

    (void)state;
    fence_close(&fence);
    CHECK_FAILS(migrate(conn, &call, three, &applied, &err), &err, ERR_CANCELED, "LeadershipLost");
    CHECK_INT(count_in_database("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_are_applied_in_order_and_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_to_do_writes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_to_do_needs_no_right_to_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_edited_file_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_database_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_gap_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_fails_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_commits_by_itself_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(many_programs_at_once_apply_each_file_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_closed_fence_applies_nothing, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
