/* Rows of a dump are counted right wherever its pieces are cut, and whatever stands in it. */
#include "tests/check.h"

#include "reconcilers/drivers/pg_tools.h"

static const char script[] = "--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n\n"
                             "COPY public.users (tenant_id, email) FROM stdin;\n"
                             "1\ta@b\n2\tCOPY x.y (z) FROM stdin;\n3\t\\\\.\n\\.\n\n\n"
                             "COPY app.\"Odd \"\"name\"\".x (\" (a) FROM stdin;\n\n\n\\.\n"
                             "COPY app.empty (x) FROM stdin;\n\\.\n"
                             "SELECT pg_catalog.setval('app.s', 1, true);\n"
                             "COPY \"a.b\".c  FROM stdin;\n\n\\.\n"
                             "COPY public.users (tenant_id, email) FROM stdin;\n4\tx\n\\.\n";

static void check(const struct copy_scan *scan)
{
    CHECK_INT(copy_scan_rows(scan, "public", "users"), 4);
    CHECK_INT(copy_scan_rows(scan, "app", "Odd \"name\".x ("), 2);
    CHECK_INT(copy_scan_rows(scan, "app", "empty"), 0);
    CHECK_INT(copy_scan_rows(scan, "a.b", "c"), 1);
    CHECK_INT(copy_scan_rows(scan, "a", "b.c"), -1);
    CHECK_INT(copy_scan_rows(scan, "x", "y"), -1);
}

static void pieces_of_any_size_count_the_same(void **state)
{
    (void)state;
    for (size_t size = 1; size <= sizeof(script); size++) {
        struct copy_scan scan;
        copy_scan_init(&scan);
        for (size_t at = 0; at < sizeof(script) - 1; at += size) {
            size_t left = sizeof(script) - 1 - at;
            copy_scan_feed(&scan, (struct str){script + at, left < size ? left : size});
        }
        check(&scan);
        copy_scan_release(&scan);
    }
}

/* A row may be as long as it likes; only the beginning of a line is kept. */
static void long_rows_count_once(void **state)
{
    enum { LONG = 100000 };
    struct copy_scan scan;
    char *row = xmalloc(LONG + 1);

    (void)state;
    memset(row, 'x', LONG);
    row[LONG] = '\n';
    copy_scan_init(&scan);
    copy_scan_feed(&scan, STR("COPY public.t (a) FROM stdin;\n"));
    copy_scan_feed(&scan, (struct str){row, LONG + 1});
    copy_scan_feed(&scan, (struct str){row, LONG});
    copy_scan_feed(&scan, STR("\n\\.\n"));
    CHECK_INT(copy_scan_rows(&scan, "public", "t"), 2);
    CHECK(scan.line.max_bytes < LONG);
    copy_scan_release(&scan);
    free(row);
}

static void broken_headers_count_nothing(void **state)
{
    static const char *const headers[] = {
        "COPY ",  "COPY \"",   "COPY \"a",    "COPY a",       "COPY a.",      "COPY \"a\"b",
        "COPY .", "COPY a.\"", "COPY \"a\".", "COPY \"a\"\"", "COPY  a.b (c)"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(headers); i++) {
        struct copy_scan scan;
        copy_scan_init(&scan);
        copy_scan_feed(&scan, str_from(headers[i]));
        copy_scan_feed(&scan, STR("\n1\n2\n"));
        CHECK_NULL(scan.counting);
        copy_scan_release(&scan);
    }
}

static void hash(const char *restrict_key, const char *row, size_t size,
                 char ret[SHA256_TEXT_BYTES])
{
    struct copy_scan scan;
    AUTO(free)
    char *text = xasprintf("\\restrict %s\n\nCOPY public.t (a) FROM stdin;\n%s\n\\restrict x\n\\.\n"
                           "SELECT 1;\n\\unrestrict %s\n",
                           restrict_key, row, restrict_key);
    struct str rest = str_from(text);

    copy_scan_init(&scan);
    while (rest.len > 0) {
        size_t length = rest.len < size ? rest.len : size;
        copy_scan_feed(&scan, (struct str){rest.ptr, length});
        rest = (struct str){rest.ptr + length, rest.len - length};
    }
    copy_scan_sha256(&scan, ret);
    copy_scan_release(&scan);
}

/* pg_restore lets psql take no commands from the dump, by a key that is another each time. */
static void the_hash_is_of_what_is_in_it_alone(void **state)
{
    char first[SHA256_TEXT_BYTES];
    char second[SHA256_TEXT_BYTES];

    (void)state;
    hash("a", "1", 1000, first);
    for (size_t size = 1; size < 40; size++) {
        hash("bcd", "1", size, second);
        CHECK_TEXT(first, second);
    }
    hash("a", "2", 1000, second);
    CHECK(strcmp(first, second) != 0);
    hash("a", "1\n", 1000, second);
    CHECK(strcmp(first, second) != 0);
    hash("a", "1\n\\restrict y", 1000, second); /* a row that begins with a carriage return */
    CHECK(strcmp(first, second) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_any_size_count_the_same),
        cmocka_unit_test(long_rows_count_once),
        cmocka_unit_test(broken_headers_count_nothing),
        cmocka_unit_test(the_hash_is_of_what_is_in_it_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
