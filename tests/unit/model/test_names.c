/* Names are derived injectively, and what may not be a subdomain is refused with the rule it
 * breaks. */
#include "tests/check.h"

#include "reconcilers/model/names.h"

static void c48_names_follow_the_contract(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    arena_init(&arena, 0);
    CHECK_TEXT(name_database(&arena, "acme-corp"), "tenant_acme_corp");
    CHECK_TEXT(name_role(&arena, "acme-corp", "owner"), "tenant_acme_corp.owner");
    CHECK_TEXT(name_namespace(&arena, "acme-corp"), "tenant-acme-corp");
    CHECK_TEXT(name_owner_secret(&arena, "acme"), "acme-owner");
    CHECK_TEXT(name_database_secret(&arena, "acme"), "acme-database");
}

static void longest_names_fit_postgresql(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    char subdomain[NAME_SUBDOMAIN_BYTES + 1];
    struct err err = {0};
    arena_init(&arena, 0);
    memset(subdomain, 'a', NAME_SUBDOMAIN_BYTES);
    subdomain[NAME_SUBDOMAIN_BYTES] = '\0';
    CHECK_OK(name_check_subdomain(subdomain, &err), &err);
    CHECK(strlen(name_role(&arena, subdomain, "owner")) <= 63);
    CHECK(strlen(name_namespace(&arena, subdomain)) <= 63);
}

static void bad_subdomains_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "-a",          "a-",
        "Acme",      "a_b",         "a.b",
        "a b",       "a\"b",        "a'b",
        "\xc3\xa4",  "xn--abc",     "www",
        "api",       "admin",       "postgres",
        "template0", "sthree-a",    "amzn-s3-demo-x",
        "a;drop",    "tenant/../x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct err err = {0};
        CHECK_FAILS(name_check_subdomain(bad[i], &err), &err, ERR_TERMINAL, "InvalidSubdomain");
    }
}

static void good_subdomains_pass(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "0", "acme", "a-b", "a--b", "4711", "wwww"};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        struct err err = {0};
        CHECK_OK(name_check_subdomain(good[i], &err), &err);
    }
}

static void platform_reserves_more(void **state)
{
    (void)state;
    struct err err = {0};
    name_reserve("shop, intranet");
    CHECK_FAILS(name_check_subdomain("intranet", &err), &err, ERR_TERMINAL, "InvalidSubdomain");
    CHECK_FAILS(name_check_subdomain("shop", &err), &err, ERR_TERMINAL, "InvalidSubdomain");
    CHECK_OK(name_check_subdomain("shops", &err), &err);
    name_reserve("");
    CHECK_OK(name_check_subdomain("shop", &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c48_names_follow_the_contract),
        cmocka_unit_test(longest_names_fit_postgresql),
        cmocka_unit_test(bad_subdomains_are_refused),
        cmocka_unit_test(good_subdomains_pass),
        cmocka_unit_test(platform_reserves_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
