#include "reconcilers/storage/storage_internal.h"
#include "tests/check.h"

enum { NOW_S = 1000000 };

struct scenario {
    const char *claim;
    struct keys_known known;
    struct iam_key seen[IAM_KEYS_MAX];
    size_t seen_count;
    bool active;
    const char *request;
    /* What is planned. */
    const char *remove;
    const char *set;
    bool create;
    const char *previous;
    const char *rotation;
};

#define SAYS_A {.id = "A", .has_secret = true, .previous_id = "", .rotation = ""}

static const struct scenario scenarios[] = {
    {"the first key", {"", false, "", 0, ""}, {{"", false}}, 0, true, "", "", "", true, "", ""},
    {"nothing to do", SAYS_A, {{"A", true}}, 1, true, "", "", "", false, "", ""},
    {"a key whose making was cut off goes",
     SAYS_A,
     {{"A", true}, {"X", true}},
     2,
     true,
     "",
     "X",
     "",
     false,
     "",
     ""},
    {"also where there is no other",
     {"", false, "", 0, ""},
     {{"X", true}},
     1,
     true,
     "",
     "X",
     "",
     true,
     "",
     ""},
    {"two of them",
     {"", false, "", 0, ""},
     {{"X", true}, {"Y", false}},
     2,
     true,
     "",
     "X Y",
     "",
     true,
     "",
     ""},
    {"a Secret without the secret is no key",
     {"A", false, "", 0, ""},
     {{"A", true}},
     1,
     true,
     "",
     "A",
     "",
     true,
     "",
     ""},
    {"a key that is gone is made anew", SAYS_A, {{"", false}}, 0, true, "", "", "", true, "", ""},
    {"suspended", SAYS_A, {{"A", true}}, 1, false, "", "", "A", false, "", ""},
    {"and active again", SAYS_A, {{"A", false}}, 1, true, "", "", "A", false, "", ""},
    {"a rotation keeps the one before",
     SAYS_A,
     {{"A", true}},
     1,
     true,
     "r1",
     "",
     "",
     true,
     "A",
     "r1"},
    {"which was asked for once",
     {"B", true, "A", NOW_S + 10, "r1"},
     {{"A", true}, {"B", true}},
     2,
     true,
     "r1",
     "",
     "",
     false,
     "A",
     "r1"},
    {"and goes after its time",
     {"B", true, "A", NOW_S, "r1"},
     {{"A", true}, {"B", true}},
     2,
     true,
     "r1",
     "A",
     "",
     false,
     "",
     "r1"},
    {"a second rotation does not wait",
     {"B", true, "A", NOW_S + 10, "r1"},
     {{"A", true}, {"B", true}},
     2,
     true,
     "r2",
     "A",
     "",
     true,
     "B",
     "r2"},
    {"both are switched off",
     {"B", true, "A", NOW_S + 10, "r1"},
     {{"A", true}, {"B", true}},
     2,
     false,
     "r1",
     "",
     "A B",
     false,
     "A",
     "r1"},
    {"a first key is for the request that stands",
     {"", false, "", 0, ""},
     {{"", false}},
     0,
     true,
     "r1",
     "",
     "",
     true,
     "",
     "r1"},
};

static void join(struct buf *out, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)buf_printf(out, "%s%s", i > 0 ? " " : "", texts[i]);
    }
}

static void plans_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(scenarios); i++) {
        const struct scenario *scenario = &scenarios[i];
        AUTO(buf) struct buf removed = BUF(256);
        AUTO(buf) struct buf switched = BUF(256);
        struct keys_plan plan;
        print_message("%s\n", scenario->claim);
        keys_plan(&scenario->known, scenario->seen, scenario->seen_count, scenario->active,
                  scenario->request, NOW_S, &plan);
        join(&removed, plan.remove, plan.remove_count);
        join(&switched, plan.set, plan.set_count);
        CHECK_TEXT(buf_text(&removed), scenario->remove);
        CHECK_TEXT(buf_text(&switched), scenario->set);
        CHECK_INT(plan.create, scenario->create);
        CHECK_TEXT(plan.previous_id, scenario->previous);
        CHECK_TEXT(plan.rotation, scenario->rotation);
        /* Never more than two, the new one counted. */
        CHECK(scenario->seen_count - plan.remove_count + (plan.create ? 1 : 0) <= IAM_KEYS_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
