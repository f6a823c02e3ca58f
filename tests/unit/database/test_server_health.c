/* What is said about a server: the statements to run, to the letter. */
#include "tests/check.h"

#include "reconcilers/database/server_health.h"

static struct server_health healthy(void)
{
    return (struct server_health){
        .version = "15.14",
        .version_number = 150014,
        .role = "tenantry_controller",
        .creates_databases = true,
        .sees_sessions = true,
        .creates_roles = true,
        .ends_sessions = true,
        .inherits = true,
        .has_shared_roles = true,
    };
}

static const char *open_words(const struct server_health *health, struct buf *words)
{
    buf_clear(words);
    server_describe_open(health, words);
    return buf_text(words);
}

static void a_healthy_server_needs_nothing(void **state)
{
    AUTO(buf) struct buf words = BUF(4096);
    struct server_health health = healthy();
    struct err err = {0};
    (void)state;
    CHECK_OK(server_check_able(&health, &err), &err);
    CHECK_TEXT(open_words(&health, &words), "");
}

static void missing_rights_are_printed_as_statements(void **state)
{
    struct server_health health = healthy();
    struct err err = {0};
    (void)state;
    health.creates_databases = false;
    health.ends_sessions = false;
    CHECK_FAILS(server_check_able(&health, &err), &err, ERR_RETRY, "InsufficientPrivilege");
    CHECK_NOT_NULL(strstr(err.message, "ALTER ROLE \"tenantry_controller\" CREATEDB;"));
    CHECK_NOT_NULL(strstr(err.message, "GRANT pg_signal_backend TO \"tenantry_controller\";"));
    health.superuser = true;
    CHECK_OK(server_check_able(&health, &err), &err);
}

static void what_cannot_serve_is_told(void **state)
{
    struct server_health health = healthy();
    struct err err = {0};
    (void)state;
    health.read_only = true;
    CHECK_FAILS(server_check_able(&health, &err), &err, ERR_RETRY, "DatabaseReadOnly");
    health = healthy();
    health.version = "14.11";
    health.version_number = 140011;
    CHECK_FAILS(server_check_able(&health, &err), &err, ERR_TERMINAL, "VersionUnsupported");
}

static void what_is_open_is_printed_as_statements(void **state)
{
    static const char *const open[] = {"postgres", "odd\"name"};
    AUTO(buf) struct buf words = BUF(4096);
    struct server_health health = healthy();
    (void)state;
    health.open_databases = open;
    health.open_count = ARRAY_COUNT(open);
    CHECK_TEXT(open_words(&health, &words),
               " REVOKE CONNECT, TEMPORARY ON DATABASE \"postgres\" FROM PUBLIC;"
               " REVOKE CONNECT, TEMPORARY ON DATABASE \"odd\"\"name\" FROM PUBLIC;");
    health = healthy();
    health.superuser = true;
    CHECK_TEXT(open_words(&health, &words),
               " ALTER ROLE \"tenantry_controller\" NOSUPERUSER NOBYPASSRLS;");
    health = healthy();
    health.shared_roles_too_strong = true;
    CHECK_NOT_NULL(strstr(open_words(&health, &words), "ALTER ROLE tenantry_app NOSUPERUSER"));
}

static void many_open_databases_are_cut_short(void **state)
{
    static const char *open[40];
    AUTO(buf) struct buf words = BUF(4096);
    struct server_health health = healthy();
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(open); i++) {
        open[i] = "some_database";
    }
    health.open_databases = open;
    health.open_count = ARRAY_COUNT(open);
    CHECK_NOT_NULL(strstr(open_words(&health, &words), "(and for 30 more databases)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_healthy_server_needs_nothing),
        cmocka_unit_test(missing_rights_are_printed_as_statements),
        cmocka_unit_test(what_cannot_serve_is_told),
        cmocka_unit_test(what_is_open_is_printed_as_statements),
        cmocka_unit_test(many_open_databases_are_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
