/* Who owns a subdomain, as a table: nothing changes hands without being told to, and every refusal
 * says what to do. */
#include "tests/check.h"

#include "reconcilers/registry/record_plan.h"

#define ID_1 "11111111-1111-4111-8111-111111111111"
#define ID_2 "22222222-2222-4222-8222-222222222222"

static struct tenant make_tenant(void)
{
    return (struct tenant){
        .name = "acme",
        .uid = "uid-new",
        .subdomain = "acme",
        .display_name = "",
        .tier = "premium",
        .adopt = "",
        .server = "",
    };
}

enum row_kind { ROW_NONE, ROW_LIVE, ROW_DELETED, ROW_PURGED };

struct row {
    enum row_kind kind;
    const char *uid; /* NULL: made by another program */
    bool gone;
    const char *retained;
    const char *subdomain; /* NULL: "acme" */
};

struct ownership {
    const char *claim;
    struct row rows[2]; /* of ids ID_1 and ID_2 */
    const char *adopt;
    bool adopt_orphans;
    int action;        /* -1: NameConflict */
    int index;         /* of the row decided on */
    const char *words; /* that the refusal must contain */
};

static const struct ownership ownerships[] = {
    {"a new name", {{0}}, "", false, RECORD_CREATE, -1, NULL},
    {"own row", {{ROW_LIVE, "uid-new", false, "", NULL}}, "", false, RECORD_KEEP, 0, NULL},
    {"own row, adopting something else",
     {{ROW_LIVE, "uid-new", false, "", NULL}, {ROW_DELETED, "uid-old", false, "database x", NULL}},
     ID_2,
     true,
     RECORD_KEEP,
     0,
     NULL},
    {"another live tenant",
     {{ROW_LIVE, "uid-other", false, "", NULL}},
     "",
     false,
     -1,
     -1,
     "belongs to Tenant \"other\""},
    {"another live tenant cannot be adopted",
     {{ROW_LIVE, "uid-other", false, "", NULL}},
     ID_1,
     false,
     -1,
     -1,
     "belongs to Tenant \"other\""},
    {"another live tenant is no orphan",
     {{ROW_LIVE, "uid-other", false, "", NULL}},
     "",
     true,
     -1,
     -1,
     "belongs to Tenant \"other\""},
    {"an orphan",
     {{ROW_LIVE, "uid-gone", true, "", NULL}},
     "",
     false,
     -1,
     -1,
     "tenantry.dev/adopt: " ID_1},
    {"an orphan, adopted",
     {{ROW_LIVE, "uid-gone", true, "", NULL}},
     ID_1,
     false,
     RECORD_TAKE_BACK,
     0,
     NULL},
    {"an orphan, other id named",
     {{ROW_LIVE, "uid-gone", true, "", NULL}},
     ID_2,
     false,
     -1,
     -1,
     "tenantry.dev/adopt: " ID_1},
    {"an orphan under --adopt-orphans",
     {{ROW_LIVE, "uid-gone", true, "", NULL}},
     "",
     true,
     RECORD_TAKE_BACK,
     0,
     NULL},
    {"a program's row",
     {{ROW_LIVE, NULL, false, "", NULL}},
     "",
     true,
     -1,
     -1,
     "which no Tenant made"},
    {"a program's row, adopted",
     {{ROW_LIVE, NULL, false, "", NULL}},
     ID_1,
     false,
     RECORD_TAKE_BACK,
     0,
     NULL},
    {"deleted without a trace",
     {{ROW_DELETED, "uid-old", false, "", NULL}},
     "",
     true,
     RECORD_CREATE,
     -1,
     NULL},
    {"deleted without a trace, id wanted again",
     {{ROW_DELETED, "uid-old", false, "", NULL}},
     ID_1,
     false,
     RECORD_TAKE_BACK,
     0,
     NULL},
    {"retained things",
     {{ROW_DELETED, "uid-old", false, "database tenant_acme on primary", NULL}},
     "",
     true,
     -1,
     -1,
     "database tenant_acme on primary"},
    {"retained things: first way out",
     {{ROW_DELETED, "uid-old", false, "database tenant_acme on primary", NULL}},
     "",
     false,
     -1,
     -1,
     "tenantry.dev/adopt: " ID_1},
    {"retained things: second way out",
     {{ROW_DELETED, "uid-old", false, "database tenant_acme on primary", NULL}},
     "",
     false,
     -1,
     -1,
     "tenant_retained"},
    {"retained things, adopted",
     {{ROW_DELETED, "uid-old", false, "database x", NULL}},
     ID_1,
     false,
     RECORD_TAKE_BACK,
     0,
     NULL},
    {"retained things, unknown id",
     {{ROW_DELETED, "uid-old", false, "database x", NULL}},
     "33333333-3333-4333-8333-333333333333",
     false,
     -1,
     -1,
     "no id in the registry"},
    {"nonsense to adopt", {{0}}, "'; DROP TABLE tenants", false, -1, -1, "no id in the registry"},
    {"the id of another name",
     {{ROW_DELETED, "uid-old", false, "", "beta"}},
     ID_1,
     false,
     -1,
     -1,
     "subdomain \"beta\""},
    {"another id's things stand in the way",
     {{ROW_DELETED, "uid-old", false, "", NULL},
      {ROW_DELETED, "uid-older", false, "bucket b", NULL}},
     ID_1,
     false,
     -1,
     -1,
     "tenantry.dev/adopt: " ID_2},
    {"what was removed after its grace cannot be adopted",
     {{ROW_PURGED, "uid-old", false, "", NULL}},
     ID_1,
     false,
     -1,
     -1,
     "remove the annotation"},
    {"the name of what was removed after its grace is free",
     {{ROW_PURGED, "uid-old", false, "", NULL}},
     "",
     false,
     RECORD_CREATE,
     -1,
     NULL},
    {"own row, removed after its grace",
     {{ROW_PURGED, "uid-new", false, "", NULL}},
     "",
     false,
     RECORD_CREATE,
     -1,
     NULL},
    {"own row marked deleted by hand",
     {{ROW_DELETED, "uid-new", false, "", NULL}},
     "",
     false,
     RECORD_KEEP,
     0,
     NULL},
    {"own row marked deleted, name taken since",
     {{ROW_DELETED, "uid-new", false, "", NULL}, {ROW_LIVE, "uid-other", false, "", NULL}},
     "",
     false,
     -1,
     -1,
     "belongs to Tenant \"other\""},
};

static size_t make_candidates(const struct ownership *ownership, struct record_candidate ret[2])
{
    static const char *const ids[] = {ID_1, ID_2};
    size_t count = 0;

    for (size_t i = 0; i < 2 && ownership->rows[i].kind != ROW_NONE; i++) {
        const struct row *row = &ownership->rows[i];
        ret[count] = (struct record_candidate){
            .id = ids[i],
            .deleted = row->kind != ROW_LIVE,
            .tenant_gone = row->gone,
            .retained = row->retained,
            .purging = row->kind == ROW_PURGED,
        };
        ret[count].values.text[COLUMN_SUBDOMAIN] = row->subdomain ? row->subdomain : "acme";
        ret[count].values.text[COLUMN_TENANT_UID] = row->uid;
        ret[count].values.text[COLUMN_TENANT_NAME] = row->uid ? "other" : NULL;
        count++;
    }
    return count;
}

static void ownership_follows_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ownerships); i++) {
        const struct ownership *row = &ownerships[i];
        struct record_candidate candidates[2] = {0};
        struct tenant tenant = make_tenant();
        struct record_decision decision = {0};
        struct err err = {0};
        size_t count = make_candidates(row, candidates);

        tenant.adopt = row->adopt;
        int result = record_decide(&tenant, row->adopt_orphans, candidates, count, &decision, &err);
        if ((result != 0) != (row->action < 0) ||
            (result == 0 && (int)decision.action != row->action)) {
            fail_msg("%s: result %d, action %d, %s", row->claim, result, (int)decision.action,
                     err.message);
        }
        if (result == 0) {
            CHECK(decision.candidate == (row->index < 0 ? NULL : &candidates[row->index]));
        } else {
            CHECK_INT(err.cls, ERR_TERMINAL);
            CHECK_TEXT(err.reason, "NameConflict");
            if (!strstr(err.message, row->words)) {
                fail_msg("%s: \"%s\" lacks \"%s\"", row->claim, err.message, row->words);
            }
        }
    }
}

/* Neither a conflict nor anything that the user has to do. */
static void what_is_being_removed_is_waited_for(void **state)
{
    static const char *const ids[] = {"", ID_1};
    struct record_candidate going = {.id = ID_1,
                                     .deleted = true,
                                     .purging = true,
                                     .retained = "database tenant_acme on primary"};
    struct tenant tenant = make_tenant();

    (void)state;
    going.values.text[COLUMN_SUBDOMAIN] = "acme";
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
        struct record_decision decision = {0};
        struct err err = {0};
        tenant.adopt = ids[i];
        CHECK_FAILS(record_decide(&tenant, true, &going, 1, &decision, &err), &err, ERR_WAIT,
                    "Purging");
        CHECK_NOT_NULL(strstr(err.message, "database tenant_acme on primary"));
    }
}

static const struct quota premium_quotas[] = {
    {"api_requests", 10000}, {"compute_hours", 10}, {"sandboxes", 5},
    {"storage_mb", 1000},    {"users", 5},
};
static const char *const premium_features[] = {"sso"};
static const struct tier premium = {
    .name = "premium",
    .quotas = premium_quotas,
    .quota_count = ARRAY_COUNT(premium_quotas),
    .features = premium_features,
    .feature_count = ARRAY_COUNT(premium_features),
    .requests_per_second = 50,
    .fail_mode = FAIL_OPEN,
    .idle_after_ms = 1800000,
};

static void the_row_follows_tier_and_overrides(void **state)
{
    static const struct quota overrides[] = {{"users", -1}, {"storage_mb", 2000}};
    AUTO(arena) struct arena arena = {0};
    struct tenant tenant = make_tenant();
    struct record_documents documents;
    struct record_values wanted;

    (void)state;
    arena_init(&arena, 0);
    tenant.display_name = "Acme Corporation";
    tenant.quotas = overrides;
    tenant.quota_count = ARRAY_COUNT(overrides);
    tenant.billing_cycle = BILLING_ANNUAL;
    tenant.state = TENANT_SUSPENDED;
    record_render(&arena, &tenant, &premium, &documents);
    record_wanted(&arena, &tenant, &premium, &documents, &wanted);
    CHECK_TEXT(wanted.text[COLUMN_NAME], "Acme Corporation");
    CHECK_TEXT(wanted.text[COLUMN_TIER], "premium");
    CHECK_TEXT(wanted.text[COLUMN_BILLING_PLAN], "premium");
    CHECK_TEXT(wanted.text[COLUMN_BILLING_CYCLE], "annual");
    CHECK_TEXT(wanted.text[COLUMN_STATUS], "suspended");
    CHECK_TEXT(wanted.text[COLUMN_MAX_SANDBOXES], "5");
    CHECK_TEXT(wanted.text[COLUMN_MAX_STORAGE_MB], "2000");
    CHECK_TEXT(wanted.text[COLUMN_MAX_USERS], "2147483647");
    CHECK_NULL(wanted.text[COLUMN_MRR]);
    CHECK_NULL(wanted.text[COLUMN_SERVER]);
    CHECK_TEXT(wanted.text[COLUMN_FEATURES], "[\"sso\"]");
    CHECK_TEXT(wanted.text[COLUMN_GATEWAY],
               "{\"requestsPerSecond\":50,\"burst\":50,\"failMode\":\"Open\","
               "\"idleSeconds\":1800}");
}

static void without_a_tier_its_columns_are_left_alone(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct tenant tenant = make_tenant();
    struct record_documents documents;
    struct record_values wanted;

    (void)state;
    arena_init(&arena, 0);
    record_render(&arena, &tenant, NULL, &documents);
    record_wanted(&arena, &tenant, NULL, &documents, &wanted);
    CHECK_TEXT(wanted.text[COLUMN_NAME], "acme");
    CHECK_TEXT(wanted.text[COLUMN_STATUS], "active");
    CHECK_NULL(wanted.text[COLUMN_TIER]);
    CHECK_NULL(wanted.text[COLUMN_MAX_USERS]);
    CHECK_NULL(wanted.text[COLUMN_FEATURES]);
    CHECK_NULL(wanted.text[COLUMN_GATEWAY]);
}

static void only_differences_are_written(void **state)
{
    struct record_values actual = {{0}};
    struct record_values wanted = {{0}};
    enum record_column columns[COLUMN_COUNT];

    (void)state;
    actual.text[COLUMN_NAME] = wanted.text[COLUMN_NAME] = "acme";
    actual.text[COLUMN_TIER] = "free";
    wanted.text[COLUMN_TIER] = "premium";
    actual.text[COLUMN_MRR] = "1.00";       /* no opinion */
    wanted.text[COLUMN_TENANT_UID] = "uid"; /* was NULL */
    CHECK_INT(record_diff(&actual, &wanted, columns), 2);
    CHECK_INT(columns[0], COLUMN_TIER);
    CHECK_INT(columns[1], COLUMN_TENANT_UID);
}

static void a_place_is_filled_but_never_changed(void **state)
{
    struct record_values actual = {{0}};
    struct record_values wanted = {{0}};
    enum record_column columns[COLUMN_COUNT];

    (void)state;
    actual.text[COLUMN_SERVER] = "primary";
    actual.text[COLUMN_DATABASE_NAME] = "tenant_acme";
    wanted.text[COLUMN_SERVER] = "secondary";
    wanted.text[COLUMN_DATABASE_NAME] = "other";
    wanted.text[COLUMN_ISOLATION] = "Database";
    CHECK_INT(record_diff(&actual, &wanted, columns), 1);
    CHECK_INT(columns[0], COLUMN_ISOLATION);
}

static void isolation_is_the_tenants_else_the_tiers_else_database(void **state)
{
    struct tenant tenant = make_tenant();
    struct tier tier = premium;

    (void)state;
    CHECK_INT(record_isolation(&tenant, NULL), ISOLATION_DATABASE);
    CHECK_INT(record_isolation(&tenant, &tier), ISOLATION_DATABASE);
    tier.isolation = ISOLATION_ROW;
    CHECK_INT(record_isolation(&tenant, &tier), ISOLATION_ROW);
    tenant.isolation = ISOLATION_SCHEMA;
    CHECK_INT(record_isolation(&tenant, &tier), ISOLATION_SCHEMA);
}

static void only_uuids_are_uuids(void **state)
{
    (void)state;
    CHECK(record_is_uuid(ID_1));
    CHECK(record_is_uuid("ABCDEFab-1111-4111-8111-111111111111"));
    CHECK(!record_is_uuid(""));
    CHECK(!record_is_uuid("11111111-1111-4111-8111-11111111111"));
    CHECK(!record_is_uuid("11111111-1111-4111-8111-1111111111111"));
    CHECK(!record_is_uuid("g1111111-1111-4111-8111-111111111111"));
    CHECK(!record_is_uuid("111111111-111-4111-8111-111111111111"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ownership_follows_the_table),
        cmocka_unit_test(what_is_being_removed_is_waited_for),
        cmocka_unit_test(the_row_follows_tier_and_overrides),
        cmocka_unit_test(without_a_tier_its_columns_are_left_alone),
        cmocka_unit_test(only_differences_are_written),
        cmocka_unit_test(a_place_is_filled_but_never_changed),
        cmocka_unit_test(isolation_is_the_tenants_else_the_tiers_else_database),
        cmocka_unit_test(only_uuids_are_uuids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
