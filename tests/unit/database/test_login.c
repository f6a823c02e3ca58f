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
    .database_limit = -1,
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

/* Seen as slot a, in a database without a limit. */
static void plan_of(struct arena *arena, const struct role_seen *role,
                    const struct login_wanted *want, bool in_force, struct login_plan *ret)
{
    struct seen seen = {.database = {.exists = true, .connection_limit = want->database_limit}};

    seen.roles[want->slot] = *role;
    login_plan(arena, &scope, &seen, want, in_force, ret);
}

static void a_complete_login_needs_nothing(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct login_plan plan;
    (void)state;
    arena_init(&arena, 0);
    struct role_seen seen = complete(&arena);
    plan_of(&arena, &seen, &wanted, true, &plan);
    CHECK(login_plan_is_empty(&plan));
    /* A tenant may change its own defaults, and may have more. */
    seen.settings = "role search_path statement_timeout work_mem";
    plan_of(&arena, &seen, &wanted, true, &plan);
    CHECK(login_plan_is_empty(&plan));
}

static void each_difference_is_planned_alone(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct login_plan plan;
    (void)state;
    arena_init(&arena, 0);
    struct role_seen seen = {.connection_limit = -1, .comment = "", .settings = ""};
    plan_of(&arena, &seen, &wanted, false, &plan);
    CHECK(plan.create && plan.set_password && plan.set_login && plan.set_limit && plan.set_mark);
    CHECK_INT(plan.set_defaults, DEFAULT_ROLE | DEFAULT_SEARCH_PATH | DEFAULT_STATEMENT_TIMEOUT);

    seen = complete(&arena);
    plan_of(&arena, &seen, &wanted, false, &plan);
    CHECK(plan.set_password && !plan.create && !plan.set_login && !plan.set_limit &&
          !plan.set_mark);
    CHECK_INT(plan.set_defaults, 0);

    seen = complete(&arena);
    seen.can_login = false;
    plan_of(&arena, &seen, &wanted, true, &plan);
    CHECK(plan.set_login && !plan.set_password && !plan.set_limit);

    seen = complete(&arena);
    seen.connection_limit = -1;
    plan_of(&arena, &seen, &wanted, true, &plan);
    CHECK(plan.set_limit && !plan.set_login && !plan.set_password);

    seen = complete(&arena);
    seen.settings = "role search_path";
    plan_of(&arena, &seen, &wanted, true, &plan);
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
    plan_of(&arena, &seen, &next, true, &plan);
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
    plan_of(&arena, &seen, &suspended, true, &plan);
    CHECK(plan.set_login);
    CHECK(!plan.set_limit && !plan.set_mark && plan.set_defaults == 0 && plan.reset_defaults == 0);
}

static void two_open_logins_share_the_limit_of_the_database(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct login_plan plan;
    struct login_wanted both = wanted;
    struct seen seen = {.database = {.exists = true, .connection_limit = -1}};
    (void)state;
    arena_init(&arena, 0);
    seen.roles[ROLE_A] = complete(&arena);
    both.database_limit = 20;
    login_plan(&arena, &scope, &seen, &both, true, &plan);
    CHECK(plan.set_database_limit && !plan.set_limit && !plan.set_password);
    seen.database.connection_limit = 20;
    login_plan(&arena, &scope, &seen, &both, true, &plan);
    CHECK(login_plan_is_empty(&plan));
    login_plan(&arena, &scope, &seen, &wanted, true, &plan);
    CHECK(plan.set_database_limit);
}

/* ---- rotation ---- */

static const struct {
    const char *what;
    enum login_state other;
    int64_t issued_s, retire_s, seen_s, period_s, overlap_s, sessions;
    const char *request;
    bool suspended;
    enum rotation_action action;
    int64_t again_ms;
} rotations[] = {
    /* now is 1000, the last request answered is "1" */
    {"nothing asks", LOGIN_NONE, 0, 0, 0, 0, 600, 0, "", false, ROTATION_NONE, 0},
    {"the request was answered", LOGIN_RETIRED, 0, 0, 0, 0, 600, 0, "1", false, ROTATION_NONE, 0},
    {"another request", LOGIN_RETIRED, 0, 0, 0, 0, 600, 0, "2", false, ROTATION_BEGIN, 0},
    {"not while suspended", LOGIN_NONE, 0, 0, 0, 0, 600, 0, "2", true, ROTATION_NONE, 0},
    {"a young login", LOGIN_NONE, 940, 0, 0, 100, 50, 0, "", false, ROTATION_NONE, 40000},
    {"an old login", LOGIN_NONE, 900, 0, 0, 100, 50, 0, "", false, ROTATION_BEGIN, 0},
    {"one that was begun", LOGIN_NEXT, 0, 0, 0, 0, 600, 0, "1", false, ROTATION_BEGIN, 0},
    {"used a moment ago", LOGIN_RETIRING, 0, 1500, 990, 0, 600, 0, "", false, ROTATION_NONE, 15000},
    {"quiet long enough", LOGIN_RETIRING, 0, 1500, 910, 0, 600, 0, "", false, ROTATION_CLOSE, 0},
    {"a session, unnoticed for long", LOGIN_RETIRING, 0, 1500, 910, 0, 600, 1, "", false,
     ROTATION_NOTICE, 15000},
    {"a session, noticed", LOGIN_RETIRING, 0, 1500, 995, 0, 600, 1, "", false, ROTATION_NONE,
     15000},
    {"its time is over", LOGIN_RETIRING, 0, 1000, 1000, 0, 600, 1, "", false, ROTATION_CLOSE, 0},
    {"its time is nearly over", LOGIN_RETIRING, 0, 1003, 1000, 0, 600, 1, "", false, ROTATION_NONE,
     3000},
    {"a short overlap", LOGIN_RETIRING, 0, 1010, 997, 0, 20, 0, "", false, ROTATION_NONE, 1000},
    {"and its quiet", LOGIN_RETIRING, 0, 1010, 995, 0, 20, 0, "", false, ROTATION_CLOSE, 0},
    {"asked again, used a moment ago", LOGIN_RETIRING, 0, 1500, 997, 0, 600, 0, "2", false,
     ROTATION_NONE, 1000},
    {"asked again, quiet", LOGIN_RETIRING, 0, 1500, 995, 0, 600, 0, "2", false, ROTATION_CLOSE, 0},
    {"asked again, in use", LOGIN_RETIRING, 0, 1500, 900, 0, 600, 1, "2", false, ROTATION_NOTICE,
     1000},
    {"suspended", LOGIN_RETIRING, 0, 1500, 999, 0, 600, 1, "", true, ROTATION_CLOSE, 0},
};

static void rotations_begin_and_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rotations); i++) {
        struct login_records records = {.now_s = 1000, .request = "1"};
        struct rotation_plan plan;
        const struct rotation_wanted want = {!rotations[i].suspended, rotations[i].request,
                                             rotations[i].period_s, rotations[i].overlap_s};
        records.slots[0] = (struct login_record){
            .digest = "d", .state = LOGIN_CURRENT, .issued_s = rotations[i].issued_s};
        records.slots[1] = (struct login_record){.state = rotations[i].other,
                                                 .retire_s = rotations[i].retire_s,
                                                 .seen_s = rotations[i].seen_s};
        rotation_plan(&records, &want, rotations[i].sessions, &plan);
        if (plan.action != rotations[i].action || plan.again_ms != rotations[i].again_ms) {
            fail_msg("%s: action %d, again in %lld ms", rotations[i].what, (int)plan.action,
                     (long long)plan.again_ms);
        }
    }
}

static void a_first_login_is_not_rotated(void **state)
{
    struct login_records records = {.now_s = 1000};
    struct rotation_plan plan;
    const struct rotation_wanted want = {true, "2", 10, 5};
    (void)state;
    rotation_plan(&records, &want, 0, &plan);
    CHECK_INT(plan.action, ROTATION_NONE);
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
        cmocka_unit_test(two_open_logins_share_the_limit_of_the_database),
        cmocka_unit_test(rotations_begin_and_end),
        cmocka_unit_test(a_first_login_is_not_rotated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
