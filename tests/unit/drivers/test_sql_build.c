/* No value leaves the place in a statement that it was given, and what cannot be quoted safely
 * makes the whole statement unusable. */
#include "tests/check.h"

#include "reconcilers/drivers/embedded.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/drivers/sql_internal.h"

#define SIXTY_THREE "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct quoting {
    const char *value;
    const char *text; /* NULL: refused */
};

static void check(const struct quoting *row, void (*append)(struct sql *, const char *))
{
    AUTO(sql) struct sql query = {0};
    struct err err = {0};

    sql_init(&query);
    append(&query, row->value);
    if (row->text) {
        CHECK_OK(sql_check_built(&query, &err), &err);
        CHECK_TEXT(buf_text(&query.text), row->text);
    } else {
        CHECK(query.failed);
        CHECK_FAILS(sql_check_built(&query, &err), &err, ERR_TERMINAL, "InvalidStatement");
    }
}

static void identifiers_stay_identifiers(void **state)
{
    static const struct quoting rows[] = {
        {"tenant_acme", "\"tenant_acme\""},
        {"tenant_acme.owner", "\"tenant_acme.owner\""},
        {"Select", "\"Select\""},
        {"a\"b", "\"a\"\"b\""},
        {"\"", "\"\"\"\""},
        {"a\"; DROP DATABASE x; --", "\"a\"\"; DROP DATABASE x; --\""},
        {"a\\", "\"a\\\""},
        {"a'b", "\"a'b\""},
        {"a\nb", "\"a\nb\""},
        {"\xc3\xa4", "\"\xc3\xa4\""},
        {SIXTY_THREE, "\"" SIXTY_THREE "\""},
        {SIXTY_THREE "a", NULL},
        {"\xc3\xa4" SIXTY_THREE, NULL},
        {"", NULL},
        {NULL, NULL},
        {"\xc0\xa2", NULL}, /* an overlong '"' */
        {"a\xff", NULL},
        {"a\xc3", NULL},        /* cut: would swallow the closing quote */
        {"\xed\xa0\x80", NULL}, /* half of a surrogate pair */
        {"\xf4\x90\x80\x80", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        check(&rows[i], sql_ident);
    }
}

static void constants_stay_constants(void **state)
{
    static const struct quoting rows[] = {
        {"", "''"},
        {NULL, "''"},
        {"acme", "'acme'"},
        {"it's", "'it''s'"},
        {"'; DROP TABLE x; --", "'''; DROP TABLE x; --'"},
        {"\\", " E'\\\\'"},
        {"\\'; DROP TABLE x; --", " E'\\\\''; DROP TABLE x; --'"},
        {"\\x27", " E'\\\\x27'"},
        {"$1", "'$1'"},
        {"\xc3\xa4", "'\xc3\xa4'"},
        {"\xc0\xa7", NULL}, /* an overlong "'" */
        {"\xff'", NULL},
        {"a\xc3", NULL},
        {"\xe0\x80\xa7", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        check(&rows[i], sql_literal);
    }
}

static void secret_constants_are_quoted_alike(void **state)
{
    AUTO(sql) struct sql query = {0};
    AUTO(secret) struct secret verifier = {0};

    (void)state;
    secret_set(&verifier, STR("SCRAM-SHA-256$4096:a'b\\c"));
    sql_init(&query);
    SQL(&query, "PASSWORD");
    sql_literal_secret(&query, &verifier);
    CHECK_TEXT(buf_text(&query.text), "PASSWORD E'SCRAM-SHA-256$4096:a''b\\\\c'");
    secret_set(&verifier, STR("a\0b"));
    sql_literal_secret(&query, &verifier);
    CHECK(query.failed);
}

static void qualified_names_have_two_parts(void **state)
{
    AUTO(sql) struct sql query = {0};

    (void)state;
    sql_init(&query);
    SQL(&query, "DROP TABLE ");
    sql_ident2(&query, "pu\"blic", "us.ers");
    CHECK_TEXT(buf_text(&query.text), "DROP TABLE \"pu\"\"blic\".\"us.ers\"");
    sql_ident2(&query, "public", "");
    CHECK(query.failed);
}

static void numbers_are_numbers(void **state)
{
    AUTO(sql) struct sql query = {0};

    (void)state;
    sql_init(&query);
    SQL(&query, "SELECT 1-");
    sql_integer(&query, -1); /* "--1" would be a comment */
    SQL(&query, ", ");
    sql_integer(&query, INT64_MAX);
    SQL(&query, ", ");
    sql_integer(&query, INT64_MIN);
    CHECK_TEXT(buf_text(&query.text), "SELECT 1-(-1), 9223372036854775807, (-9223372036854775808)");
}

static void parameters_are_bound_in_order(void **state)
{
    AUTO(sql) struct sql query = {0};

    (void)state;
    sql_init(&query);
    SQL(&query, "SELECT ");
    sql_param(&query, "a'b");
    SQL(&query, ", ");
    sql_param(&query, NULL);
    SQL(&query, ", ");
    sql_param_int(&query, -7);
    CHECK_TEXT(buf_text(&query.text), "SELECT $1, $2, $3");
    CHECK_INT(query.parameter_count, 3);
    CHECK_TEXT(query.parameters[0], "a'b");
    CHECK_NULL(query.parameters[1]);
    CHECK_TEXT(query.parameters[2], "-7");
}

static void one_parameter_too_many_fails(void **state)
{
    AUTO(sql) struct sql query = {0};

    (void)state;
    sql_init(&query);
    for (int i = 0; i < SQL_PARAMETERS_MAX; i++) {
        sql_param_int(&query, i);
    }
    CHECK(!query.failed);
    sql_param(&query, "x");
    CHECK(query.failed);
    CHECK_INT(query.parameter_count, SQL_PARAMETERS_MAX);
}

static void too_long_a_statement_fails(void **state)
{
    AUTO(sql) struct sql query = {0};
    struct err err = {0};
    char *value = xmalloc((1 << 20) + 1);

    (void)state;
    memset(value, 'a', 1 << 20);
    value[1 << 20] = '\0';
    sql_init(&query);
    sql_literal(&query, value);
    CHECK_FAILS(sql_check_built(&query, &err), &err, ERR_TERMINAL, "InvalidStatement");
    free(value);
}

static void clearing_makes_it_usable_again(void **state)
{
    AUTO(sql) struct sql query = {0};
    struct err err = {0};

    (void)state;
    sql_init(&query);
    sql_ident(&query, "");
    sql_param(&query, "x");
    sql_clear(&query);
    SQL(&query, "SELECT ");
    sql_param(&query, "y");
    CHECK_OK(sql_check_built(&query, &err), &err);
    CHECK_TEXT(buf_text(&query.text), "SELECT $1");
    CHECK_TEXT(query.parameters[0], "y");
}

static void files_must_be_text(void **state)
{
    AUTO(sql) struct sql query = {0};
    const struct embedded_file good = {"0001_a.sql", "SELECT 1;", 9};
    const struct embedded_file bad = {"0001_a.sql", "SELECT\0 1;", 10};

    (void)state;
    sql_init(&query);
    sql_append_file(&query, &good);
    CHECK_TEXT(buf_text(&query.text), "SELECT 1;");
    sql_append_file(&query, &bad);
    CHECK(query.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identifiers_stay_identifiers),
        cmocka_unit_test(constants_stay_constants),
        cmocka_unit_test(secret_constants_are_quoted_alike),
        cmocka_unit_test(qualified_names_have_two_parts),
        cmocka_unit_test(numbers_are_numbers),
        cmocka_unit_test(parameters_are_bound_in_order),
        cmocka_unit_test(one_parameter_too_many_fails),
        cmocka_unit_test(too_long_a_statement_fails),
        cmocka_unit_test(clearing_makes_it_usable_again),
        cmocka_unit_test(files_must_be_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
