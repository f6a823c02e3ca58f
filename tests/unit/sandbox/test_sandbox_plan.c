/* Which sandboxes there are, and how many copies of each run. */
#include "tests/check.h"

#include "reconcilers/sandbox/sandbox_internal.h"

static const struct sandbox listed[] = {
    {.name = "web", .template_ = "", .replicas = 3},
    {.name = "job", .template_ = "python", .replicas = 1},
    {.name = "off", .template_ = "node", .replicas = 0},
};
static const struct sandbox of_tier[] = {{.name = "sandbox", .template_ = "node", .replicas = 1}};

struct fixture {
    struct arena arena;
    struct cache *templates;
    struct quota quotas[1];
    struct tier tier;
    struct tenant tenant;
    struct sandbox_facts facts;
    struct sandbox_plan plan;
};

static void add_templates(struct cache *cache)
{
    struct watch_handler handler = cache_watch_handler(cache);
    handler.replace_begin(handler.context);
    handler.replace_object(handler.context,
                           STR("{\"metadata\":{\"name\":\"node\",\"uid\":\"1\","
                               "\"resourceVersion\":\"1\"},\"spec\":{\"image\":\"n\","
                               "\"ports\":[{\"name\":\"http\",\"containerPort\":3000}]}}"));
    handler.replace_object(handler.context,
                           STR("{\"metadata\":{\"name\":\"python\",\"uid\":\"2\","
                               "\"resourceVersion\":\"2\"},\"spec\":{\"image\":\"p\"}}"));
    handler.replace_end(handler.context, "2");
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    arena_init(&fixture->arena, 0);
    fixture->templates = cache_new(&sandbox_template_codec);
    add_templates(fixture->templates);
    fixture->quotas[0] = (struct quota){"sandboxes", 5};
    fixture->tier = (struct tier){
        .quotas = fixture->quotas, .quota_count = 1, .sandboxes = of_tier, .sandbox_count = 1};
    fixture->tenant = (struct tenant){.subdomain = "acme",
                                      .sandboxes = listed,
                                      .sandbox_count = ARRAY_COUNT(listed),
                                      .lists_sandboxes = true,
                                      .owner.email = "o@x"};
    fixture->facts = (struct sandbox_facts){.tenant = &fixture->tenant,
                                            .tier = &fixture->tier,
                                            .tenant_id = "id",
                                            .templates = fixture->templates,
                                            .domain = "example.com",
                                            .route = CHILD_KIND_COUNT};
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    cache_free(fixture->templates);
    arena_release(&fixture->arena);
    free(fixture);
    return 0;
}

static void plan(struct fixture *fixture)
{
    sandbox_plan(&fixture->arena, &fixture->facts, &fixture->plan);
}

static void the_spec_is_followed(void **state)
{
    struct fixture *fixture = *state;
    plan(fixture);
    CHECK_INT(fixture->plan.count, 3);
    CHECK_TEXT(fixture->plan.namespace_, "tenant-acme");
    CHECK_TEXT(fixture->plan.items[0].full_name, "acme-web");
    CHECK_TEXT(fixture->plan.items[0].template_->name, "node");
    CHECK_TEXT(fixture->plan.items[1].template_->image, "p");
    CHECK_INT(fixture->plan.items[0].replicas, 3);
    CHECK_INT(fixture->plan.items[2].replicas, 0);
    CHECK_NULL(sandbox_plan_excess(&fixture->arena, &fixture->plan));
    CHECK_NULL(fixture->plan.missing_template);
}

static void
a_tenant_that_lists_none_has_the_tiers_and_one_that_lists_nothing_has_nothing(void **state)
{
    struct fixture *fixture = *state;
    fixture->tenant.lists_sandboxes = false;
    plan(fixture);
    CHECK_INT(fixture->plan.count, 1);
    CHECK_TEXT(fixture->plan.items[0].full_name, "acme-sandbox");
    fixture->tenant.lists_sandboxes = true;
    fixture->tenant.sandbox_count = 0;
    plan(fixture);
    CHECK_INT(fixture->plan.count, 0);
}

static void the_last_beyond_the_count_run_nothing(void **state)
{
    struct fixture *fixture = *state;
    fixture->quotas[0].limit = 1;
    plan(fixture);
    CHECK_INT(fixture->plan.items[0].replicas, 3);
    CHECK_INT(fixture->plan.items[1].replicas, 0);
    CHECK_INT(fixture->plan.items[1].hold, HOLD_OVER_COUNT);
    CHECK_TEXT(sandbox_plan_excess(&fixture->arena, &fixture->plan),
               "sandboxes: 3 asked for, 1 allowed; the last 2 in the list are scaled to zero");
    fixture->quotas[0].limit = 3;
    plan(fixture);
    CHECK_NULL(sandbox_plan_excess(&fixture->arena, &fixture->plan));
    fixture->quotas[0].limit = -1;
    plan(fixture);
    CHECK_INT(fixture->plan.items[1].replicas, 1);
}

static void what_has_no_limit_is_not_granted(void **state)
{
    struct fixture *fixture = *state;
    fixture->tier.quota_count = 0;
    plan(fixture);
    CHECK_INT(fixture->plan.items[0].replicas, 0);
    CHECK_NOT_NULL(sandbox_plan_excess(&fixture->arena, &fixture->plan));
}

static void a_hold_stops_everything_and_says_why(void **state)
{
    struct fixture *fixture = *state;
    fixture->facts.hold = HOLD_SUSPENDED;
    plan(fixture);
    for (size_t i = 0; i < fixture->plan.count; i++) {
        CHECK_INT(fixture->plan.items[i].replicas, 0);
        CHECK_INT(fixture->plan.items[i].hold, HOLD_SUSPENDED);
    }
}

static void a_missing_template_is_named(void **state)
{
    struct fixture *fixture = *state;
    static const struct sandbox odd[] = {{.name = "a", .template_ = "none-such", .replicas = 1}};
    fixture->tenant.sandboxes = odd;
    fixture->tenant.sandbox_count = 1;
    plan(fixture);
    CHECK_TEXT(fixture->plan.missing_template, "none-such");
    CHECK_NULL(fixture->plan.items[0].template_);
}

static void what_listens_has_a_host_of_its_own_where_there_are_routes(void **state)
{
    struct fixture *fixture = *state;
    plan(fixture);
    CHECK_NULL(fixture->plan.items[2].host);
    fixture->facts.route = CHILD_INGRESS;
    plan(fixture);
    CHECK_INT(fixture->plan.route, CHILD_INGRESS);
    CHECK_TEXT(fixture->plan.items[2].host, "off.acme.example.com"); /* though none of it runs */
    CHECK_NULL(fixture->plan.items[1].host);                         /* its template has no ports */
}

static void the_kind_of_route_follows_settings_and_cluster(void **state)
{
    struct route_settings settings;
    struct err err;
    (void)state;

    CHECK_INT(route_kind(NULL, true), CHILD_KIND_COUNT);
    CHECK_OK(route_settings_parse("", "", &settings, &err), &err);
    CHECK_INT(route_kind(&settings, true), CHILD_KIND_COUNT);
    CHECK_OK(route_settings_parse("edge/public", "", &settings, &err), &err);
    CHECK_INT(route_kind(&settings, true), CHILD_HTTP_ROUTE);
    CHECK_INT(route_kind(&settings, false), CHILD_KIND_COUNT);
    CHECK_OK(route_settings_parse("edge/public/https", "nginx", &settings, &err), &err);
    CHECK_TEXT(settings.gateway_namespace, "edge");
    CHECK_TEXT(settings.gateway, "public");
    CHECK_TEXT(settings.listener, "https");
    CHECK_INT(route_kind(&settings, true), CHILD_HTTP_ROUTE);
    CHECK_INT(route_kind(&settings, false), CHILD_INGRESS);
}

static void settings_that_name_nothing_are_refused(void **state)
{
    static const char *const gateways[] = {"public",       "edge/",       "/public",
                                           "edge/public/", "Edge/public", "edge/public/https/more",
                                           "edge/-public"};
    struct route_settings settings;
    struct err err;
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(gateways); i++) {
        CHECK_INT(route_settings_parse(gateways[i], "", &settings, &err), -1);
        CHECK_TEXT(err.reason, "InvalidOption");
    }
    CHECK_INT(route_settings_parse("", "a b", &settings, &err), -1);
}

static void people_are_sorted_by_what_they_may_do(void **state)
{
    struct fixture *fixture = *state;
    static const struct person members[] = {
        {"a@x", "", MEMBER_ADMIN}, {"m@x", "", MEMBER_MEMBER}, {"p@x", "", MEMBER_OWNER}};
    struct access_plan access;
    fixture->tenant.members = members;
    fixture->tenant.member_count = 3;
    access_plan(&fixture->arena, &fixture->tenant, &access);
    CHECK_INT(access.owner_count, 2);
    CHECK_TEXT(access.owners[0], "o@x");
    CHECK_TEXT(access.owners[1], "p@x");
    CHECK_INT(access.admin_count, 1);
    CHECK_TEXT(access.admins[0], "a@x");
    CHECK_INT(access.member_count, 1);
    CHECK_TEXT(access.members[0], "m@x");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_spec_is_followed),
        TEST(a_tenant_that_lists_none_has_the_tiers_and_one_that_lists_nothing_has_nothing),
        TEST(the_last_beyond_the_count_run_nothing),
        TEST(what_has_no_limit_is_not_granted),
        TEST(a_hold_stops_everything_and_says_why),
        TEST(a_missing_template_is_named),
        TEST(what_listens_has_a_host_of_its_own_where_there_are_routes),
        cmocka_unit_test(the_kind_of_route_follows_settings_and_cluster),
        cmocka_unit_test(settings_that_name_nothing_are_refused),
        TEST(people_are_sorted_by_what_they_may_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
