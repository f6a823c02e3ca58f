/* The connection Secret to the byte, and what is done about a login role. */
#include "tests/check.h"

#include <stdlib.h>

#include "reconcilers/database/login_internal.h"

static const struct scope scope = {
    .mode = &mode_database,
    .tenant_id = "8c6f0000-0000-4000-8000-000000000001",
    .uid = "uid-1",
    .database = "tenant_acme",
    .schema = "public",
    .roles = {"tenant_acme.owner", "tenant_acme.rw", "tenant_acme.ro", "tenant_acme.app",
              "tenant_acme.a", "tenant_acme.b"},
    .mark = "tenantry: tenant 8c6f0000-0000-4000-8000-000000000001 uid uid-1",
};

static const struct login_address address = {
    .endpoint = {.host = "db.example.test",
                 .port = 5432,
                 .sslmode = "verify-full",
                 .ca_pem = "",
                 .target_session_attrs = "read-write"},
    .database = "tenant_acme",
    .schema = "public",
    .user = "tenant_acme.a",
};

static struct secret secret_of(const char *text)
{
    struct secret secret;
    secret_init(&secret);
    secret_set(&secret, str_from(text));
    return secret;
}

static void check_entry(const struct kube_secret *secret, const char *name, const char *value)
{
    const struct secret *entry = kube_secret_get(secret, name);
    CHECK_NOT_NULL(entry);
    CHECK_TEXT(secret_bytes(entry), value);
}

/* ---- the Secret ---- */

static void every_form_of_the_connection(void **state)
{
    AUTO(secret) struct secret password = secret_of("S3cret");
    AUTO(kube_secret) struct kube_secret secret = {0};
    (void)state;
    login_secret_render(&address, &password, &secret);
    CHECK_INT(secret.count, 10);
    check_entry(&secret, "host", "db.example.test");
    check_entry(&secret, "port", "5432");
    check_entry(&secret, "dbname", "tenant_acme");
    check_entry(&secret, "user", "tenant_acme.a");
    check_entry(&secret, "password", "S3cret");
    check_entry(&secret, "sslmode", "verify-full");
    check_entry(&secret, "schema", "public");
    check_entry(&secret, "uri",
                "postgresql://tenant_acme.a:S3cret@db.example.test:5432/tenant_acme?"
                "sslmode=verify-full");
    check_entry(&secret, "jdbc-uri",
                "jdbc:postgresql://db.example.test:5432/tenant_acme?user=tenant_acme.a&"
                "password=S3cret&sslmode=verify-full");
    check_entry(&secret, "pgpass", "db.example.test:5432:tenant_acme:tenant_acme.a:S3cret\n");
}

static void several_hosts_and_odd_characters(void **state)
{
    AUTO(secret) struct secret password = secret_of("a:b\\c/d@e?f&g");
    AUTO(kube_secret) struct kube_secret secret = {0};
    struct login_address many = address;
    (void)state;
    many.endpoint.host = "one.test,2001:db8::1";
    many.endpoint.ca_pem = "-----BEGIN CERTIFICATE-----\n";
    login_secret_render(&many, &password, &secret);
    check_entry(&secret, "host", "one.test,2001:db8::1");
    check_entry(&secret, "uri",
                "postgresql://tenant_acme.a:a%3Ab%5Cc%2Fd%40e%3Ff%26g@one.test:5432,"
                "[2001:db8::1]:5432/tenant_acme?sslmode=verify-full&"
                "target_session_attrs=read-write");
    check_entry(&secret, "jdbc-uri",
                "jdbc:postgresql://one.test:5432,[2001:db8::1]:5432/tenant_acme?"
                "user=tenant_acme.a&password=a%3Ab%5Cc%2Fd%40e%3Ff%26g&sslmode=verify-full&"
                "targetServerType=primary");
    check_entry(&secret, "pgpass",
                "one.test:5432:tenant_acme:tenant_acme.a:a\\:b\\\\c/d@e?f&g\n"
                "2001\\:db8\\:\\:1:5432:tenant_acme:tenant_acme.a:a\\:b\\\\c/d@e?f&g\n");
    check_entry(&secret, "ca.crt", "-----BEGIN CERTIFICATE-----\n");
}

static void entries_of_others_do_not_matter(void **state)
{
    AUTO(secret) struct secret password = secret_of("S3cret");
    AUTO(kube_secret) struct kube_secret wanted = {0};
    AUTO(kube_secret) struct kube_secret actual = {0};
    (void)state;
    login_secret_render(&address, &password, &wanted);
    CHECK(!login_secret_holds(&actual, &wanted));
    login_secret_render(&address, &password, &actual);
    CHECK(login_secret_holds(&actual, &wanted));
    kube_secret_put_text(&actual, "note", "by somebody else");
    CHECK(login_secret_holds(&actual, &wanted));
    kube_secret_put_text(&actual, "host", "elsewhere");
    CHECK(!login_secret_holds(&actual, &wanted));
}

static void only_strong_passwords_of_others_are_taken(void **state)
{
    static const struct {
        const char *text;
        bool usable;
    } cases[] = {
        {"", false},
        {"short", false},
        {"just-23-characters-long", false},
        {"exactly-24-characters-ok", true},
        {"with a blank, 24 long....", false},
        {"with-a-line-break-24....\n", false},
        {"umlaut-\xc3\xa4-24-characters", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(secret) struct secret password = secret_of(cases[i].text);
        CHECK_INT(login_password_usable(&password), cases[i].usable);
    }
    CHECK(!login_password_usable(NULL));
}

/* ---- the role ---- */

static const struct login_wanted wanted = {
    .slot = ROLE_A,
    .enabled = true,
    .limits_known = true,
    .connection_limit = 20,
    .statement_timeout_ms = 30000,
};

static struct role_seen complete(struct arena *arena)
{
    return (struct role_seen){
        .exists = true,
        .can_login = true,
        .inherits = true,
        .connection_limit = 20,
        .comment = login_mark(arena, &scope, &wanted),
        .settings = "role search_path statement_timeout",
    };
}

static void a_complete_login_needs_nothing(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct login_plan plan;
    (void)state;
    arena_init(&arena, 0);
    struct role_seen seen = complete(&arena);
    login_plan(&arena, &scope, &seen, &wanted, true, &plan);
    CHECK(login_plan_is_empty(&plan));
    /* A tenant may change its own defaults, and may have more. */
    seen.settings = "role search_path statement_timeout work_mem";
    login_plan(&arena, &scope, &seen, &wanted, true, &plan);
    CHECK(login_plan_is_empty(&plan));
}

static void each_difference_is_planned_alone(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct login_plan plan;
    (void)state;
    arena_init(&arena, 0);
    struct role_seen seen = {.connection_limit = -1, .comment = "", .settings = ""};
    login_plan(&arena, &scope, &seen, &wanted, false, &plan);
    CHECK(plan.create && plan.set_password && plan.set_login && plan.set_limit && plan.set_mark);
    CHECK_INT(plan.set_defaults, DEFAULT_ROLE | DEFAULT_SEARCH_PATH | DEFAULT_STATEMENT_TIMEOUT);

    seen = complete(&arena);
    login_plan(&arena, &scope, &seen, &wanted, false, &plan);
    CHECK(plan.set_password && !plan.create && !plan.set_login && !plan.set_limit &&
          !plan.set_mark);
    CHECK_INT(plan.set_defaults, 0);

    seen = complete(&arena);
    seen.can_login = false;
    login_plan(&arena, &scope, &seen, &wanted, true, &plan);
    CHECK(plan.set_login && !plan.set_password && !plan.set_limit);

    seen = complete(&arena);
    seen.connection_limit = -1;
    login_plan(&arena, &scope, &seen, &wanted, true, &plan);
    CHECK(plan.set_limit && !plan.set_login && !plan.set_password);

    seen = complete(&arena);
    seen.settings = "role search_path";
    login_plan(&arena, &scope, &seen, &wanted, true, &plan);
    CHECK_INT(plan.set_defaults, DEFAULT_STATEMENT_TIMEOUT);
    CHECK(!plan.set_mark);
}

static void a_changed_tier_sets_all_defaults_and_takes_back_what_it_has_not(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct login_plan plan;
    struct login_wanted next = wanted;
    (void)state;
    arena_init(&arena, 0);
    struct role_seen seen = complete(&arena);
    next.statement_timeout_ms = 0;
    next.idle_in_transaction_timeout_ms = 1000;
    login_plan(&arena, &scope, &seen, &next, true, &plan);
    CHECK(plan.set_mark);
    CHECK_INT(plan.set_defaults, DEFAULT_ROLE | DEFAULT_SEARCH_PATH | DEFAULT_IDLE_TIMEOUT);
    CHECK_INT(plan.reset_defaults, DEFAULT_STATEMENT_TIMEOUT);
}

static void without_a_tier_limits_stay(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct login_plan plan;
    struct login_wanted suspended = {.slot = ROLE_A, .connection_limit = 20};
    (void)state;
    arena_init(&arena, 0);
    struct role_seen seen = complete(&arena);
    seen.connection_limit = 7;
    login_plan(&arena, &scope, &seen, &suspended, true, &plan);
    CHECK(plan.set_login);
    CHECK(!plan.set_limit && !plan.set_mark && plan.set_defaults == 0 && plan.reset_defaults == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_the_connection),
        cmocka_unit_test(several_hosts_and_odd_characters),
        cmocka_unit_test(entries_of_others_do_not_matter),
        cmocka_unit_test(only_strong_passwords_of_others_are_taken),
        cmocka_unit_test(a_complete_login_needs_nothing),
        cmocka_unit_test(each_difference_is_planned_alone),
        cmocka_unit_test(a_changed_tier_sets_all_defaults_and_takes_back_what_it_has_not),
        cmocka_unit_test(without_a_tier_limits_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
