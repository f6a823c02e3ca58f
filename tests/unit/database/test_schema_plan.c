/* What is decided about a schema from its comment and its listing. */
#include "tests/check.h"

#include "reconcilers/database/schema_internal.h"

#define HASH "0123456789abcdef0123456789abcdef"

static const struct scope scope = {
    .mode = &mode_database,
    .database = "tenant_acme",
    .schema = "public",
    .roles = {"tenant_acme.owner", "tenant_acme.rw", "tenant_acme.ro", "tenant_acme.app"},
};

static const struct schema_line lines[] = {
    {"column users.email", "character varying(255) not null"},
    {"grant on table users to rw", "SELECT"},
    {"policy users.tenant", "* t PUBLIC using true"},
};
static const struct schema_listing listing = {lines, ARRAY_COUNT(lines)};

static struct schema_seen complete(struct arena *arena, int64_t version)
{
    return (struct schema_seen){
        .exists = true,
        .owner = scope.roles[ROLE_OWNER],
        .comment = arena_printf(arena, SCHEMA_MARK_START "%lld", (long long)version),
        .owner_comment = "tenantry: tenant 1 uid 2 " SCHEMA_HASH_WORD HASH,
        .has_tables = true,
        .app_owner = scope.roles[ROLE_APP],
        .hash = HASH,
    };
}

static enum schema_action decide(const struct schema_seen *seen, int64_t newest)
{
    struct schema_decision decision;
    struct err err = {0};
    CHECK_OK(schema_decide(&scope, seen, newest, &decision, &err), &err);
    return decision.action;
}

static void each_state_has_its_action(void **state)
{
    AUTO(arena) struct arena arena = {0};
    (void)state;
    arena_init(&arena, 0);
    struct schema_seen seen = complete(&arena, 2);
    CHECK_INT(decide(&seen, 2), SCHEMA_KEEP);
    CHECK_INT(decide(&seen, 3), SCHEMA_MIGRATE);

    seen.hash = "0";
    CHECK_INT(decide(&seen, 2), SCHEMA_COMPARE);
    /* What the owner itself may write proves nothing. */
    seen.comment = SCHEMA_MARK_START "2 0";
    CHECK_INT(decide(&seen, 2), SCHEMA_COMPARE);
    seen = complete(&arena, 2);
    seen.owner_comment = "tenantry: shared " SCHEMA_HASH_WORD HASH;
    CHECK_INT(decide(&seen, 2), SCHEMA_KEEP);
    seen.owner_comment = "tenantry: shared";
    CHECK_INT(decide(&seen, 2), SCHEMA_COMPARE);
    seen = complete(&arena, 2);
    seen.owner = "pg_database_owner";
    CHECK_INT(decide(&seen, 2), SCHEMA_COMPARE);
    seen = complete(&arena, 2);
    seen.app_owner = "";
    CHECK_INT(decide(&seen, 2), SCHEMA_COMPARE);
    seen = complete(&arena, 2);
    seen.comment = "standard public schema";
    CHECK_INT(decide(&seen, 2), SCHEMA_COMPARE);
    seen.has_tables = false;
    CHECK_INT(decide(&seen, 2), SCHEMA_CREATE);
    seen = complete(&arena, 2);
    seen.has_tables = false;
    seen.hash = "0";
    CHECK_INT(decide(&seen, 2), SCHEMA_COMPARE);
}

static void odd_marks_are_none(void **state)
{
    static const char *const odd[] = {"", "tenantry: schema", "tenantry: schema x y",
                                      "tenantry: schema 0 abc", "tenantry: schema -1 abc"};
    AUTO(arena) struct arena arena = {0};
    (void)state;
    arena_init(&arena, 0);
    for (size_t i = 0; i < ARRAY_COUNT(odd); i++) {
        struct schema_seen seen = complete(&arena, 1);
        seen.comment = odd[i];
        CHECK_INT(decide(&seen, 1), SCHEMA_COMPARE);
    }
}

static void a_newer_schema_is_refused(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct schema_decision decision;
    struct err err = {0};
    (void)state;
    arena_init(&arena, 0);
    struct schema_seen seen = complete(&arena, 3);
    CHECK_FAILS(schema_decide(&scope, &seen, 2, &decision, &err), &err, ERR_TERMINAL,
                "MigrationMismatch");
}

/* What another program put beside shared tables is not as it should be, and nobody drifted. */
static void another_programs_functions_are_an_upgrade(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct scope shared = scope;
    struct schema_decision decision;
    struct err err = {0};
    char version[HASH128_TEXT_BYTES];
    (void)state;
    arena_init(&arena, 0);
    shared.mode = &mode_shared;
    shared.schema = "tenantry_rows";
    struct schema_seen seen = complete(&arena, 2);
    CHECK_OK(schema_decide(&shared, &seen, 2, &decision, &err), &err);
    CHECK_INT(decision.action, SCHEMA_COMPARE);
    CHECK(decision.upgrade);
    schema_keyed_version(version);
    seen.comment = arena_printf(&arena, SCHEMA_MARK_START "2" SCHEMA_KEYED_WORD "%s", version);
    CHECK_OK(schema_decide(&shared, &seen, 2, &decision, &err), &err);
    CHECK_INT(decision.action, SCHEMA_KEEP);
    seen.hash = "0";
    CHECK_OK(schema_decide(&shared, &seen, 2, &decision, &err), &err);
    CHECK_INT(decision.action, SCHEMA_COMPARE);
    CHECK(!decision.upgrade);
}

/* In a shared database, what stands under a tenant's name and is not its owner role's is not taken.
 */
static void somebody_elses_schema_is_refused(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct scope in_shared = scope;
    struct schema_decision decision;
    struct err err = {0};
    (void)state;
    arena_init(&arena, 0);
    in_shared.mode = &mode_schema;
    in_shared.schema = "tenant_acme";
    struct schema_seen seen = complete(&arena, 2);
    seen.owner = "somebody";
    CHECK_OK(schema_decide(&in_shared, &seen, 2, &decision, &err), &err);
    CHECK(decision.take_schema && !decision.make_app);
    seen.comment = "";
    CHECK_FAILS(schema_decide(&in_shared, &seen, 2, &decision, &err), &err, ERR_TERMINAL,
                "NameConflict");
    seen.owner = scope.roles[ROLE_OWNER];
    CHECK_OK(schema_decide(&in_shared, &seen, 2, &decision, &err), &err);
}

static void differences_are_found_and_told(void **state)
{
    static const struct schema_line actual_lines[] = {
        {"column users.email", "text"},
        {"column users.theme", "text"},
        {"grant on table users to PUBLIC", "SELECT"},
        {"index users.by_name", "CREATE INDEX ..."},
        {"policy users.more", "* t PUBLIC using true"},
        {"policy users.tenant", "* t PUBLIC using true"},
    };
    const struct schema_listing actual = {actual_lines, ARRAY_COUNT(actual_lines)};
    struct schema_difference differences[SCHEMA_DIFFERENCES_MAX];
    AUTO(buf) struct buf words = BUF(1024);
    (void)state;
    CHECK_INT(schema_diff(&listing, &listing, differences), 0);
    size_t count = schema_diff(&listing, &actual, differences);
    schema_describe(differences, count, &words);
    CHECK_TEXT(buf_text(&words),
               "column users.email differs; grant on table users to PUBLIC is too much; grant on "
               "table users to rw is missing; policy users.more is too much");
    const struct schema_listing none = {0};
    CHECK_INT(schema_diff(&listing, &none, differences), 3);
    CHECK_INT(schema_diff(&none, &listing, differences), 2); /* a column more is allowed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_has_its_action),
        cmocka_unit_test(odd_marks_are_none),
        cmocka_unit_test(a_newer_schema_is_refused),
        cmocka_unit_test(another_programs_functions_are_an_upgrade),
        cmocka_unit_test(somebody_elses_schema_is_refused),
        cmocka_unit_test(differences_are_found_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
