/* Who of the spec becomes a user, within which limit, and what becomes of those whom it no longer
 * names. */
#include "tests/check.h"

#include "reconcilers/database/members_internal.h"

#define A "a@acme.test"
#define B "b@acme.test"
#define C "c@acme.test"
#define OLD "old@acme.test"
#define PROGRAM "program@acme.test"

static const struct person people[] = {
    {A, "Ann", MEMBER_ADMIN}, {B, "", MEMBER_MEMBER}, {C, "Cem", MEMBER_OWNER}};

static struct tenant tenant_with(size_t count)
{
    return (struct tenant){
        .owner = {.email = "owner@acme.test"}, .members = people, .member_count = count};
}

/* "add a@acme.test; …" */
static void describe(const struct members_plan *plan, struct buf *out)
{
    static const char *const words[] = {"add",   "update",   "enable",  "disable",
                                        "erase", "register", "suspend", "forget"};
    buf_clear(out);
    for (size_t i = 0; i < plan->count; i++) {
        (void)buf_printf(out, "%s%s %s", i > 0 ? "; " : "", words[plan->actions[i].kind],
                         plan->actions[i].email);
    }
}

static void check_plan(size_t members, int64_t limit, const char *erase,
                       const struct members_seen *seen, const char *wanted, const char *excess)
{
    AUTO(arena) struct arena arena = {0};
    AUTO(buf) struct buf words = BUF(4096);
    struct tenant tenant = tenant_with(members);
    struct members_plan plan;

    arena_init(&arena, 0);
    members_plan(&arena, &tenant, limit, erase, seen, &plan);
    describe(&plan, &words);
    CHECK_TEXT(buf_text(&words), wanted);
    CHECK_INT(plan.excess != NULL, excess != NULL);
    if (excess) {
        CHECK_NOT_NULL(strstr(plan.excess, excess));
    }
}

static const struct member_row registered[] = {{A, "admin", "active", true},
                                               {B, "member", "active", true},
                                               {PROGRAM, "member", "active", false},
                                               {OLD, "member", "active", true}};
static const struct user_row users[] = {
    {A, "Ann", "admin", false}, {B, "Chosen", "member", false}, {OLD, "Old", "member", false}};

static void new_members_are_added_in_order_as_far_as_there_is_room(void **state)
{
    const struct members_seen nothing = {0};
    (void)state;
    check_plan(3, -1, "", &nothing,
               "add " A "; register " A "; add " B "; register " B "; add " C "; register " C,
               NULL);
    check_plan(3, 3, "", &nothing, "add " A "; register " A "; add " B "; register " B, C);
    check_plan(3, 1, "", &nothing, "", A ", " B ", " C);
    check_plan(0, 1, "", &nothing, "", NULL);
}

static void who_is_there_stays_and_is_left_alone(void **state)
{
    const struct members_seen seen = {registered, 3, users, 2};
    (void)state;
    check_plan(2, 3, "", &seen, "", NULL);
    check_plan(2, 1, "", &seen, "", NULL); /* a limit that fell destroys nothing */
    check_plan(3, 3, "", &seen, "", C);
}

static void names_and_roles_follow_the_spec(void **state)
{
    const struct user_row other[] = {{A, "Anna", "member", false}, {B, "Chosen", "member", false}};
    const struct member_row rows[] = {{A, "member", "active", true}, {B, "member", "active", true}};
    const struct members_seen seen = {rows, 2, other, 2};
    (void)state;
    check_plan(2, 3, "", &seen, "update " A "; register " A, NULL);
}

static void a_user_of_another_program_becomes_a_member_without_a_place_more(void **state)
{
    const struct user_row known[] = {{A, "Ann", "admin", false}};
    const struct member_row rows[] = {{A, "admin", "active", false}};
    const struct members_seen seen = {rows, 1, known, 1};
    (void)state;
    check_plan(1, 2, "", &seen, "register " A, NULL);
}

static void who_is_named_no_longer_is_disabled_or_erased_if_asked(void **state)
{
    const struct members_seen seen = {registered, 4, users, 3};
    (void)state;
    check_plan(2, 3, "", &seen, "disable " OLD "; suspend " OLD, NULL);
    check_plan(2, 3, B ", " OLD "," PROGRAM, &seen, "erase " OLD "; forget " OLD, NULL);
}

static void who_comes_back_is_enabled(void **state)
{
    const struct user_row disabled[] = {{A, "Ann", "admin", true}};
    const struct member_row rows[] = {{A, "admin", "disabled", true}};
    const struct members_seen seen = {rows, 1, disabled, 1};
    (void)state;
    check_plan(1, 2, "", &seen, "enable " A "; register " A, NULL);
    check_plan(1, 1, "", &seen, "", A);
    check_plan(0, 2, "", &seen, "", NULL);
}

static void a_crash_between_users_and_registry_is_taken_up(void **state)
{
    const struct user_row disabled[] = {{OLD, "Old", "member", true}};
    const struct member_row rows[] = {{OLD, "member", "active", true}};
    const struct user_row added[] = {{A, "Ann", "admin", false}};
    const struct members_seen half_removed = {rows, 1, disabled, 1};
    const struct members_seen half_added = {NULL, 0, added, 1};
    (void)state;
    check_plan(0, 2, "", &half_removed, "suspend " OLD, NULL);
    check_plan(1, 2, "", &half_added, "register " A, NULL);
}

static void the_owner_is_nobodys_member(void **state)
{
    const struct person twice[] = {{"owner@acme.test", "O", MEMBER_MEMBER}};
    AUTO(arena) struct arena arena = {0};
    const struct members_seen nothing = {0};
    struct tenant tenant = {
        .owner = {.email = "owner@acme.test"}, .members = twice, .member_count = 1};
    struct members_plan plan;
    (void)state;
    arena_init(&arena, 0);
    members_plan(&arena, &tenant, 1, "", &nothing, &plan);
    CHECK_INT(plan.count, 0);
    CHECK_NULL(plan.excess);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_members_are_added_in_order_as_far_as_there_is_room),
        cmocka_unit_test(who_is_there_stays_and_is_left_alone),
        cmocka_unit_test(names_and_roles_follow_the_spec),
        cmocka_unit_test(a_user_of_another_program_becomes_a_member_without_a_place_more),
        cmocka_unit_test(who_is_named_no_longer_is_disabled_or_erased_if_asked),
        cmocka_unit_test(who_comes_back_is_enabled),
        cmocka_unit_test(a_crash_between_users_and_registry_is_taken_up),
        cmocka_unit_test(the_owner_is_nobodys_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
