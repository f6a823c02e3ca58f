#include "controller/base/attributes.h"
#include "controller/runtime/outcome.h"
#include "tests/check.h"

static struct outcome outcome_of(enum err_class cls, int64_t retry_after_ms)
{
    struct err err = {0};
    (void)err_set(&err, cls, "Reason", "message");
    err.retry_after_ms = retry_after_ms;
    return outcome_from_err(&err, 300000);
}

static void c37_each_class_has_its_verdict(void **state)
{
    (void)state;
    static const struct {
        enum err_class cls;
        enum queue_verdict verdict;
        int64_t retry_after_ms;
        int64_t next_ms;
        bool canceled, failed, terminal;
    } rows[] = {
        {ERR_WAIT, QUEUE_KEEP, 0, 1000, false, false, false},
        {ERR_WAIT, QUEUE_KEEP, 7000, 7000, false, false, false},
        {ERR_RETRY, QUEUE_BACKOFF, 0, 0, false, true, false},
        {ERR_RETRY, QUEUE_BACKOFF, 9000, 9000, false, true, false},
        {ERR_NOT_FOUND, QUEUE_BACKOFF, 0, 0, false, true, false},
        {ERR_CONFLICT, QUEUE_BACKOFF, 0, 0, false, false, false},
        {ERR_TERMINAL, QUEUE_FORGET, 0, 300000, false, true, true},
        {ERR_CANCELED, QUEUE_KEEP, 0, 1000, true, false, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct outcome outcome = outcome_of(rows[i].cls, rows[i].retry_after_ms);
        CHECK_INT(outcome.verdict, rows[i].verdict);
        CHECK_INT(outcome.next_ms, rows[i].next_ms);
        CHECK_INT(outcome.canceled, rows[i].canceled);
        CHECK_INT(outcome.failed, rows[i].failed);
        CHECK_INT(outcome.terminal, rows[i].terminal);
        CHECK_TEXT(outcome.err.reason, "Reason");
    }
}

static void done_forgets_and_says_when(void **state)
{
    (void)state;
    struct outcome outcome = outcome_done(0);
    CHECK_INT(outcome.verdict, QUEUE_FORGET);
    CHECK_INT(outcome.next_ms, 0);
    CHECK_INT(outcome.err.cls, ERR_OK);
    CHECK_INT(outcome_done(5000).next_ms, 5000);
    CHECK_INT(outcome_done(-5).next_ms, 0);
}

static struct outcome merge(struct outcome a, struct outcome b)
{
    return outcome_merge(&a, &b);
}

static void the_more_urgent_wins_in_both_orders(void **state)
{
    (void)state;
    const struct outcome ranked[] = {
        outcome_done(1000),          outcome_of(ERR_TERMINAL, 0), outcome_of(ERR_WAIT, 0),
        outcome_of(ERR_RETRY, 1000), outcome_of(ERR_CANCELED, 0),
    };
    for (size_t low = 0; low < ARRAY_COUNT(ranked); low++) {
        for (size_t high = low; high < ARRAY_COUNT(ranked); high++) {
            struct outcome one = merge(ranked[low], ranked[high]);
            struct outcome other = merge(ranked[high], ranked[low]);
            CHECK_INT(one.verdict, ranked[high].verdict);
            CHECK_INT(one.canceled, ranked[high].canceled);
            CHECK_INT(other.verdict, one.verdict);
            CHECK_INT(other.next_ms, one.next_ms);
            CHECK_INT(other.failed, one.failed);
            CHECK_INT(other.terminal, one.terminal);
        }
    }
}

static void the_earlier_time_counts(void **state)
{
    (void)state;
    CHECK_INT(merge(outcome_done(5000), outcome_done(3000)).next_ms, 3000);
    CHECK_INT(merge(outcome_done(0), outcome_done(3000)).next_ms, 3000);
    CHECK_INT(merge(outcome_done(0), outcome_done(0)).next_ms, 0);
    CHECK_INT(merge(outcome_done(500), outcome_of(ERR_WAIT, 0)).next_ms, 500);
    /* Backoff alone is earlier than any period. */
    CHECK_INT(merge(outcome_of(ERR_RETRY, 0), outcome_done(300000)).next_ms, 0);
    CHECK_INT(merge(outcome_of(ERR_RETRY, 9000), outcome_done(300000)).next_ms, 9000);
}

static void waiting_does_not_hide_a_failure(void **state)
{
    (void)state;
    struct err terminal = {0};
    (void)err_set(&terminal, ERR_TERMINAL, "NameTaken", "taken");
    struct outcome merged = merge(outcome_of(ERR_WAIT, 0), outcome_from_err(&terminal, 0));
    CHECK_INT(merged.verdict, QUEUE_KEEP);
    CHECK(merged.failed);
    CHECK(merged.terminal);
    CHECK_TEXT(merged.err.reason, "NameTaken");
}

static void c53_classes_show_as_kstatus_words(void **state)
{
    (void)state;
    static const struct {
        enum err_class cls;
        bool reconciling, stalled;
    } rows[] = {
        {ERR_OK, false, false},       {ERR_WAIT, true, false},      {ERR_RETRY, true, false},
        {ERR_CONFLICT, true, false},  {ERR_NOT_FOUND, true, false}, {ERR_TERMINAL, false, true},
        {ERR_CANCELED, false, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct err err = {.cls = rows[i].cls};
        CHECK_INT(err_is_reconciling(&err), rows[i].reconciling);
        CHECK_INT(err_is_stalled(&err), rows[i].stalled);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c37_each_class_has_its_verdict),
        cmocka_unit_test(done_forgets_and_says_when),
        cmocka_unit_test(the_more_urgent_wins_in_both_orders),
        cmocka_unit_test(the_earlier_time_counts),
        cmocka_unit_test(waiting_does_not_hide_a_failure),
        cmocka_unit_test(c53_classes_show_as_kstatus_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
