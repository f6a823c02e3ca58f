#include "controller/kube/watch_state.h"

#include "tests/check.h"

static const enum watch_state REQUEST_STATES[] = {WATCH_LISTING, WATCH_PAGING, WATCH_LISTING_WHOLE,
                                                  WATCH_WATCHING, WATCH_CHECKING};

static struct watch_step decide(enum watch_state state, enum watch_outcome outcome)
{
    const struct watch_facts facts = {.state = state, .outcome = outcome};

    return watch_decide(&facts);
}

static struct err failure(enum err_class cls, const char *reason)
{
    struct err err;

    (void)err_set(&err, cls, reason, "x");
    return err;
}

static void outcomes_follow_from_the_error(void **state)
{
    static const struct {
        enum err_class cls;
        const char *reason;
        bool is_open;
        enum watch_outcome outcome;
    } cases[] = {
        {ERR_RETRY, "Expired", false, WATCH_EXPIRED},
        {ERR_RETRY, "Expired", true, WATCH_EXPIRED},
        {ERR_RETRY, "ResourceVersionTooLarge", false, WATCH_VERSION_TOO_LARGE},
        {ERR_TERMINAL, "Invalid", false, WATCH_REFUSED},
        {ERR_NOT_FOUND, "NotFound", false, WATCH_MISSING},
        {ERR_RETRY, "ConnectionSilent", true, WATCH_SILENT},
        {ERR_RETRY, "ConnectionSilent", false, WATCH_FAILED},
        {ERR_RETRY, "ConnectionFailed", false, WATCH_FAILED},
        {ERR_RETRY, "ServerError", true, WATCH_FAILED},
        {ERR_RETRY, "TooManyRequests", false, WATCH_FAILED},
        {ERR_RETRY, "Forbidden", false, WATCH_FAILED},
        {ERR_TERMINAL, "TLSVerificationFailed", false, WATCH_FAILED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = failure(cases[i].cls, cases[i].reason);
        CHECK_INT(watch_outcome_of(&err, cases[i].is_open), cases[i].outcome);
    }
}

/* The heart of it: a broken stream costs no list. */
static void c16_a_watch_goes_on_from_its_version(void **state)
{
    static const enum watch_outcome keep[] = {WATCH_ENDED, WATCH_HASTY, WATCH_SILENT, WATCH_FAILED};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(keep); i++) {
        struct watch_step step = decide(WATCH_WATCHING, keep[i]);
        enum watch_state next = step.state == WATCH_BACKING_OFF ? step.resume : step.state;
        CHECK_INT(next, WATCH_WATCHING);
    }
    CHECK_INT(decide(WATCH_WATCHING, WATCH_ENDED).state, WATCH_WATCHING);
    CHECK_INT(decide(WATCH_WATCHING, WATCH_SILENT).state, WATCH_WATCHING);
    CHECK_INT(decide(WATCH_WATCHING, WATCH_HASTY).state, WATCH_BACKING_OFF);
    CHECK_INT(decide(WATCH_WATCHING, WATCH_FAILED).state, WATCH_BACKING_OFF);
}

/* A stream that says nothing at all may mean that our version lies ahead of a restored store. */
static void a_mute_stream_has_the_version_checked(void **state)
{
    static const enum watch_outcome outcomes[] = {WATCH_SILENT, WATCH_ENDED};
    struct watch_facts facts = {.state = WATCH_WATCHING, .is_mute = true};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(outcomes); i++) {
        facts.outcome = outcomes[i];
        CHECK_INT(watch_decide(&facts).state, WATCH_CHECKING);
        CHECK(!watch_decide(&facts).is_trouble);
    }
    CHECK_INT(decide(WATCH_CHECKING, WATCH_SYNCED).state, WATCH_WATCHING);
    CHECK_INT(decide(WATCH_CHECKING, WATCH_FAILED).resume, WATCH_CHECKING);
    CHECK_INT(decide(WATCH_CHECKING, WATCH_VERSION_TOO_LARGE).state, WATCH_BACKING_OFF);
    CHECK_INT(decide(WATCH_CHECKING, WATCH_VERSION_TOO_LARGE).resume, WATCH_LISTING);
}

static void c22_a_version_in_doubt_costs_a_new_view(void **state)
{
    static const enum watch_outcome doubt[] = {WATCH_EXPIRED, WATCH_VERSION_TOO_LARGE,
                                               WATCH_REFUSED};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(doubt); i++) {
        struct watch_facts facts = {.state = WATCH_WATCHING, .outcome = doubt[i]};
        CHECK_INT(watch_decide(&facts).state, WATCH_BACKING_OFF);
        CHECK_INT(watch_decide(&facts).resume, WATCH_LISTING);
        facts.lists_only = true;
        CHECK_INT(watch_decide(&facts).resume, WATCH_PAGING);
    }
}

static void a_server_without_watch_list_is_asked_for_pages_from_then_on(void **state)
{
    struct watch_step step = decide(WATCH_LISTING, WATCH_REFUSED);

    (void)state;
    CHECK_INT(step.state, WATCH_PAGING);
    CHECK(step.lists_only);

    struct watch_facts facts = {
        .state = WATCH_LISTING, .outcome = WATCH_SILENT, .has_partial_stream = true};
    step = watch_decide(&facts);
    CHECK_INT(step.state, WATCH_PAGING);
    CHECK(step.lists_only);

    facts.has_partial_stream = false; /* it may be the network: not learnt from */
    step = watch_decide(&facts);
    CHECK_INT(step.resume, WATCH_LISTING);
    CHECK(!step.lists_only);
}

static void expired_pages_lead_to_one_whole_list(void **state)
{
    struct watch_facts facts = {.state = WATCH_PAGING, .outcome = WATCH_EXPIRED};

    (void)state;
    CHECK_INT(watch_decide(&facts).state, WATCH_BACKING_OFF);
    facts.is_later_page = true;
    CHECK_INT(watch_decide(&facts).state, WATCH_LISTING_WHOLE);
    facts.state = WATCH_LISTING_WHOLE;
    CHECK_INT(watch_decide(&facts).state, WATCH_BACKING_OFF);
    CHECK_INT(decide(WATCH_PAGING, WATCH_SYNCED).state, WATCH_WATCHING);
    CHECK_INT(decide(WATCH_LISTING_WHOLE, WATCH_SYNCED).state, WATCH_WATCHING);
}

static void a_missing_kind_is_waited_for_from_everywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(REQUEST_STATES); i++) {
        struct watch_step step = decide(REQUEST_STATES[i], WATCH_MISSING);
        CHECK_INT(step.state, WATCH_WAITING_FOR_KIND);
        CHECK(step.is_trouble);
    }
}

static void no_failure_leads_on_without_a_pause_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(REQUEST_STATES); i++) {
        for (int outcome = 0; outcome < WATCH_OUTCOME_COUNT; outcome++) {
            for (int bits = 0; bits < 8; bits++) {
                struct watch_facts facts = {
                    .state = REQUEST_STATES[i],
                    .outcome = (enum watch_outcome)outcome,
                    .lists_only = bits & 1,
                    .is_later_page = bits & 2,
                    .has_partial_stream = bits & 4,
                };
                int steps = 0;
                struct watch_step step = watch_decide(&facts);
                while (step.state != WATCH_BACKING_OFF && step.state != WATCH_WAITING_FOR_KIND &&
                       outcome != WATCH_SYNCED && outcome != WATCH_ENDED &&
                       outcome != WATCH_SILENT) {
                    CHECK(++steps <= 2);
                    facts.state = step.state;
                    facts.lists_only = step.lists_only;
                    step = watch_decide(&facts);
                }
                CHECK(!(facts.lists_only && !step.lists_only));
                CHECK(!(step.lists_only && step.resume == WATCH_LISTING &&
                        step.state == WATCH_BACKING_OFF));
            }
        }
    }
}

/* What heals itself without a gap is no trouble; everything that fails is. */
static void trouble_is_what_does_not_heal_at_once(void **state)
{
    (void)state;
    CHECK(!decide(WATCH_WATCHING, WATCH_ENDED).is_trouble);
    CHECK(!decide(WATCH_WATCHING, WATCH_SILENT).is_trouble);
    CHECK(!decide(WATCH_WATCHING, WATCH_EXPIRED).is_trouble);
    CHECK(!decide(WATCH_WATCHING, WATCH_VERSION_TOO_LARGE).is_trouble);
    CHECK(decide(WATCH_WATCHING, WATCH_FAILED).is_trouble);
    CHECK(decide(WATCH_WATCHING, WATCH_HASTY).is_trouble);
    for (int outcome = 0; outcome < WATCH_OUTCOME_COUNT; outcome++) {
        struct watch_step step = decide(WATCH_LISTING, (enum watch_outcome)outcome);
        CHECK(step.is_trouble || step.state == WATCH_PAGING);
    }
}

static void every_state_and_outcome_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < WATCH_OUTCOME_COUNT; i++) {
        CHECK_NOT_NULL(watch_outcome_name((enum watch_outcome)i));
    }
    for (int i = 0; i <= WATCH_WAITING_FOR_KIND; i++) {
        CHECK_NOT_NULL(watch_state_name((enum watch_state)i));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_follow_from_the_error),
        cmocka_unit_test(c16_a_watch_goes_on_from_its_version),
        cmocka_unit_test(a_mute_stream_has_the_version_checked),
        cmocka_unit_test(c22_a_version_in_doubt_costs_a_new_view),
        cmocka_unit_test(a_server_without_watch_list_is_asked_for_pages_from_then_on),
        cmocka_unit_test(expired_pages_lead_to_one_whole_list),
        cmocka_unit_test(a_missing_kind_is_waited_for_from_everywhere),
        cmocka_unit_test(no_failure_leads_on_without_a_pause_twice),
        cmocka_unit_test(trouble_is_what_does_not_heal_at_once),
        cmocka_unit_test(every_state_and_outcome_has_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
