/* The rules of ownership and the plan, as tables. */
#include "tests/check.h"

#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/model/names.h"

#define ID "8c6f0000-0000-4000-8000-000000000001"
#define OTHER_ID "8c6f0000-0000-4000-8000-000000000002"
#define OURS "tenantry: tenant " ID " uid uid-1"
#define OURS_BEFORE "tenantry: tenant " ID " uid uid-0"
#define THEIRS "tenantry: tenant " OTHER_ID " uid uid-2"

static const struct scope scope = {
    .mode = &mode_database,
    .tenant_id = ID,
    .uid = "uid-1",
    .subdomain = "acme",
    .server = "primary",
    .database = "tenant_acme",
    .schema = "public",
    .roles = {"tenant_acme.owner", "tenant_acme.rw", "tenant_acme.ro", "tenant_acme.app",
              "tenant_acme.a", "tenant_acme.b"},
    .mark = OURS,
};

static const struct privilege_seen privileges[] = {
    {"tenant_acme.owner", "CONNECT", false},   {"tenant_acme.owner", "CREATE", false},
    {"tenant_acme.owner", "TEMPORARY", false}, {"tenant_acme.rw", "CONNECT", false},
    {"tenant_acme.ro", "CONNECT", false},      {"tenant_acme.app", "TEMPORARY", false},
    {"tenantry_app", "CONNECT", false},        {"tenantry_gateway", "CONNECT", false},
};
static const struct membership_seen memberships[] = {
    {"tenant_acme.rw", "tenant_acme.app", false},
    {"tenant_acme.app", "tenant_acme.a", false},
};

/* All as it should be, with login .a. */
static struct seen complete(void)
{
    struct seen seen = {
        .self = "controller",
        .acts_as_owner = true,
        .shared_roles = true,
        .database =
            {
                .exists = true,
                .allows_connections = true,
                .connection_limit = -1,
                .owner = scope.roles[ROLE_OWNER],
                .acts_as_its_owner = true,
                .comment = OURS,
                .privileges = privileges,
                .privilege_count = ARRAY_COUNT(privileges),
            },
        .memberships = memberships,
        .membership_count = ARRAY_COUNT(memberships),
    };
    for (int i = 0; i < ROLE_COUNT; i++) {
        seen.roles[i] = (struct role_seen){
            .exists = i != ROLE_B,
            .can_login = i == ROLE_A,
            .inherits = true,
            .connection_limit = i == ROLE_A ? 20 : -1,
            .comment = i == ROLE_B ? "" : OURS,
            .settings = "",
        };
    }
    return seen;
}

static struct seen nothing(void)
{
    struct seen seen = {
        .self = "controller",
        .database = {.connection_limit = -1, .owner = "", .comment = ""},
    };
    for (int i = 0; i < ROLE_COUNT; i++) {
        seen.roles[i] = (struct role_seen){.connection_limit = -1, .comment = "", .settings = ""};
    }
    return seen;
}

static struct plan plan_of(const struct seen *seen, bool suspended)
{
    struct plan plan;
    database_plan(&scope, seen, suspended, &plan);
    return plan;
}

static bool has(const struct plan *plan, enum action_kind kind, const char *role,
                const char *member)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct action *action = &plan->actions[i];
        if (action->kind == kind && (!role || text_equal(action->role, role)) &&
            (!member || text_equal(action->member, member))) {
            return true;
        }
    }
    return false;
}

static size_t place_of(const struct plan *plan, enum action_kind kind)
{
    size_t i = 0;
    while (i < plan->count && plan->actions[i].kind != kind) {
        i++;
    }
    return i;
}

/* ---- marks ---- */

static void a_mark_is_read_back(void **state)
{
    struct mark mark;
    (void)state;
    CHECK(mark_parse(OURS, &mark));
    CHECK(str_equal_c(mark.id, ID));
    CHECK(str_equal_c(mark.uid, "uid-1"));
    CHECK_INT(mark.rest.len, 0);
    CHECK(mark_parse(OURS " defaults abc", &mark));
    CHECK(str_equal_c(mark.uid, "uid-1"));
    CHECK(str_equal_c(mark.rest, "defaults abc"));
    static const char *const odd[] = {"",
                                      "tenantry",
                                      "tenantry: tenant ",
                                      "tenantry: tenant x",
                                      "tenantry: tenant x uid ",
                                      "tenantry: tenant  uid y",
                                      "our production database, do not drop",
                                      (" " OURS)};
    for (size_t i = 0; i < ARRAY_COUNT(odd); i++) {
        CHECK(!mark_parse(odd[i], &mark));
    }
    CHECK(!mark_parse(NULL, &mark));
}

/* ---- ownership ---- */

struct ownership_case {
    const char *owner_role; /* comment; NULL: no such role */
    const char *rw_role;
    const char *database;
    bool owned_by_owner_role;
    bool owner_is_ours, rw_is_ours, database_is_ours;
};

static const struct ownership_case ownership_cases[] = {
    {NULL, NULL, NULL, false, false, false, false},
    {OURS, OURS, OURS, true, true, true, true},
    {OURS_BEFORE, OURS_BEFORE, OURS_BEFORE, true, true, true, true},
    /* a crash between CREATE DATABASE and COMMENT */
    {OURS, OURS, "", true, true, true, true},
    /* a stranger's database, beside our roles */
    {OURS, OURS, "", false, true, true, false},
    {OURS, OURS, "their notes", false, true, true, false},
    {OURS, OURS, THEIRS, false, true, true, false},
    /* whoever acts as the owner role may write there what it likes */
    {OURS, OURS, THEIRS, true, true, true, true},
    /* somebody removed the owner role's mark */
    {"", OURS, OURS, true, true, true, true},
    {"", OURS, OURS, false, false, true, true},
    /* somebody removed a sister's mark */
    {OURS, "", OURS, true, true, true, true},
    {OURS, "", NULL, false, true, true, false},
    /* nothing proves anything */
    {"", "", "", true, false, false, false},
    {NULL, "", NULL, false, false, false, false},
    {NULL, "", OURS, false, false, false, true},
    {THEIRS, OURS, "", true, false, true, false},
    {THEIRS, THEIRS, THEIRS, true, false, false, false},
};

static void ownership_needs_proof(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ownership_cases); i++) {
        const struct ownership_case *one = &ownership_cases[i];
        struct seen seen = nothing();
        struct owned owned;
        struct err err = {0};
        seen.roles[ROLE_OWNER].exists = one->owner_role != NULL;
        seen.roles[ROLE_OWNER].comment = one->owner_role ? one->owner_role : "";
        seen.roles[ROLE_RW].exists = one->rw_role != NULL;
        seen.roles[ROLE_RW].comment = one->rw_role ? one->rw_role : "";
        seen.database.exists = one->database != NULL;
        seen.database.comment = one->database ? one->database : "";
        seen.database.owner = one->owned_by_owner_role ? scope.roles[ROLE_OWNER] : "somebody";
        database_owned(&scope, &seen, &owned);
        CHECK_INT(owned.roles[ROLE_OWNER], one->owner_is_ours);
        CHECK_INT(owned.roles[ROLE_RW], one->rw_is_ours);
        CHECK_INT(owned.database, one->database_is_ours);
        bool all = (!one->owner_role || one->owner_is_ours) && (!one->rw_role || one->rw_is_ours) &&
                   (!one->database || one->database_is_ours);
        if (all) {
            CHECK_OK(database_check_owned(&scope, &seen, &err), &err);
        } else {
            CHECK_FAILS(database_check_owned(&scope, &seen, &err), &err, ERR_TERMINAL,
                        "NameConflict");
        }
    }
}

static void a_conflict_prints_the_ways_out(void **state)
{
    struct seen seen = complete();
    struct err err = {0};
    (void)state;
    seen.database.comment = THEIRS;
    seen.database.owner = "somebody";
    CHECK_FAILS(database_check_owned(&scope, &seen, &err), &err, ERR_TERMINAL, "NameConflict");
    CHECK_NOT_NULL(strstr(err.message, NAME_ANNOTATION_ADOPT ": " OTHER_ID));
    CHECK_NOT_NULL(strstr(err.message, "remove the database"));
}

/* ---- plans ---- */

static void nothing_is_to_be_done_when_all_stands(void **state)
{
    struct seen seen = complete();
    (void)state;
    CHECK_INT(plan_of(&seen, false).count, 0);
    seen.roles[ROLE_A].comment = OURS " defaults 0123";
    CHECK_INT(plan_of(&seen, false).count, 0);
}

static void from_nothing_the_database_opens_last(void **state)
{
    struct seen seen = nothing();
    struct plan plan = plan_of(&seen, false);
    (void)state;
    CHECK_INT(plan.actions[0].kind, ACTION_MAKE_SHARED_ROLES);
    for (int i = 0; i < ROLE_GROUPS; i++) {
        CHECK(has(&plan, ACTION_CREATE_ROLE, scope.roles[i], NULL));
    }
    CHECK(!has(&plan, ACTION_CREATE_ROLE, scope.roles[ROLE_A], NULL));
    CHECK(has(&plan, ACTION_GRANT_ROLE, scope.roles[ROLE_RW], scope.roles[ROLE_APP]));
    CHECK(has(&plan, ACTION_REVOKE_DATABASE, NULL, ""));
    CHECK(place_of(&plan, ACTION_ACT_AS_OWNER) < place_of(&plan, ACTION_CREATE_DATABASE));
    CHECK(place_of(&plan, ACTION_CREATE_DATABASE) < place_of(&plan, ACTION_MARK_DATABASE));
    CHECK(place_of(&plan, ACTION_MARK_DATABASE) < place_of(&plan, ACTION_REVOKE_DATABASE));
    CHECK_INT(place_of(&plan, ACTION_OPEN_DATABASE), plan.count - 1);
    CHECK(!has(&plan, ACTION_GRANT_DATABASE, NULL, scope.roles[ROLE_OWNER]));
}

static void a_spare_is_given_where_the_database_would_be_made(void **state)
{
    struct seen seen = nothing();
    (void)state;
    seen.spare = "tenantry_spare_7";
    struct plan plan = plan_of(&seen, false);
    CHECK(has(&plan, ACTION_CREATE_DATABASE, NULL, "tenantry_spare_7"));
    seen = complete();
    seen.spare = "tenantry_spare_7";
    CHECK_INT(plan_of(&seen, false).count, 0);
}

static void a_half_dropped_database_is_dropped_and_made_anew(void **state)
{
    struct seen seen = complete();
    (void)state;
    seen.database.connection_limit = -2;
    struct plan plan = plan_of(&seen, false);
    CHECK_INT(plan.actions[0].kind, ACTION_DROP_DATABASE);
    CHECK_INT(plan.actions[1].kind, ACTION_CREATE_DATABASE);
    CHECK_INT(place_of(&plan, ACTION_OPEN_DATABASE), plan.count - 1);
}

static void suspension_takes_the_logins_away(void **state)
{
    struct seen seen = complete();
    (void)state;
    struct plan plan = plan_of(&seen, true);
    CHECK_INT(plan.count, 1);
    CHECK(has(&plan, ACTION_DISABLE_LOGIN, scope.roles[ROLE_A], NULL));
    seen.roles[ROLE_A].can_login = false;
    CHECK_INT(plan_of(&seen, true).count, 0);
    /* The login step, which knows the password, gives it back. */
    CHECK_INT(plan_of(&seen, false).count, 0);
}

static void every_unwanted_membership_goes(void **state)
{
    static const struct membership_seen odd[] = {
        {"tenant_acme.rw", "tenant_acme.app", false},
        {"tenant_acme.app", "tenant_acme.a", true},
        {"tenant_acme.owner", "tenant_acme.a", false},
        {"tenant_acme.owner", "backup", false},
        {"pg_read_all_data", "tenant_acme.app", false},
        {"tenant_acme.app", "tenant_acme.rw", false},
    };
    struct seen seen = complete();
    (void)state;
    seen.memberships = odd;
    seen.membership_count = ARRAY_COUNT(odd);
    struct plan plan = plan_of(&seen, false);
    CHECK_INT(plan.count, 6);
    for (size_t i = 1; i < ARRAY_COUNT(odd); i++) {
        CHECK(has(&plan, ACTION_REVOKE_ROLE, odd[i].role, odd[i].member));
    }
    CHECK(has(&plan, ACTION_GRANT_ROLE, scope.roles[ROLE_APP], scope.roles[ROLE_A]));
}

static void rights_on_the_database_are_exact(void **state)
{
    static const struct privilege_seen odd[] = {
        {"", "CONNECT", false},
        {"", "TEMPORARY", false},
        {"tenant_acme.owner", "CONNECT", false},
        {"tenant_acme.owner", "CREATE", false},
        {"tenant_acme.rw", "CONNECT", true},
        {"tenant_acme.ro", "CONNECT", false},
        {"tenant_acme.app", "TEMPORARY", false},
        {"tenant_acme.app", "CREATE", false},
        {"tenant_other.rw", "CONNECT", false},
        {"tenantry_app", "CONNECT", false},
    };
    struct seen seen = complete();
    (void)state;
    seen.database.privileges = odd;
    seen.database.privilege_count = ARRAY_COUNT(odd);
    struct plan plan = plan_of(&seen, false);
    static const struct {
        const char *grantee;
        bool revoked, granted;
    } wanted[] = {
        {"", true, false},
        {"tenant_acme.owner", false, true},
        {"tenant_acme.rw", true, true},
        {"tenant_acme.ro", false, false},
        {"tenant_acme.app", true, true},
        {"tenant_other.rw", true, false},
        {"tenantry_app", false, false},
        {"tenantry_gateway", false, true},
    };
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        CHECK_INT(has(&plan, ACTION_REVOKE_DATABASE, NULL, wanted[i].grantee), wanted[i].revoked);
        CHECK_INT(has(&plan, ACTION_GRANT_DATABASE, NULL, wanted[i].grantee), wanted[i].granted);
        count += (wanted[i].revoked ? 1U : 0U) + (wanted[i].granted ? 1U : 0U);
    }
    CHECK_INT(plan.count, count);
}

static void a_foreign_owner_is_replaced(void **state)
{
    struct seen seen = complete();
    (void)state;
    seen.database.owner = "dba";
    seen.database.acts_as_its_owner = false;
    struct plan plan = plan_of(&seen, false);
    CHECK_INT(plan.count, 1);
    CHECK(has(&plan, ACTION_TAKE_DATABASE, NULL, "dba"));
    CHECK(plan.actions[0].foreign);
}

static void locking_touches_only_what_is_owned(void **state)
{
    struct seen seen = complete();
    struct owned owned = {0};
    struct plan plan;
    (void)state;
    database_plan_lock(&scope, &seen, &owned, true, &plan);
    CHECK_INT(plan.count, 0);
    database_owned(&scope, &seen, &owned);
    database_plan_lock(&scope, &seen, &owned, true, &plan);
    CHECK_INT(plan.count, 2);
    CHECK(has(&plan, ACTION_DISABLE_LOGIN, scope.roles[ROLE_A], NULL));
    CHECK(has(&plan, ACTION_CLOSE_DATABASE, NULL, NULL));
    database_plan_lock(&scope, &seen, &owned, false, &plan);
    CHECK_INT(plan.count, 1);
    seen.roles[ROLE_A].can_login = false;
    seen.database.allows_connections = false;
    database_plan_lock(&scope, &seen, &owned, true, &plan);
    CHECK_INT(plan.count, 0);
}

static void what_the_spec_asks_for_is_no_drift(void **state)
{
    struct seen seen = complete();
    struct plan intended;
    struct plan drift;
    (void)state;
    seen.database.comment = OURS_BEFORE;
    seen.database.allows_connections = false;
    seen.acts_as_owner = false;
    seen.membership_count = 0;
    CHECK(database_is_adopted(&scope, &seen));
    struct plan plan = plan_of(&seen, true);
    database_plan_split(&plan, true, &intended, &drift);
    CHECK_INT(intended.count, 4); /* act as owner, no login, mark, open */
    CHECK_INT(drift.count, 2);    /* two memberships */
    database_plan_split(&plan, false, &intended, &drift);
    CHECK_INT(intended.count, 2);
    CHECK_INT(drift.count, 4);
}

static void a_plan_reads_as_a_sentence(void **state)
{
    struct seen seen = complete();
    AUTO(buf) struct buf words = BUF(4096);
    (void)state;
    seen.roles[ROLE_RW].can_login = true;
    seen.roles[ROLE_RW].bypass_rls = true;
    seen.database.allows_connections = false;
    struct plan plan = plan_of(&seen, false);
    database_plan_describe(&scope, &plan, &words);
    CHECK_TEXT(buf_text(&words), "database \"tenant_acme\": role \"tenant_acme.rw\" had BYPASSRLS, "
                                 "LOGIN; the database took no connections");
}

static void more_drift_than_fits_is_told(void **state)
{
    static struct membership_seen many[ACTIONS_MAX + 10];
    struct seen seen = complete();
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        many[i] = (struct membership_seen){"tenant_acme.rw", "somebody", false};
    }
    seen.memberships = many;
    seen.membership_count = ARRAY_COUNT(many);
    struct plan plan = plan_of(&seen, false);
    CHECK_INT(plan.count, ACTIONS_MAX);
    CHECK(plan.truncated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_is_read_back),
        cmocka_unit_test(ownership_needs_proof),
        cmocka_unit_test(a_conflict_prints_the_ways_out),
        cmocka_unit_test(nothing_is_to_be_done_when_all_stands),
        cmocka_unit_test(from_nothing_the_database_opens_last),
        cmocka_unit_test(a_spare_is_given_where_the_database_would_be_made),
        cmocka_unit_test(a_half_dropped_database_is_dropped_and_made_anew),
        cmocka_unit_test(suspension_takes_the_logins_away),
        cmocka_unit_test(every_unwanted_membership_goes),
        cmocka_unit_test(rights_on_the_database_are_exact),
        cmocka_unit_test(a_foreign_owner_is_replaced),
        cmocka_unit_test(locking_touches_only_what_is_owned),
        cmocka_unit_test(what_the_spec_asks_for_is_no_drift),
        cmocka_unit_test(a_plan_reads_as_a_sentence),
        cmocka_unit_test(more_drift_than_fits_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
