#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "controller/base/metrics.h"
#include "controller/kube/object.h"
#include "controller/runtime/cache.h"
#include "tests/check.h"
#include "tests/unit/runtime/eventually.h"

/* ---- a codec: the payload is the text of /spec/text ---- */

static bool read_text(struct jsonr *reader, struct arena *scratch, const char **ret)
{
    struct str name;
    if (!jsonr_object_begin(reader)) {
        return false;
    }
    bool found = false;
    while (jsonr_member(reader, &name)) {
        if (str_equal(name, STR("text"))) {
            found = jsonr_string(reader, scratch, ret);
        } else {
            jsonr_skip(reader);
        }
    }
    return found;
}

static int pack(struct str json, struct arena *scratch, struct buf *payload,
                struct record_head *ret_head, struct err *err)
{
    struct jsonr reader;
    struct str name;
    struct kube_meta meta;
    const char *text = NULL;
    if (kube_object_meta(json, scratch, &meta, err) < 0) {
        return -1;
    }
    jsonr_init(&reader, json);
    if (jsonr_object_begin(&reader)) {
        while (jsonr_member(&reader, &name)) {
            if (!str_equal(name, STR("spec"))) {
                jsonr_skip(&reader);
            } else if (!read_text(&reader, scratch, &text)) {
                return err_set(err, ERR_TERMINAL, "InvalidObject", "no text");
            }
        }
    }
    if (!text) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "no text");
    }
    buf_append_text(payload, text);
    ret_head->key =
        str_from(meta.namespace_[0] ? arena_printf(scratch, "%s/%s", meta.namespace_, meta.name)
                                    : meta.name);
    ret_head->uid = str_from(meta.uid);
    ret_head->resource_version = str_from(meta.resource_version);
    return 0;
}

static const struct kube_resource things = {
    .group = "test", .version = "v1", .plural = "things", .kind = "Thing"};
static const struct codec codec = {.resource = &things, .pack = pack};

/* ---- a cache whose changes are written down ---- */

struct fixture {
    struct cache *cache;
    struct watch_handler watch;
    char heard[4096]; /* "+a=x " added, "~a=x>y " updated, "-a=x " removed; "!" while initial */
};

static void hear(struct fixture *fixture, const char *format, ...) PRINTF_LIKE(2, 3);
static void hear(struct fixture *fixture, const char *format, ...)
{
    va_list arguments;
    size_t length = strlen(fixture->heard);
    va_start(arguments, format);
    (void)vsnprintf(fixture->heard + length, sizeof(fixture->heard) - length, format, arguments);
    va_end(arguments);
}

static int payload_len(const struct record *record)
{
    return (int)record_payload(record).len;
}

static void on_change(void *context, enum cache_change change, const struct record *before,
                      const struct record *after, bool initial)
{
    struct fixture *fixture = context;
    const struct record *either = after ? after : before;
    const char *first = initial ? "!" : "";
    const char *key = record_key(either);
    CHECK((change == CACHE_ADDED) == (before == NULL));
    CHECK((change == CACHE_REMOVED) == (after == NULL));
    if (before && after) {
        hear(fixture, "%s~%s=%.*s>%.*s ", first, key, payload_len(before),
             record_payload(before).ptr, payload_len(after), record_payload(after).ptr);
    } else {
        hear(fixture, "%s%s%s=%.*s ", first, after ? "+" : "-", key, payload_len(either),
             record_payload(either).ptr);
    }
    /* What is told is visible already. */
    const struct record *live = cache_get(fixture->cache, key);
    if (change == CACHE_REMOVED) {
        CHECK(!live || live != before);
    } else {
        CHECK(live == after);
    }
    record_unref(live);
}

static void fixture_init(struct fixture *fixture)
{
    *fixture = (struct fixture){.cache = cache_new(&codec)};
    cache_listen(fixture->cache, on_change, fixture);
    fixture->watch = cache_watch_handler(fixture->cache);
}

static void fixture_release(struct fixture *fixture)
{
    cache_free(fixture->cache);
}

/* Compare what was heard since the last time. */
static void check_heard(struct fixture *fixture, const char *expected)
{
    CHECK_TEXT(fixture->heard, expected);
    fixture->heard[0] = '\0';
}

static char *object_of(const char *name, const char *uid, const char *version, const char *text)
{
    return xasprintf("{\"kind\":\"Thing\",\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\","
                     "\"resourceVersion\":\"%s\"},\"spec\":{\"text\":\"%s\"}}",
                     name, uid, version, text);
}

static void event_of(struct fixture *fixture, enum watch_event type, const char *name,
                     const char *uid, const char *version, const char *text)
{
    AUTO(free) char *json = object_of(name, uid, version, text);
    fixture->watch.event(fixture->watch.context, type, str_from(json));
}

static void event(struct fixture *fixture, enum watch_event type, const char *name,
                  const char *version, const char *text)
{
    event_of(fixture, type, name, name, version, text);
}

static void view_begin(struct fixture *fixture)
{
    fixture->watch.replace_begin(fixture->watch.context);
}

static void view_object(struct fixture *fixture, const char *name, const char *version,
                        const char *text)
{
    AUTO(free) char *json = object_of(name, name, version, text);
    fixture->watch.replace_object(fixture->watch.context, str_from(json));
}

static void view_end(struct fixture *fixture, const char *version)
{
    fixture->watch.replace_end(fixture->watch.context, version);
}

static void written(struct fixture *fixture, const char *name, const char *uid, const char *version,
                    const char *text)
{
    AUTO(free) char *json = object_of(name, uid, version, text);
    cache_store_written(fixture->cache, str_from(json));
}

/* The payload under a key as a heap string; NULL when there is none. */
static char *text_at(struct fixture *fixture, const char *key)
{
    AUTO(record) const struct record *record = cache_get(fixture->cache, key);
    return record ? xmemdup0(record_payload(record).ptr, record_payload(record).len) : NULL;
}

static void check_text_at(struct fixture *fixture, const char *key, const char *expected)
{
    AUTO(free) char *text = text_at(fixture, key);
    CHECK_NOT_NULL(text);
    CHECK_TEXT(text, expected);
}

static void load(struct fixture *fixture, const char *const *names, const char *version)
{
    view_begin(fixture);
    for (; *names; names++) {
        view_object(fixture, *names, version, "old");
    }
    view_end(fixture, version);
    fixture->heard[0] = '\0';
}

/* ---- single events ---- */

static void events_change_the_view_in_order(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){NULL}, "1");
    event(&fixture, WATCH_ADDED, "a", "2", "x");
    event(&fixture, WATCH_ADDED, "b", "3", "y");
    event(&fixture, WATCH_MODIFIED, "a", "4", "z");
    event(&fixture, WATCH_DELETED, "b", "5", "y");
    check_heard(&fixture, "+a=x +b=y ~a=x>z -b=y ");
    CHECK_INT(cache_count(fixture.cache), 1);
    AUTO(record) const struct record *record = cache_get(fixture.cache, "a");
    CHECK_TEXT(record_key(record), "a");
    CHECK_TEXT(record_resource_version(record), "4");
    CHECK_NULL(cache_get(fixture.cache, "b"));
    fixture_release(&fixture);
}

static void c28_older_and_equal_events_are_dropped(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    event(&fixture, WATCH_ADDED, "a", "18446744073709551617", "new"); /* past 64 bits */
    fixture.heard[0] = '\0';
    event(&fixture, WATCH_MODIFIED, "a", "9999", "old");
    event(&fixture, WATCH_MODIFIED, "a", "18446744073709551616", "old");
    event(&fixture, WATCH_MODIFIED, "a", "18446744073709551617", "same");
    check_heard(&fixture, "");
    check_text_at(&fixture, "a", "new");
    event(&fixture, WATCH_MODIFIED, "a", "18446744073709551618", "newer");
    check_heard(&fixture, "~a=new>newer ");
    fixture_release(&fixture);
}

static void c30_another_object_of_the_name_is_an_end_and_a_beginning(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    event_of(&fixture, WATCH_ADDED, "a", "uid-1", "1", "x");
    event_of(&fixture, WATCH_MODIFIED, "a", "uid-2", "5", "y");
    check_heard(&fixture, "+a=x -a=x +a=y ");
    /* The late end of the first object does not take the second one away. */
    event_of(&fixture, WATCH_DELETED, "a", "uid-1", "3", "x");
    check_heard(&fixture, "");
    check_text_at(&fixture, "a", "y");
    fixture_release(&fixture);
}

static void namespaced_objects_have_both_names_in_their_key(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    struct str json = STR("{\"metadata\":{\"name\":\"n\",\"namespace\":\"ns\",\"uid\":\"u\","
                          "\"resourceVersion\":\"1\"},\"spec\":{\"text\":\"x\"}}");
    fixture.watch.event(fixture.watch.context, WATCH_ADDED, json);
    check_text_at(&fixture, "ns/n", "x");
    fixture.watch.event(fixture.watch.context, WATCH_DELETED, json);
    check_heard(&fixture, "+ns/n=x -ns/n=x ");
    fixture_release(&fixture);
}

/* ---- whole views ---- */

static void the_first_view_is_told_as_initial_and_syncs(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    CHECK(!cache_is_synced(fixture.cache));
    view_begin(&fixture);
    view_object(&fixture, "a", "3", "x");
    CHECK_INT(cache_count(fixture.cache), 0); /* not before it is whole */
    check_heard(&fixture, "");
    view_end(&fixture, "7");
    check_heard(&fixture, "!+a=x ");
    CHECK(cache_is_synced(fixture.cache));
    fixture_release(&fixture);
}

static void an_empty_first_view_syncs_too(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    view_begin(&fixture);
    view_end(&fixture, "7");
    CHECK(cache_is_synced(fixture.cache));
    fixture_release(&fixture);
}

static void c26_a_new_view_reports_exactly_what_differs(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"same", "changed", "gone", NULL}, "10");
    const struct record *before = cache_get(fixture.cache, "same");
    view_begin(&fixture);
    view_object(&fixture, "same", "10", "old");
    view_object(&fixture, "changed", "15", "new");
    view_object(&fixture, "added", "16", "new");
    check_heard(&fixture, "");
    check_text_at(&fixture, "changed", "old"); /* readers see the old view until the end */
    view_end(&fixture, "20");
    CHECK_NOT_NULL(strstr(fixture.heard, "~changed=old>new "));
    CHECK_NOT_NULL(strstr(fixture.heard, "+added=new "));
    CHECK_NOT_NULL(strstr(fixture.heard, "-gone=old "));
    CHECK_INT(strlen(fixture.heard), strlen("~changed=old>new +added=new -gone=old "));
    CHECK_INT(cache_count(fixture.cache), 3);
    const struct record *after = cache_get(fixture.cache, "same");
    CHECK(before == after); /* shared, not doubled */
    record_unref(before);
    record_unref(after);
    fixture_release(&fixture);
}

static void c26_a_hundred_that_vanished_unseen_are_reported(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    view_begin(&fixture);
    for (int i = 0; i < 100; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "t%d", i);
        view_object(&fixture, name, "5", "x");
    }
    view_end(&fixture, "5");
    fixture.heard[0] = '\0';
    view_begin(&fixture);
    view_end(&fixture, "900");
    int removed = 0;
    for (const char *at = fixture.heard; (at = strchr(at, '-')); at++) {
        removed++;
    }
    CHECK_INT(removed, 100);
    CHECK_INT(cache_count(fixture.cache), 0);
    fixture_release(&fixture);
}

static void a_view_that_breaks_off_leaves_no_trace(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", NULL}, "10");
    view_begin(&fixture);
    view_object(&fixture, "ghost", "12", "x");
    view_begin(&fixture);
    view_object(&fixture, "a", "10", "old");
    view_end(&fixture, "13");
    check_heard(&fixture, "");
    CHECK_NULL(cache_get(fixture.cache, "ghost"));
    fixture_release(&fixture);
}

static void within_a_view_the_later_word_counts(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    view_begin(&fixture);
    view_object(&fixture, "twice", "2", "first");
    view_object(&fixture, "taken-back", "3", "x");
    view_object(&fixture, "twice", "4", "second");
    AUTO(free) char *json = object_of("taken-back", "taken-back", "5", "x");
    fixture.watch.replace_remove(fixture.watch.context, str_from(json));
    AUTO(free) char *unknown = object_of("unknown", "unknown", "5", "x");
    fixture.watch.replace_remove(fixture.watch.context, str_from(unknown));
    view_end(&fixture, "6");
    check_heard(&fixture, "!+twice=second ");
    fixture_release(&fixture);
}

static void a_restored_cluster_is_believed_though_its_versions_went_back(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", "b", NULL}, "1000");
    view_begin(&fixture);
    view_object(&fixture, "a", "400", "restored");
    view_end(&fixture, "500");
    check_heard(&fixture, "~a=old>restored -b=old ");
    event(&fixture, WATCH_MODIFIED, "a", "501", "alive");
    check_heard(&fixture, "~a=restored>alive ");
    fixture_release(&fixture);
}

/* ---- our own writes ---- */

static void c29_a_write_is_visible_at_once_and_told_with_its_event(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", NULL}, "10");
    written(&fixture, "a", "a", "11", "ours");
    check_text_at(&fixture, "a", "ours");
    check_heard(&fixture, "");
    event(&fixture, WATCH_MODIFIED, "a", "11", "ours");
    check_heard(&fixture, "~a=old>ours ");
    event(&fixture, WATCH_MODIFIED, "a", "11", "ours");
    check_heard(&fixture, "");
    fixture_release(&fixture);
}

/* Another one changed the object between our read and our write: the answer to our write includes
 * that, and its event is older than what we know. It must be told all the same. */
static void c29_a_foreign_change_hidden_in_our_write_is_told(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", NULL}, "10");
    written(&fixture, "a", "a", "12", "theirs+ours");
    event(&fixture, WATCH_MODIFIED, "a", "11", "theirs");
    check_heard(&fixture, "~a=old>theirs+ours ");
    check_text_at(&fixture, "a", "theirs+ours"); /* no step back */
    event(&fixture, WATCH_MODIFIED, "a", "12", "theirs+ours");
    check_heard(&fixture, "");
    fixture_release(&fixture);
}

static void several_writes_before_their_events_are_one_change(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", NULL}, "10");
    written(&fixture, "a", "a", "11", "one");
    written(&fixture, "a", "a", "12", "two");
    event(&fixture, WATCH_MODIFIED, "a", "11", "one");
    check_heard(&fixture, "~a=old>two ");
    event(&fixture, WATCH_MODIFIED, "a", "12", "two");
    check_heard(&fixture, "");
    event(&fixture, WATCH_MODIFIED, "a", "13", "three");
    check_heard(&fixture, "~a=two>three ");
    fixture_release(&fixture);
}

static void a_removal_after_a_write_tells_what_was_seen(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", "b", NULL}, "10");
    written(&fixture, "a", "a", "11", "ours");
    event(&fixture, WATCH_DELETED, "a", "12", "ours");
    check_heard(&fixture, "-a=old ");
    event_of(&fixture, WATCH_ADDED, "a", "another", "13", "new");
    check_heard(&fixture, "+a=new ");
    fixture_release(&fixture);
}

static void writes_of_what_is_gone_old_or_another_are_ignored(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", NULL}, "10");
    written(&fixture, "gone", "gone", "20", "x");
    CHECK_NULL(cache_get(fixture.cache, "gone"));
    written(&fixture, "a", "another", "20", "x");
    written(&fixture, "a", "a", "9", "x");
    written(&fixture, "a", "a", "10", "x");
    cache_store_written(fixture.cache, STR("{\"kind\":\"Status\"}"));
    cache_store_written(fixture.cache, STR("not json"));
    check_text_at(&fixture, "a", "old");
    event(&fixture, WATCH_MODIFIED, "a", "10", "x");
    check_heard(&fixture, "");
    fixture_release(&fixture);
}

static void a_view_older_than_our_write_does_not_undo_it(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", "b", NULL}, "10");
    view_begin(&fixture);
    view_object(&fixture, "a", "10", "old");
    written(&fixture, "a", "a", "21", "ours");
    written(&fixture, "b", "b", "22", "ours"); /* the view will not name it */
    view_end(&fixture, "20");
    check_heard(&fixture, "");
    check_text_at(&fixture, "a", "ours");
    check_text_at(&fixture, "b", "ours");
    event(&fixture, WATCH_MODIFIED, "a", "21", "ours");
    check_heard(&fixture, "~a=old>ours ");

    /* But once only: a write whose event never comes was undone with its cluster. */
    view_begin(&fixture);
    view_object(&fixture, "a", "21", "ours");
    view_end(&fixture, "21");
    check_heard(&fixture, "-b=old ");
    fixture_release(&fixture);
}

/* ---- a kind that the server may lack ---- */

static void on_served(void *context, bool is_served)
{
    hear(context, is_served ? "served " : "not served ");
}

static void a_kind_that_comes_and_goes_is_told_but_not_how_it_began(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    cache_on_served(fixture.cache, on_served, &fixture);
    CHECK(cache_is_served(fixture.cache));
    fixture.watch.served(fixture.watch.context, false);
    load(&fixture, (const char *const[]){NULL}, "0");
    check_heard(&fixture, "");
    CHECK(cache_is_synced(fixture.cache));
    CHECK(!cache_is_served(fixture.cache));

    load(&fixture, (const char *const[]){"a", NULL}, "10");
    fixture.watch.served(fixture.watch.context, true);
    CHECK_NOT_NULL(strstr(fixture.heard, "served "));
    CHECK(cache_is_served(fixture.cache));
    fixture.heard[0] = '\0';

    fixture.watch.served(fixture.watch.context, false);
    check_heard(&fixture, "not served ");
    CHECK(!cache_is_served(fixture.cache));
    fixture_release(&fixture);
}

static void of_a_kind_that_went_nothing_is_left_that_was_just_written(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", NULL}, "10");
    written(&fixture, "a", "a", "21", "ours");
    fixture.watch.served(fixture.watch.context, false);
    view_begin(&fixture);
    view_end(&fixture, "0");
    check_heard(&fixture, "-a=old ");
    CHECK_INT(cache_count(fixture.cache), 0);
    fixture_release(&fixture);
}

/* ---- what cannot be read ---- */

static double invalid_count(void)
{
    AUTO(buf) struct buf page = BUF(1 << 20);
    CHECK(metrics_render(&page));
    static const char name[] = "tenantry_cache_invalid_objects_total{resource=\"things\"} ";
    const char *at = strstr(buf_text(&page), name);
    CHECK_NOT_NULL(at);
    return strtod(at + strlen(name), NULL);
}

static void unreadable_objects_are_left_out_and_counted(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    double before = invalid_count();
    static const char no_spec[] =
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"1\"}}";
    static const char no_uid[] =
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"\",\"resourceVersion\":\"1\"},"
        "\"spec\":{\"text\":\"x\"}}";
    static const char no_version[] =
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"},\"spec\":{\"text\":\"x\"}}";
    static const char *const bad[] = {"nonsense", "{}", no_spec, no_uid, no_version};
    enum { BAD = sizeof(bad) / sizeof(bad[0]) };
    view_begin(&fixture);
    for (size_t i = 0; i < BAD; i++) {
        fixture.watch.replace_object(fixture.watch.context, str_from(bad[i]));
    }
    view_end(&fixture, "1");
    for (size_t i = 0; i < BAD; i++) {
        fixture.watch.event(fixture.watch.context, WATCH_MODIFIED, str_from(bad[i]));
    }
    fixture.watch.event(fixture.watch.context, WATCH_DELETED, STR("nonsense"));
    CHECK_INT(cache_count(fixture.cache), 0);
    CHECK(invalid_count() == before + 2 * BAD + 1);
    fixture_release(&fixture);
}

static void an_object_that_becomes_unreadable_does_not_count_as_deleted(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", NULL}, "10");
    struct str bad =
        STR("{\"metadata\":{\"name\":\"a\",\"uid\":\"a\",\"resourceVersion\":\"11\"},\"spec\":{}}");
    fixture.watch.event(fixture.watch.context, WATCH_MODIFIED, bad);
    view_begin(&fixture);
    fixture.watch.replace_object(fixture.watch.context, bad);
    view_end(&fixture, "12");
    check_heard(&fixture, "");
    check_text_at(&fixture, "a", "old");
    fixture.watch.event(fixture.watch.context, WATCH_DELETED, bad); /* its name can be read */
    check_heard(&fixture, "-a=old ");
    fixture_release(&fixture);
}

/* ---- the rest ---- */

static void health_is_what_the_watch_last_said(void **state)
{
    (void)state;
    struct fixture fixture;
    struct err err;
    fixture_init(&fixture);
    CHECK(!cache_is_healthy(fixture.cache, &err));
    CHECK_TEXT(err.reason, "NotSynced");
    fixture.watch.health(fixture.watch.context, NULL);
    CHECK(cache_is_healthy(fixture.cache, &err));
    struct err forbidden = {0};
    (void)err_set(&forbidden, ERR_RETRY, "Forbidden", "things is forbidden");
    fixture.watch.health(fixture.watch.context, &forbidden);
    CHECK(!cache_is_healthy(fixture.cache, &err));
    CHECK_TEXT(err.reason, "Forbidden");
    fixture_release(&fixture);
}

static bool count_until(void *context, const struct record *record)
{
    int *left = context;
    CHECK_NOT_NULL(record);
    return --*left > 0;
}

static void each_visits_all_until_told_to_stop(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    load(&fixture, (const char *const[]){"a", "b", "c", "d", NULL}, "10");
    int left = 100;
    cache_each(fixture.cache, count_until, &left);
    CHECK_INT(left, 96);
    left = 2;
    cache_each(fixture.cache, count_until, &left);
    CHECK_INT(left, 0);
    fixture_release(&fixture);
}

static void c27_a_record_outlives_its_place_while_it_is_held(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    event(&fixture, WATCH_ADDED, "a", "1", "x");
    const struct record *held = cache_get(fixture.cache, "a");
    event(&fixture, WATCH_DELETED, "a", "2", "x");
    fixture_release(&fixture);
    CHECK_TEXT(record_key(held), "a");
    CHECK_INT(record_payload(held).len, 1);
    record_unref(held);
}

static void a_record_costs_little_beside_its_content(void **state)
{
    (void)state;
    enum { COUNT = 20000, CONTENT_BYTES = 5 + 8 + 100 };
    struct fixture fixture;
    fixture_init(&fixture);
    char text[101];
    memset(text, 'x', 100);
    text[100] = '\0';
    view_begin(&fixture);
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "t%07d", i); /* 8 */
        view_object(&fixture, name, "12345", text);     /* 5 + 100 */
    }
    view_end(&fixture, "12345");
    CHECK_INT(cache_count(fixture.cache), COUNT);
    CHECK(cache_bytes(fixture.cache) <= (size_t)COUNT * (CONTENT_BYTES + 40));
    view_begin(&fixture);
    view_end(&fixture, "12346");
    CHECK(cache_bytes(fixture.cache) < 4096); /* and is given back */
    fixture_release(&fixture);
}

/* ---- readers beside the feed ---- */

struct readers {
    struct fixture *fixture;
    atomic_bool stop;
    atomic_int torn; /* records whose content is not of one piece */
    atomic_int reads;
};

/* Every payload of this test is one character, repeated. */
static bool is_whole(const struct record *record)
{
    struct str payload = record_payload(record);
    for (size_t i = 1; i < payload.len; i++) {
        if (payload.ptr[i] != payload.ptr[0]) {
            return false;
        }
    }
    return payload.len == 64 && record_key(record)[0] == 't';
}

static bool check_whole(void *context, const struct record *record)
{
    struct readers *readers = context;
    if (!is_whole(record)) {
        atomic_fetch_add(&readers->torn, 1);
    }
    return true;
}

static void *read_all(void *context)
{
    struct readers *readers = context;
    while (!atomic_load(&readers->stop)) {
        for (int i = 0; i < 20; i++) {
            char name[32];
            (void)snprintf(name, sizeof(name), "t%d", i);
            AUTO(record) const struct record *record = cache_get(readers->fixture->cache, name);
            if (record) {
                (void)check_whole(readers, record);
            }
        }
        cache_each(readers->fixture->cache, check_whole, readers);
        atomic_fetch_add(&readers->reads, 1);
    }
    return NULL;
}

static void *write_some(void *context)
{
    struct readers *readers = context;
    for (int version = 1000000; !atomic_load(&readers->stop); version += 7) {
        char name[32];
        char number[32];
        char text[65];
        (void)snprintf(name, sizeof(name), "t%d", version % 20);
        (void)snprintf(number, sizeof(number), "%d", version);
        memset(text, 'w', 64);
        text[64] = '\0';
        written(readers->fixture, name, name, number, text);
    }
    return NULL;
}

static void feed_one_round(struct fixture *fixture, int round)
{
    char number[32];
    char text[65];
    memset(text, 'a' + round % 20, 64);
    text[64] = '\0';
    view_begin(fixture);
    for (int i = 0; i < 20; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "t%d", i);
        (void)snprintf(number, sizeof(number), "%d", round * 100 + i + 1);
        if ((i + round) % 5 != 0) {
            view_object(fixture, name, number, text);
        }
    }
    (void)snprintf(number, sizeof(number), "%d", round * 100 + 50);
    view_end(fixture, number);
    for (int i = 0; i < 20; i += 3) {
        char name[32];
        (void)snprintf(name, sizeof(name), "t%d", i);
        (void)snprintf(number, sizeof(number), "%d", round * 100 + 60 + i);
        event(fixture, i % 2 ? WATCH_DELETED : WATCH_MODIFIED, name, number, text);
    }
}

static void c27_readers_and_writers_never_see_half_a_record(void **state)
{
    (void)state;
    struct fixture fixture = {.cache = cache_new(&codec)};
    fixture.watch = cache_watch_handler(fixture.cache);
    struct readers readers = {.fixture = &fixture};
    pthread_t threads[4];
    for (int i = 0; i < 3; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, read_all, &readers), 0);
    }
    CHECK_INT(pthread_create(&threads[3], NULL, write_some, &readers), 0);
    for (int round = 1; round < 400; round++) {
        feed_one_round(&fixture, round);
    }
    EVENTUALLY(atomic_load(&readers.reads) >= 10);
    atomic_store(&readers.stop, true);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_INT(atomic_load(&readers.torn), 0);
    fixture_release(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_change_the_view_in_order),
        cmocka_unit_test(c28_older_and_equal_events_are_dropped),
        cmocka_unit_test(c30_another_object_of_the_name_is_an_end_and_a_beginning),
        cmocka_unit_test(namespaced_objects_have_both_names_in_their_key),
        cmocka_unit_test(the_first_view_is_told_as_initial_and_syncs),
        cmocka_unit_test(an_empty_first_view_syncs_too),
        cmocka_unit_test(c26_a_new_view_reports_exactly_what_differs),
        cmocka_unit_test(c26_a_hundred_that_vanished_unseen_are_reported),
        cmocka_unit_test(a_view_that_breaks_off_leaves_no_trace),
        cmocka_unit_test(within_a_view_the_later_word_counts),
        cmocka_unit_test(a_restored_cluster_is_believed_though_its_versions_went_back),
        cmocka_unit_test(c29_a_write_is_visible_at_once_and_told_with_its_event),
        cmocka_unit_test(c29_a_foreign_change_hidden_in_our_write_is_told),
        cmocka_unit_test(several_writes_before_their_events_are_one_change),
        cmocka_unit_test(a_removal_after_a_write_tells_what_was_seen),
        cmocka_unit_test(writes_of_what_is_gone_old_or_another_are_ignored),
        cmocka_unit_test(a_view_older_than_our_write_does_not_undo_it),
        cmocka_unit_test(a_kind_that_comes_and_goes_is_told_but_not_how_it_began),
        cmocka_unit_test(of_a_kind_that_went_nothing_is_left_that_was_just_written),
        cmocka_unit_test(unreadable_objects_are_left_out_and_counted),
        cmocka_unit_test(an_object_that_becomes_unreadable_does_not_count_as_deleted),
        cmocka_unit_test(health_is_what_the_watch_last_said),
        cmocka_unit_test(each_visits_all_until_told_to_stop),
        cmocka_unit_test(c27_a_record_outlives_its_place_while_it_is_held),
        cmocka_unit_test(a_record_costs_little_beside_its_content),
        cmocka_unit_test(c27_readers_and_writers_never_see_half_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
