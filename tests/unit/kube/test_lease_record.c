#include "controller/kube/lease_record.h"

#include "controller/kube/lease.h"
#include "tests/check.h"

static json_t *parse(const char *text)
{
    json_t *value = NULL;
    struct err err;

    CHECK_OK(js_parse(str_from(text), 10000, &value, &err), &err);
    return value;
}

static const char LEASE[] =
    "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"l\","
    "\"namespace\":\"n\",\"resourceVersion\":\"12\",\"uid\":\"u\",\"labels\":{\"team\":\"a\"},"
    "\"managedFields\":[{\"manager\":\"x\"}]},\"spec\":{\"holderIdentity\":\"a_1\","
    "\"leaseDurationSeconds\":15,\"acquireTime\":\"2026-01-02T03:04:05.000001Z\","
    "\"renewTime\":\"2026-01-02T03:04:06.000001Z\",\"leaseTransitions\":4,\"strategy\":\"Old\"}}";

static void reads_the_record(void **state)
{
    AUTO(json) json_t *lease = parse(LEASE);
    AUTO(json) json_t *bare = parse("{\"metadata\":{},\"spec\":{\"holderIdentity\":null}}");
    struct lease_record record;

    (void)state;
    lease_record_read(lease, &record);
    CHECK_TEXT(record.holder, "a_1");
    CHECK_INT(record.duration_s, 15);
    CHECK_INT(record.transitions, 4);
    CHECK_TEXT(record.acquire_time, "2026-01-02T03:04:05.000001Z");
    CHECK_TEXT(record.renew_time, "2026-01-02T03:04:06.000001Z");
    lease_record_read(bare, &record);
    CHECK_TEXT(record.holder, "");
    CHECK_INT(record.duration_s, 0);
    CHECK_TEXT(record.renew_time, "");
}

static void writing_keeps_what_is_not_ours(void **state)
{
    AUTO(json) json_t *lease = parse(LEASE);
    const struct lease_record record = {.holder = "b_2",
                                        .duration_s = 20,
                                        .transitions = 5,
                                        .acquire_time = "2026-01-02T04:00:00.000000Z",
                                        .renew_time = "2026-01-02T04:00:00.000000Z"};
    AUTO(json) json_t *written = lease_record_write(lease, "n", "l", &record);
    AUTO(free) char *before = js_print(lease);
    struct lease_record read;

    (void)state;
    lease_record_read(written, &read);
    CHECK_TEXT(read.holder, "b_2");
    CHECK_INT(read.duration_s, 20);
    CHECK_INT(read.transitions, 5);
    CHECK_TEXT(js_text_or(written, "/metadata/resourceVersion", ""), "12");
    CHECK_TEXT(js_text_or(written, "/metadata/labels/team", ""), "a");
    CHECK_TEXT(js_text_or(written, "/spec/strategy", ""), "Old");
    CHECK_NULL(js_at(written, "/metadata/managedFields"));
    CHECK_NOT_NULL(strstr(before, "managedFields")); /* the source is untouched */
}

static void writes_a_new_lease(void **state)
{
    const struct lease_record record = {.holder = "b_2",
                                        .duration_s = 15,
                                        .acquire_time = "2026-01-02T04:00:00.000000Z",
                                        .renew_time = "2026-01-02T04:00:00.000000Z"};
    AUTO(json) json_t *written = lease_record_write(NULL, "n", "l", &record);
    AUTO(free) char *text = js_print(written);

    (void)state;
    CHECK_TEXT(text,
               "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{"
               "\"namespace\":\"n\",\"name\":\"l\"},\"spec\":{\"holderIdentity\":\"b_2\","
               "\"leaseDurationSeconds\":15,\"leaseTransitions\":0,\"acquireTime\":"
               "\"2026-01-02T04:00:00.000000Z\",\"renewTime\":\"2026-01-02T04:00:00.000000Z\"}}");
}

static void only_the_spec_makes_a_record_another(void **state)
{
    AUTO(json) json_t *a = parse(LEASE);
    AUTO(json) json_t *b = parse(LEASE);
    AUTO(json) json_t *none = parse("{\"metadata\":{\"name\":\"l\"}}");

    (void)state;
    CHECK(lease_record_equal(a, b));
    json_object_set_new(json_object_get(b, "metadata"), "resourceVersion", json_string("13"));
    CHECK(lease_record_equal(a, b));
    json_object_set_new(json_object_get(b, "spec"), "renewTime", json_string("later"));
    CHECK(!lease_record_equal(a, b));
    CHECK(!lease_record_equal(a, NULL));
    CHECK(!lease_record_equal(NULL, a));
    CHECK(lease_record_equal(NULL, NULL));
    CHECK(!lease_record_equal(a, none));
    CHECK(lease_record_equal(none, none));
    CHECK(!lease_record_equal(none, NULL));
}

static void c44_a_lease_is_taken_for_its_holders_duration_from_when_we_saw_it_change(void **state)
{
    const struct {
        const char *holder;
        int64_t duration_s;
        int64_t age_ms;
        enum lease_verdict expected;
    } cases[] = {
        {"", 15, 0, LEASE_FREE},
        {"me", 15, 0, LEASE_OURS},
        {"me", 15, 1000000, LEASE_OURS},
        {"other", 15, 0, LEASE_TAKEN},
        {"other", 15, 14999, LEASE_TAKEN},
        {"other", 15, 15000, LEASE_FREE},
        {"other", 60, 59999, LEASE_TAKEN},
        {"other", 1, 1000, LEASE_FREE},
        {"other", 0, 9999, LEASE_TAKEN}, /* none written: ours, 10 s here */
        {"other", -5, 9999, LEASE_TAKEN},
        {"other", 0, 10000, LEASE_FREE},
        {"other", INT64_MAX, INT64_C(1) << 40, LEASE_TAKEN}, /* no overflow */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct lease_record record = {.holder = cases[i].holder,
                                            .duration_s = cases[i].duration_s,
                                            .renew_time = "1999-01-01T00:00:00.000000Z"};
        CHECK_INT(lease_record_judge(&record, "me", 5000, 5000 + cases[i].age_ms, 10000),
                  cases[i].expected);
    }
}

static void c43_timings_are_checked(void **state)
{
    const struct {
        int64_t lease_ms;
        int64_t renew_ms;
        int64_t retry_ms;
        bool is_good;
    } cases[] = {
        {0, 0, 0, true},           {15000, 10000, 2000, true},
        {3000, 2000, 500, true},   {10000, 10000, 2000, false},
        {9000, 0, 0, false},       {15000, 2400, 2000, false},
        {15000, 2401, 2000, true}, {900, 500, 100, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct lease_config config = {.namespace_ = "n",
                                            .name = "l",
                                            .lease_duration_ms = cases[i].lease_ms,
                                            .renew_deadline_ms = cases[i].renew_ms,
                                            .retry_period_ms = cases[i].retry_ms};
        struct err err;
        if (cases[i].is_good) {
            CHECK_OK(lease_config_check(&config, &err), &err);
        } else {
            CHECK_FAILS(lease_config_check(&config, &err), &err, ERR_TERMINAL,
                        "InvalidLeaseTiming");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_record),
        cmocka_unit_test(writing_keeps_what_is_not_ours),
        cmocka_unit_test(writes_a_new_lease),
        cmocka_unit_test(only_the_spec_makes_a_record_another),
        cmocka_unit_test(c44_a_lease_is_taken_for_its_holders_duration_from_when_we_saw_it_change),
        cmocka_unit_test(c43_timings_are_checked),
    };

    js_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
