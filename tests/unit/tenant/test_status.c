/* The status follows from how the run went: kstatus' words, transition times, and no write for
 * nothing. */
#include "tests/check.h"

#include "reconcilers/model/conditions.h"
#include "reconcilers/model/store.h"
#include "reconcilers/tenant/tenant.h"
#include "reconcilers/tenant/tenant_internal.h"

enum { NOW_S = 1000 };

struct fixture {
    struct arena arena;
    struct tenant tenant;
    struct tenant_work work;
    struct step_result results[STEPS_MAX];
    struct err failure;
    struct tenant_status next;
};

static struct fixture *fixture_new(void)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    arena_init(&fixture->arena, 0);
    fixture->tenant = (struct tenant){.name = "acme",
                                      .uid = "u",
                                      .generation = 2,
                                      .subdomain = "acme",
                                      .tier = "premium",
                                      .server = "",
                                      .reconcile_requested_at = "",
                                      .status.observed_generation = -1};
    fixture->work.tenant = &fixture->tenant;
    fixture->work.place =
        (struct tenant_place){"primary", ISOLATION_DATABASE, "tenant_acme", "public"};
    for (size_t i = 0; i < tenant_step_count; i++) {
        fixture->results[i].state = STEP_DONE;
    }
    return fixture;
}

static void fixture_free(struct fixture *fixture)
{
    arena_release(&fixture->arena);
    free(fixture);
}

static void next_of(struct fixture *fixture, int64_t now_s)
{
    tenant_status_next(&fixture->arena, &fixture->work, fixture->results, &fixture->failure, "hash",
                       now_s, &fixture->next);
}

static const char *reason_of(const struct fixture *fixture, const char *type)
{
    const struct condition *condition = condition_get(&fixture->next.conditions, type);
    return condition ? condition->reason : "(absent)";
}

static void c53_all_done_is_ready(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    next_of(fixture, NOW_S);
    const struct condition_set *set = &fixture->next.conditions;
    CHECK(condition_is_true(set, CONDITION_READY));
    CHECK(condition_is_true(set, CONDITION_SERVING));
    CHECK(!condition_is_true(set, CONDITION_SUSPENDED));
    CHECK_TEXT(reason_of(fixture, CONDITION_STALLED), "(absent)");
    CHECK_TEXT(reason_of(fixture, CONDITION_RECONCILING), "(absent)");
    CHECK_INT(fixture->next.observed_generation, 2);
    CHECK_TEXT(fixture->next.inputs_hash, "hash");
    for (size_t i = 0; i < tenant_condition_count; i++) {
        CHECK(condition_is_true(set, tenant_conditions[i].type));
    }
    fixture_free(fixture);
}

static void an_overdue_bill_suspends_beside_the_spec(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct tenant held = fixture->tenant;
    held.state = TENANT_SUSPENDED;
    fixture->work.tenant = &held;
    fixture->work.billing_hold = BILLING_HOLD_OVERDUE;
    next_of(fixture, NOW_S);
    CHECK(condition_is_true(&fixture->next.conditions, CONDITION_READY));
    CHECK(condition_is_true(&fixture->next.conditions, CONDITION_SUSPENDED));
    CHECK_TEXT(reason_of(fixture, CONDITION_SUSPENDED), "BillingOverdue");
    CHECK_TEXT(reason_of(fixture, CONDITION_SERVING), "BillingOverdue");

    /* A run that could not ask the registry leaves it at that. */
    fixture->tenant.status = fixture->next;
    fixture->work.tenant = &fixture->tenant;
    fixture->work.billing_hold = BILLING_HOLD_UNKNOWN;
    next_of(fixture, NOW_S + 1);
    CHECK_TEXT(reason_of(fixture, CONDITION_SUSPENDED), "BillingOverdue");
    fixture->work.billing_hold = BILLING_HOLD_NONE;
    next_of(fixture, NOW_S + 2);
    CHECK_TEXT(reason_of(fixture, CONDITION_SUSPENDED), "NotSuspended");
    CHECK_TEXT(reason_of(fixture, CONDITION_SERVING), "AsSpecified");
    fixture_free(fixture);
}

/* What is due moves with use, and use alone causes no write. */
static void what_is_due_alone_is_no_reason_to_write(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct billing_status *billing = &fixture->work.billing;
    *billing = (struct billing_status){"2026-11-01", "2026-12-01", "49.00", "EUR", "pending", ""};
    next_of(fixture, NOW_S);
    fixture->tenant.status = fixture->next;
    CHECK_TEXT(fixture->next.billing.amount_due, "49.00");
    billing->amount_due = "51.00";
    next_of(fixture, NOW_S);
    CHECK(tenant_status_equal(&fixture->tenant.status, &fixture->next));
    billing->overdue = "10.00";
    next_of(fixture, NOW_S);
    CHECK(!tenant_status_equal(&fixture->tenant.status, &fixture->next));
    CHECK_TEXT(fixture->next.billing.amount_due, "51.00");
    fixture_free(fixture);
}

static void c50_the_same_run_again_changes_nothing(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    next_of(fixture, NOW_S);
    fixture->tenant.status = fixture->next;
    next_of(fixture, NOW_S + 500);
    CHECK(tenant_status_equal(&fixture->tenant.status, &fixture->next));
    CHECK_INT(condition_get(&fixture->next.conditions, CONDITION_READY)->transition_s, NOW_S);
    fixture_free(fixture);
}

static void c53_a_retryable_fault_is_reconciling_and_forgets_the_hash(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    next_of(fixture, NOW_S);
    fixture->tenant.status = fixture->next;
    (void)err_set(&fixture->failure, ERR_RETRY, "DatabaseUnreachable", "server primary: refused");
    fixture->results[1].state = STEP_FAILED;
    fixture->results[1].err = &fixture->failure;
    next_of(fixture, NOW_S + 5);
    CHECK_TEXT(reason_of(fixture, CONDITION_READY), "DatabaseUnreachable");
    CHECK_TEXT(reason_of(fixture, CONDITION_DATABASE), "DatabaseUnreachable");
    CHECK(condition_is_true(&fixture->next.conditions, CONDITION_RECONCILING));
    CHECK(!condition_get(&fixture->next.conditions, CONDITION_STALLED));
    CHECK_INT(condition_get(&fixture->next.conditions, CONDITION_READY)->transition_s, NOW_S + 5);
    CHECK_INT(condition_get(&fixture->next.conditions, CONDITION_REGISTERED)->transition_s, NOW_S);
    CHECK_TEXT(fixture->next.inputs_hash, "");
    CHECK(!tenant_status_equal(&fixture->tenant.status, &fixture->next));
    fixture_free(fixture);
}

static void c53_what_waits_for_the_user_is_stalled(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    (void)err_set(&fixture->failure, ERR_TERMINAL, "TierNotFound", "no tier");
    tenant_status_next(&fixture->arena, &fixture->work, NULL, &fixture->failure, "", NOW_S,
                       &fixture->next);
    CHECK(condition_is_true(&fixture->next.conditions, CONDITION_STALLED));
    CHECK(!condition_get(&fixture->next.conditions, CONDITION_RECONCILING));
    CHECK_TEXT(reason_of(fixture, CONDITION_SCHEMA), "Waiting");
    fixture_free(fixture);
}

static void a_suspended_tenant_is_ready_and_not_serving(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    fixture->tenant.state = TENANT_SUSPENDED;
    next_of(fixture, NOW_S);
    CHECK(condition_is_true(&fixture->next.conditions, CONDITION_READY));
    CHECK(condition_is_true(&fixture->next.conditions, CONDITION_SUSPENDED));
    CHECK(!condition_is_true(&fixture->next.conditions, CONDITION_SERVING));
    fixture_free(fixture);
}

static void another_place_is_a_pending_move(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    fixture->tenant.isolation = ISOLATION_ROW;
    next_of(fixture, NOW_S);
    CHECK_TEXT(reason_of(fixture, CONDITION_READY), "MovePending");
    CHECK(condition_is_true(&fixture->next.conditions, CONDITION_MOVE_PENDING));
    CHECK(condition_is_true(&fixture->next.conditions, CONDITION_STALLED));
    CHECK(condition_is_true(&fixture->next.conditions, CONDITION_SERVING));
    fixture->tenant.isolation = ISOLATION_DATABASE;
    fixture->tenant.server = "secondary";
    next_of(fixture, NOW_S);
    CHECK_TEXT(reason_of(fixture, CONDITION_READY), "MovePending");
    fixture->tenant.server = "primary";
    next_of(fixture, NOW_S);
    CHECK(condition_is_true(&fixture->next.conditions, CONDITION_READY));
    fixture_free(fixture);
}

static void mere_use_is_no_reason_to_write(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    const struct quota quotas[] = {{"users", 5}};
    int64_t used[] = {1};
    fixture->work.quotas = quotas;
    fixture->work.quotas_used = used;
    fixture->work.quota_count = 1;
    next_of(fixture, NOW_S);
    CHECK_INT(fixture->next.quotas[0].used, 1);
    fixture->tenant.status = fixture->next;
    used[0] = 4;
    next_of(fixture, NOW_S);
    CHECK(tenant_status_equal(&fixture->tenant.status, &fixture->next));
    fixture_free(fixture);
}

static void inputs_hash_tells_every_input_apart(void **state)
{
    (void)state;
    char a[HASH128_TEXT_BYTES];
    char b[HASH128_TEXT_BYTES];
    struct fixture *fixture = fixture_new();
    const struct quota quotas[] = {{"users", 5}};
    const struct tier tier = {.name = "premium", .quotas = quotas, .quota_count = 1};
    const struct tier other = {.name = "premium"};
    const struct database_server server = {.name = "p", .port = 5432};
    const struct services services = {.object_stores = cache_new(&object_store_codec)};
    fixture->tenant.adopt = "";
    fixture->tenant.erase_members = "";
    tenant_inputs_hash(&services, &fixture->tenant, &tier, &server, a);
    tenant_inputs_hash(&services, &fixture->tenant, &tier, &server, b);
    CHECK_TEXT(a, b);
    tenant_inputs_hash(&services, &fixture->tenant, &other, &server, b);
    CHECK(strcmp(a, b) != 0);
    tenant_inputs_hash(&services, &fixture->tenant, &tier, NULL, b);
    CHECK(strcmp(a, b) != 0);
    fixture->tenant.display_name = "Acme";
    tenant_inputs_hash(&services, &fixture->tenant, &tier, &server, b);
    CHECK(strcmp(a, b) != 0);
    fixture_free(fixture);
    cache_free(services.object_stores);
}

static void table_of_steps_is_sound_and_undoable(void **state)
{
    (void)state;
    struct err err = {0};
    CHECK_OK(tenant_steps_check(&err), &err);
    for (size_t i = 0; i < tenant_step_count; i++) {
        bool known = !tenant_steps[i].ensure;
        for (size_t j = 0; !known && j < tenant_condition_count; j++) {
            known = strcmp(tenant_conditions[j].type, tenant_steps[i].condition) == 0;
        }
        CHECK(known);
        CHECK(tenant_steps[i].ensure != NULL || tenant_steps[i].finalize != NULL);
    }
}

/* Whether steps[from] is undone before steps[to]: it needs it, by way of whichever others. */
static bool comes_before(size_t from, size_t to)
{
    for (size_t n = 0; n < STEP_NEEDS_MAX && tenant_steps[from].needs[n]; n++) {
        for (size_t i = 0; i < from; i++) {
            if (strcmp(tenant_steps[i].name, tenant_steps[from].needs[n]) == 0 &&
                (i == to || comes_before(i, to))) {
                return true;
            }
        }
    }
    return false;
}

/* A step that is added must not undo anything of a tenant whose snapshot could not be taken. */
static void nothing_is_undone_before_the_snapshot(void **state)
{
    (void)state;
    size_t last = tenant_step_count - 1;
    CHECK_TEXT(tenant_steps[last].name, "Snapshot");
    for (size_t i = 0; i < last; i++) {
        if (tenant_steps[i].finalize && !comes_before(last, i)) {
            fail_msg("Snapshot has to need %s", tenant_steps[i].name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c53_all_done_is_ready),
        cmocka_unit_test(an_overdue_bill_suspends_beside_the_spec),
        cmocka_unit_test(what_is_due_alone_is_no_reason_to_write),
        cmocka_unit_test(c50_the_same_run_again_changes_nothing),
        cmocka_unit_test(c53_a_retryable_fault_is_reconciling_and_forgets_the_hash),
        cmocka_unit_test(c53_what_waits_for_the_user_is_stalled),
        cmocka_unit_test(a_suspended_tenant_is_ready_and_not_serving),
        cmocka_unit_test(another_place_is_a_pending_move),
        cmocka_unit_test(mere_use_is_no_reason_to_write),
        cmocka_unit_test(inputs_hash_tells_every_input_apart),
        cmocka_unit_test(table_of_steps_is_sound_and_undoable),
        cmocka_unit_test(nothing_is_undone_before_the_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
