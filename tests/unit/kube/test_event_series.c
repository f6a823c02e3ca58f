#include "controller/kube/event_series.h"

#include "controller/base/js.h"
#include "tests/check.h"

static const struct kube_resource TENANTS = {"tenantry.dev", "v1alpha1", "tenants", "Tenant",
                                             false};

static const struct event_object ACME = {.resource = &TENANTS, .name = "acme", .uid = "u-1"};

static struct event_content content(const char *reason, const char *note)
{
    return (struct event_content){.object = &ACME,
                                  .type = EVENT_WARNING,
                                  .reason = str_from(reason),
                                  .action = STR("Reconcile"),
                                  .note = str_from(note)};
}

static json_t *written(const struct event_series *series)
{
    static const struct event_source source = {"tenantry.dev/controller", "host-1"};
    AUTO(buf) struct buf body = BUF(EVENT_BODY_BYTES_MAX);
    json_t *json = NULL;
    struct err err;

    event_series_write(series, &source, &body);
    CHECK(!buf_failed(&body));
    CHECK_OK(js_parse(buf_str(&body), body.len, &json, &err), &err);
    return json;
}

static void an_event_says_who_what_and_when(void **state)
{
    struct event_content what = content("DatabaseUnreachable", "no route to host");
    struct event_series *series = event_series_new(&what, 0x1f);

    (void)state;
    series->count = 1;
    series->first_us = 1767323045000007;
    AUTO(json) json_t *event = written(series);
    CHECK_TEXT(js_text_or(event, "/apiVersion", ""), "events.k8s.io/v1");
    CHECK_TEXT(js_text_or(event, "/metadata/name", ""), "acme.1f");
    CHECK_TEXT(js_text_or(event, "/metadata/namespace", ""), "default");
    CHECK_TEXT(js_text_or(event, "/eventTime", ""), "2026-01-02T03:04:05.000007Z");
    CHECK_TEXT(js_text_or(event, "/type", ""), "Warning");
    CHECK_TEXT(js_text_or(event, "/reason", ""), "DatabaseUnreachable");
    CHECK_TEXT(js_text_or(event, "/action", ""), "Reconcile");
    CHECK_TEXT(js_text_or(event, "/note", ""), "no route to host");
    CHECK_TEXT(js_text_or(event, "/reportingController", ""), "tenantry.dev/controller");
    CHECK_TEXT(js_text_or(event, "/reportingInstance", ""), "host-1");
    CHECK_TEXT(js_text_or(event, "/regarding/apiVersion", ""), "tenantry.dev/v1alpha1");
    CHECK_TEXT(js_text_or(event, "/regarding/kind", ""), "Tenant");
    CHECK_TEXT(js_text_or(event, "/regarding/name", ""), "acme");
    CHECK_TEXT(js_text_or(event, "/regarding/uid", ""), "u-1");
    CHECK_NULL(js_at(event, "/regarding/namespace"));
    CHECK_NULL(js_at(event, "/series"));
    event_series_free(series);
}

static void a_series_tells_its_count_and_last_time(void **state)
{
    struct event_content what = content("R", "n");
    struct event_series *series = event_series_new(&what, 1);
    AUTO(buf) struct buf patch = BUF(EVENT_BODY_BYTES_MAX);

    (void)state;
    series->count = 7;
    series->last_us = 1767323045000007;
    AUTO(json) json_t *event = written(series);
    CHECK_INT(js_int_or(event, "/series/count", 0), 7);
    event_series_write_patch(series, &patch);
    CHECK_TEXT(buf_text(&patch), "{\"series\":{\"count\":7,\"lastObservedTime\":"
                                 "\"2026-01-02T03:04:05.000007Z\"}}");
    event_series_free(series);
}

static void c55_texts_are_cut_at_a_characters_edge(void **state)
{
    char reason[400] = "";
    char note[3000] = "";
    char name[300] = "";
    struct event_object object = {.resource = &TENANTS, .name = name};

    (void)state;
    memset(name, 'a', 253);
    name[235] = '-';
    memset(reason, 'R', 300);
    memset(note, 'x', 1023);
    memcpy(note + 1023, "\xf0\x9f\x8e\x89", 5); /* would pass the limit in its middle */
    struct event_content what = {
        .object = &object, .reason = str_from(reason), .action = STR("A"), .note = str_from(note)};
    struct event_series *series = event_series_new(&what, UINT64_MAX);
    CHECK_INT(strlen(series->reason), 128);
    CHECK_INT(strlen(series->note), 1023);
    CHECK(strlen(series->name) <= 253);
    CHECK_TEXT(series->name + 235, ".ffffffffffffffff"); /* not "-.": no DNS name */
    event_series_free(series);
}

static void bytes_that_are_no_utf8_do_not_grow_the_note(void **state)
{
    char note[EVENT_NOTE_BYTES_MAX + 1] = "";
    struct event_series *series = NULL;

    (void)state;
    memset(note, 0xff, EVENT_NOTE_BYTES_MAX);
    struct event_content what = content("R", note);
    series = event_series_new(&what, 1);
    series->count = 1;
    AUTO(json) json_t *event = written(series);
    CHECK(strlen(js_text_or(event, "/note", "")) <= EVENT_NOTE_BYTES_MAX);
    event_series_free(series);
}

static bool same(struct event_key a, struct event_key b)
{
    return memcmp(a.digest, b.digest, sizeof(a.digest)) == 0;
}

static void c55_every_part_counts_for_equality(void **state)
{
    struct event_content base = content("R", "n");
    struct event_object other_name = {.resource = &TENANTS, .name = "acm", .uid = "u-1"};
    struct event_object other_uid = {.resource = &TENANTS, .name = "acme", .uid = "u-2"};
    struct event_object other_place = {
        .resource = &TENANTS, .namespace_ = "x", .name = "acme", .uid = "u-1"};
    struct event_content others[] = {base, base, base, base, base, base, base};

    (void)state;
    others[0].object = &other_name;
    others[1].object = &other_uid;
    others[2].object = &other_place;
    others[3].type = EVENT_NORMAL;
    others[4].reason = STR("Rn");
    others[5].action = STR("Other");
    others[6].note = STR("m");
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        CHECK(!same(event_key_of(&base), event_key_of(&others[i])));
    }
    struct event_content again = content("R", "n");
    CHECK(same(event_key_of(&base), event_key_of(&again)));
}

/* The life of a series: which of its moments are worth a write. */
static void c55_the_first_and_second_are_written_then_now_and_then(void **state)
{
    const struct event_timing *timing = &EVENT_TIMING;
    const int64_t minute = 60000;
    struct event_series series = {.count = 1};

    (void)state;
    CHECK_INT(event_series_due(&series, timing, 0), EVENT_WRITE_DUE);
    series.written_count = 1;
    CHECK_INT(event_series_due(&series, timing, 0), EVENT_NOTHING_DUE);
    series.count = 2;
    CHECK_INT(event_series_due(&series, timing, 0), EVENT_WRITE_DUE);
    series.written_count = 2;
    series.count = 10000;
    series.last_ms = 29 * minute;
    CHECK_INT(event_series_due(&series, timing, 29 * minute), EVENT_NOTHING_DUE);
    series.last_ms = 30 * minute;
    CHECK_INT(event_series_due(&series, timing, 30 * minute), EVENT_WRITE_DUE);
    series.written_ms = 30 * minute;
    series.written_count = 10000;
    CHECK_INT(event_series_due(&series, timing, 30 * minute), EVENT_NOTHING_DUE);
    series.count = 10001;
    CHECK_INT(event_series_due(&series, timing, 35 * minute), EVENT_NOTHING_DUE);
    CHECK_INT(event_series_due(&series, timing, 36 * minute), EVENT_WRITE_DUE); /* it is over */
    series.written_count = 10001;
    CHECK_INT(event_series_due(&series, timing, 36 * minute), EVENT_OVER);
}

static void a_failed_write_waits_for_its_time(void **state)
{
    struct event_series series = {.count = 5, .written_count = 2, .retry_at_ms = 10000};

    (void)state;
    CHECK_INT(event_series_due(&series, &EVENT_TIMING, 9999), EVENT_NOTHING_DUE);
    CHECK_INT(event_series_due(&series, &EVENT_TIMING, 10000), EVENT_WRITE_DUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_says_who_what_and_when),
        cmocka_unit_test(a_series_tells_its_count_and_last_time),
        cmocka_unit_test(c55_texts_are_cut_at_a_characters_edge),
        cmocka_unit_test(bytes_that_are_no_utf8_do_not_grow_the_note),
        cmocka_unit_test(c55_every_part_counts_for_equality),
        cmocka_unit_test(c55_the_first_and_second_are_written_then_now_and_then),
        cmocka_unit_test(a_failed_write_waits_for_its_time),
    };

    js_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
