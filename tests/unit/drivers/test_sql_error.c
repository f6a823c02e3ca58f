/* What a SQLSTATE means for the tenant, and that no more of a server's words reach the user than
 * the primary message. */
#include "tests/check.h"

#include "reconcilers/drivers/sql_internal.h"

static void every_state_has_a_class(void **state)
{
    static const struct {
        const char *sqlstate;
        const char *reason;
        enum err_class cls;
        bool unreachable;
    } rows[] = {
        {"08000", "DatabaseUnreachable", ERR_RETRY, true},
        {"08006", "DatabaseUnreachable", ERR_RETRY, true},
        {"57P01", "DatabaseUnreachable", ERR_RETRY, true},
        {"57P02", "DatabaseUnreachable", ERR_RETRY, true},
        {"57P03", "DatabaseUnreachable", ERR_RETRY, true},
        {"57P05", "DatabaseUnreachable", ERR_RETRY, true},
        {"57P04", "SQLError", ERR_RETRY, false}, /* database dropped: the server is there */
        {"28000", "DatabaseCredentials", ERR_RETRY, false},
        {"28P01", "DatabaseCredentials", ERR_RETRY, false},
        {"3D000", "SQLError", ERR_RETRY, false},
        {"53100", "DatabaseOverloaded", ERR_RETRY, false},
        {"53300", "DatabaseOverloaded", ERR_RETRY, false},
        {"25006", "DatabaseReadOnly", ERR_RETRY, false},
        {"25001", "SQLError", ERR_RETRY, false},
        {"57014", "StatementTimeout", ERR_RETRY, false},
        {"55P03", "LockTimeout", ERR_RETRY, false},
        {"55006", "DatabaseBusy", ERR_WAIT, false},
        {"40001", "SerializationFailure", ERR_CONFLICT, false},
        {"40P01", "SerializationFailure", ERR_CONFLICT, false},
        {"42501", "InsufficientPrivilege", ERR_RETRY, false},
        {"23505", "SQLError", ERR_RETRY, false},
        {"XX000", "SQLError", ERR_RETRY, false},
        {"", "SQLError", ERR_RETRY, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct err err = {0};
        CHECK_INT(sql_err_set(&err, rows[i].sqlstate, "words"), -1);
        CHECK_INT(err.cls, rows[i].cls);
        CHECK_TEXT(err.reason, rows[i].reason);
        CHECK_TEXT(err.code, rows[i].sqlstate);
        CHECK_TEXT(err.message, "words");
        CHECK_INT(sql_err_unreachable(&err), rows[i].unreachable);
        CHECK_INT(sql_err_refuses_login(&err),
                  strncmp(rows[i].sqlstate, "28", 2) == 0 || text_equal(rows[i].sqlstate, "3D000"));
    }
}

static void a_refused_connection_tells_its_state(void **state)
{
    static const struct {
        const char *text;
        const char *code;
        const char *message;
    } rows[] = {
        {"connection to server at \"127.0.0.1\", port 1 failed: FATAL:  28P01: password "
         "authentication failed for user \"a\"\nLOCATION:  auth_failed, auth.c:334\n",
         "28P01", "password authentication failed for user \"a\""},
        {"connection to server failed: ФАТАЛЬНО:  3D000: no such database\nDETAIL:  hidden\n",
         "3D000", "no such database"},
        {"could not connect: Connection refused\n\tIs the server running?\n", "08001",
         "could not connect: Connection refused"},
        {"SSL error:  28P0: not a state\n", "08001", "SSL error:  28P0: not a state"},
        {"", "08001", "the server gave no message"},
        {"FATAL:  57P03: \n", "57P03", "the server gave no message"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct err err = {0};
        CHECK_INT(sql_err_from_connect(rows[i].text, &err), -1);
        CHECK_TEXT(err.code, rows[i].code);
        CHECK_TEXT(err.message, rows[i].message);
        CHECK_NULL(strstr(err.message, "hidden"));
    }
}

static void long_messages_are_cut_at_a_character(void **state)
{
    struct err err = {0};
    char text[4000];

    (void)state;
    memset(text, 'a', sizeof(text));
    for (size_t i = 901; i + 2 < sizeof(text); i += 2) {
        memcpy(text + i, "\xc3\xa4", 2);
    }
    text[sizeof(text) - 1] = '\0';
    CHECK_INT(sql_err_from_connect(text, &err), -1);
    CHECK(str_is_utf8(str_from(err.message)));
    CHECK(strlen(err.message) > 900);
}

static void literal_hosts_need_no_name_server(void **state)
{
    static const char *const literal[] = {
        "127.0.0.1", "::1", "fe80::1%eth0", "/run/postgresql", "@abstract", "", NULL};
    static const char *const names[] = {"localhost", "db.example.com", "1.2.3", "db-1"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(literal); i++) {
        CHECK(sql_host_is_literal(literal[i]));
    }
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        CHECK(!sql_host_is_literal(names[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_has_a_class),
        cmocka_unit_test(a_refused_connection_tells_its_state),
        cmocka_unit_test(long_messages_are_cut_at_a_character),
        cmocka_unit_test(literal_hosts_need_no_name_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
