/* The watch against a server that plays a script: every way in which a list or a stream can go
 * wrong, and what is asked next. */
#include "controller/kube/watch.h"

#include <jansson.h>
#include <stdlib.h>

#include "controller/base/buf.h"
#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/base/metrics.h"
#include "tests/check.h"
#include "tests/support/child.h"
#include "tests/support/folder.h"
#include "tests/support/watch_recorder.h"

static const struct kube_resource WIDGETS = {"test.dev", "v1", "widgets", "Widget", true};

/* Fast enough for a test, with room for a slow machine. */
static const struct watch_timing FAST = {
    .stream_min_s = 300,
    .stream_spread_s = 0,
    .silence_ms = 60000,
    .silence_slack_ms = 1000,
    .hasty_ms = 0,
    .poll_ms = 50,
    .optional_poll_ms = 50,
    .late_ms = 1000,
    .backoff_base_ms = 10,
    .backoff_cap_ms = 100,
    .backoff_forget_ms = 10000,
};

struct stage {
    char *folder;
    char *script_path;
    char *kubeconfig_path;
    struct child server;
    struct kube_config config;
    struct kube_client *client;
    struct watch_recorder *recorder;
};

/* Start a server that gives these answers in turn (JSON, NULL-ended), and a watch of it. */
static void open_stage(struct stage *stage, const char *const *answers,
                       const struct watch_config *config, const struct watch_timing *timing)
{
    AUTO(buf) struct buf script = BUF(1U << 20);
    const struct kube_client_config client_config = {.name = "watch"};
    struct err err;

    *stage = (struct stage){.folder = folder_make()};
    for (const char *const *answer = answers; *answer; answer++) {
        buf_printf(&script, "%c%s", answer == answers ? '[' : ',', *answer);
    }
    buf_append_char(&script, ']');
    stage->script_path = folder_write(stage->folder, "script.json", buf_str(&script), 0600);
    child_start(&stage->server,
                (const char *[]){"python3", TEST_SCRIPT_SERVER, stage->script_path, NULL});
    AUTO(free) char *port = child_line(&stage->server);
    AUTO(free)
    char *kubeconfig = xasprintf(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\nusers: [{name: u, user: {}}]\n"
        "clusters: [{name: k, cluster: {server: \"http://127.0.0.1:%s\"}}]\n",
        port);
    stage->kubeconfig_path = folder_write(stage->folder, "kubeconfig", str_from(kubeconfig), 0600);
    CHECK_OK(kube_config_load(stage->kubeconfig_path, NULL, &stage->config, &err), &err);
    CHECK_OK(kube_client_new(&stage->config, &client_config, &stage->client, &err), &err);
    stage->recorder = recorder_start(stage->client, config, timing);
}

static const struct watch_config WATCH = {.resource = &WIDGETS, .namespace_ = "ns"};
static const struct watch_config PAGES = {
    .resource = &WIDGETS, .namespace_ = "ns", .no_watch_list = true};

static void close_stage(struct stage *stage)
{
    recorder_stop(stage->recorder);
    kube_client_free(stage->client);
    kube_config_release(&stage->config);
    child_stop(&stage->server);
    free(stage->script_path);
    free(stage->kubeconfig_path);
    folder_remove(stage->folder);
}

/* What the server was asked next. */
struct asked {
    char *query;
    int64_t port; /* of the client: tells connections apart */
    int64_t at_ms;
};

static struct asked next_asked_at(struct stage *stage, const char *path)
{
    AUTO(free) char *line = child_line(&stage->server);
    AUTO(json) json_t *json = NULL;
    struct err err;

    CHECK_OK(js_parse(str_from(line), 100000, &json, &err), &err);
    CHECK_TEXT(js_text_or(json, "/path", ""), path);
    return (struct asked){xstrdup(js_text_or(json, "/query", "")), js_int_or(json, "/port", 0),
                          js_int_or(json, "/ms", 0)};
}

static struct asked next_asked(struct stage *stage)
{
    return next_asked_at(stage, "/apis/test.dev/v1/namespaces/ns/widgets");
}

static void expect_asked(struct stage *stage, const char *query)
{
    struct asked asked = next_asked(stage);

    CHECK_TEXT(asked.query, query);
    free(asked.query);
}

static void expect_story(struct stage *stage, const char *story)
{
    AUTO(free) char *actual = recorder_story(stage->recorder);

    CHECK_TEXT(actual, story);
}

#define STREAM_LIST                                                                                \
    "watch=1&allowWatchBookmarks=true&timeoutSeconds=300&sendInitialEvents=true"                   \
    "&resourceVersionMatch=NotOlderThan&resourceVersion="
#define STREAM_FROM(version)                                                                       \
    "watch=1&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=" version

/* Pieces of scripts: events and lists as text in a JSON string. */
#define OBJECT(name, version)                                                                      \
    "{\\\"kind\\\":\\\"Widget\\\",\\\"metadata\\\":{\\\"name\\\":\\\"" name                        \
    "\\\",\\\"resourceVersion\\\":\\\"" version "\\\"}}"
#define EVENT(type, object) "{\\\"type\\\":\\\"" type "\\\",\\\"object\\\":" object "}\\n"
#define ADDED(name, version) EVENT("ADDED", OBJECT(name, version))
#define MODIFIED(name, version) EVENT("MODIFIED", OBJECT(name, version))
#define DELETED(name, version) EVENT("DELETED", OBJECT(name, version))
#define BOOKMARK(version)                                                                          \
    EVENT("BOOKMARK", "{\\\"kind\\\":\\\"Widget\\\",\\\"metadata\\\":{\\\"resourceVersion\\\":"    \
                      "\\\"" version "\\\"}}")
#define LISTED(version)                                                                            \
    EVENT("BOOKMARK", "{\\\"kind\\\":\\\"Widget\\\",\\\"metadata\\\":{\\\"resourceVersion\\\":"    \
                      "\\\"" version "\\\",\\\"annotations\\\":{\\\"k8s.io/initial-events-end"     \
                      "\\\":\\\"true\\\"}}}")
#define STATUS(code, reason)                                                                       \
    "{\\\"kind\\\":\\\"Status\\\",\\\"apiVersion\\\":\\\"v1\\\",\\\"metadata\\\":{},"              \
    "\\\"status\\\":\\\"Failure\\\",\\\"message\\\":\\\"as the script says\\\","                   \
    "\\\"reason\\\":\\\"" reason "\\\",\\\"code\\\":" code "}"
#define TOO_LARGE                                                                                  \
    "{\\\"kind\\\":\\\"Status\\\",\\\"status\\\":\\\"Failure\\\",\\\"message\\\":\\\"Too large "   \
    "resource version: 9, current: 5\\\",\\\"reason\\\":\\\"Timeout\\\",\\\"details\\\":{"         \
    "\\\"causes\\\":[{\\\"reason\\\":\\\"ResourceVersionTooLarge\\\"}],\\\"retryAfterSeconds"      \
    "\\\":0},\\\"code\\\":504}"
#define LIST(version, token, items)                                                                \
    "{\\\"kind\\\":\\\"WidgetList\\\",\\\"metadata\\\":{\\\"resourceVersion\\\":\\\"" version      \
    "\\\",\\\"continue\\\":\\\"" token "\\\"},\\\"items\\\":[" items "]}"
#define PARTIAL                                                                                    \
    "{\\\"kind\\\":\\\"PartialObjectMetadata\\\",\\\"metadata\\\":{\\\"name\\\":\\\"a\\\","        \
    "\\\"resourceVersion\\\":\\\"1\\\"}}"
#define GADGET "{\\\"kind\\\":\\\"Gadget\\\",\\\"metadata\\\":{\\\"name\\\":\\\"g\\\"}}"
#define BARE "{\\\"kind\\\":\\\"Widget\\\"}"
#define EXPIRED STATUS("410", "Expired")
#define GONE STATUS("410", "Gone")
#define BROKEN STATUS("500", "InternalError")
#define FORBIDDEN STATUS("403", "Forbidden")
#define NOT_SERVED "404 page not found\\n"
#define OK(body) "{\"body\":[\"" body "\"],\"end\":\"close\"}"
#define HOLD(body) "{\"body\":[\"" body "\"],\"end\":\"hold\"}"
#define CUT(body) "{\"body\":[\"" body "\"],\"end\":\"cut\"}"
#define FAIL(status, body) "{\"status\":" status ",\"body\":[\"" body "\"]}"

/* --- the plain way ---------------------------------------------------------------------------- */

static void a_watch_list_is_a_view_and_then_changes(void **state)
{
    static const char *const script[] = {HOLD(ADDED("a", "1") ADDED("b", "2") LISTED("5")
                                                  MODIFIED("a", "6") DELETED("b", "7")
                                                      ADDED("c", "8") BOOKMARK("9")),
                                         NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &WATCH, &FAST);
    recorder_wait(stage.recorder, "bookmark 9");
    expect_story(&stage, "begin\nobject a 1\nobject b 2\nend 5\nhealthy\nmodified a 6\n"
                         "deleted b 7\nadded c 8\nbookmark 9\n");
    expect_asked(&stage, STREAM_LIST);
    CHECK_INT(recorder_view_size(stage.recorder), 2);
    struct watch_stats stats;
    watch_stats_get(recorder_watch(stage.recorder), &stats);
    CHECK(stats.synced);
    CHECK_INT(stats.lists, 1);
    CHECK_INT(stats.watches, 1);
    CHECK_INT(stats.events, 3);
    CHECK(stats.last_byte_ms > 0 && stats.last_byte_ms <= clock_monotonic_ms());
    close_stage(&stage);
}

static void c25_any_chunking_is_the_same(void **state)
{
    static const char *const steps[] = {"1", "2", "7", "1000000"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        AUTO(free)
        char *answer = xasprintf("{\"chunk\":%s,\"end\":\"hold\",\"body\":[\"%s\"]}", steps[i],
                                 ADDED("Gr\xc3\xbc\xc3\x9f\\\\u00e9\xf0\x9f\x8e\x89", "1")
                                     LISTED("5") ADDED("b", "6"));
        const char *const script[] = {answer, NULL};
        struct stage stage;
        open_stage(&stage, script, &WATCH, &FAST);
        recorder_wait(stage.recorder, "added b 6");
        expect_story(&stage, "begin\nobject Gr\xc3\xbc\xc3\x9f\xc3\xa9\xf0\x9f\x8e\x89 1\nend 5\n"
                             "healthy\nadded b 6\n");
        close_stage(&stage);
    }
}

static void changes_before_the_view_is_complete_are_part_of_it(void **state)
{
    static const char *const script[] = {HOLD(ADDED("a", "1") ADDED("b", "2") MODIFIED("a", "3")
                                                  DELETED("b", "4") BOOKMARK("4") LISTED("5")),
                                         NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &WATCH, &FAST);
    recorder_wait(stage.recorder, "healthy");
    expect_story(&stage, "begin\nobject a 1\nobject b 2\nobject a 3\nremove b 4\nend 5\nhealthy\n");
    CHECK_INT(recorder_view_size(stage.recorder), 1);
    close_stage(&stage);
}

static void pages_are_one_view(void **state)
{
    static const char *const script[] = {
        OK(LIST("5", "t/1+=", OBJECT("a", "1") "," OBJECT("b", "2"))),
        OK(LIST("5", "", OBJECT("c", "3"))), HOLD(ADDED("d", "6")), NULL};
    const struct watch_config config = {.resource = &WIDGETS,
                                        .namespace_ = "ns",
                                        .no_watch_list = true,
                                        .page_size = 2,
                                        .label_selector = "a in (b,c),d!=e"};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &config, &FAST);
    recorder_wait(stage.recorder, "added d 6");
    expect_story(&stage, "begin\nobject a 1\nobject b 2\nobject c 3\nend 5\nhealthy\nadded d 6\n");
    expect_asked(&stage, "limit=2&labelSelector=a%20in%20%28b%2Cc%29%2Cd%21%3De");
    expect_asked(&stage,
                 "limit=2&continue=t%2F1%2B%3D&labelSelector=a%20in%20%28b%2Cc%29%2Cd%21%3De");
    expect_asked(&stage, STREAM_FROM("5") "&labelSelector=a%20in%20%28b%2Cc%29%2Cd%21%3De");
    close_stage(&stage);
}

static void c33_metadata_only_asks_for_it(void **state)
{
    static const char *const script[] = {HOLD(EVENT("ADDED", PARTIAL) LISTED("5")), NULL};
    const struct watch_config config = {
        .resource = &WIDGETS, .namespace_ = "ns", .metadata_only = true};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &config, &FAST);
    recorder_wait(stage.recorder, "healthy");
    expect_story(&stage, "begin\nobject a 1\nend 5\nhealthy\n");
    AUTO(free) char *line = child_line(&stage.server);
    CHECK_NOT_NULL(strstr(line, "as=PartialObjectMetadata"));
    close_stage(&stage);
}

/* --- streams that end ------------------------------------------------------------------------- */

static void a_stream_that_ends_goes_on_from_the_last_version(void **state)
{
    static const char *const script[] = {OK(ADDED("a", "1") LISTED("5")),
                                         OK(MODIFIED("a", "6")),
                                         OK(BOOKMARK("20")),
                                         OK(DELETED("a", "21")),
                                         HOLD(""),
                                         NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &WATCH, &FAST);
    expect_asked(&stage, STREAM_LIST);
    expect_asked(&stage, STREAM_FROM("5"));
    expect_asked(&stage, STREAM_FROM("6"));
    expect_asked(&stage, STREAM_FROM("20"));
    expect_asked(&stage, STREAM_FROM("21"));
    expect_story(&stage, "begin\nobject a 1\nend 5\nhealthy\nmodified a 6\nbookmark 20\n"
                         "deleted a 21\n");
    close_stage(&stage);
}

static void half_an_event_is_not_handed_on_and_comes_again(void **state)
{
    static const char *const script[] = {
        OK(ADDED("a", "1") LISTED("5")),
        CUT(MODIFIED("a", "6") "{\\\"type\\\":\\\"DELETED\\\",\\\"object\\\":{"
                               "\\\"kind\\\":"),
        HOLD(DELETED("a", "7")), NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &WATCH, &FAST);
    recorder_wait(stage.recorder, "deleted a 7");
    expect_asked(&stage, STREAM_LIST);
    expect_asked(&stage, STREAM_FROM("5"));
    expect_asked(&stage, STREAM_FROM("6"));
    expect_story(&stage, "begin\nobject a 1\nend 5\nhealthy\nmodified a 6\n"
                         "deleted a 7\n");
    close_stage(&stage);
}

static void c19_a_view_that_breaks_off_is_begun_again(void **state)
{
    static const char *const script[] = {CUT(ADDED("a", "1") ADDED("b", "2")), OK(ADDED("a", "1")),
                                         HOLD(ADDED("c", "3") LISTED("5")), NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &WATCH, &FAST);
    recorder_wait(stage.recorder, "healthy");
    expect_story(&stage, "begin\nobject a 1\nobject b 2\ntrouble ConnectionLost\nbegin\n"
                         "object a 1\ntrouble WatchEnded\nbegin\nobject c 3\nend 5\nhealthy\n");
    CHECK_INT(recorder_view_size(stage.recorder), 1);
    for (int i = 0; i < 3; i++) {
        expect_asked(&stage, STREAM_LIST);
    }
    close_stage(&stage);
}

/* A server that ends every stream at once would otherwise be asked thousands of times a second. */
static void c24_a_stream_that_ends_at_once_without_an_event_is_a_failure(void **state)
{
    static const char *const script[] = {OK(ADDED("a", "1") LISTED("5")), OK(""), OK(""), OK(""),
                                         HOLD(ADDED("b", "6")),           NULL};
    struct watch_timing timing = FAST;
    struct stage stage;
    int64_t before_ms = 0;

    (void)state;
    timing.hasty_ms = 30000;
    timing.backoff_base_ms = 100;
    timing.backoff_cap_ms = 1000;
    open_stage(&stage, script, &WATCH, &timing);
    recorder_wait(stage.recorder, "added b 6");
    expect_story(&stage, "begin\nobject a 1\nend 5\nhealthy\ntrouble WatchTooShort\nhealthy\n"
                         "added b 6\n");
    expect_asked(&stage, STREAM_LIST);
    for (int i = 0; i < 4; i++) {
        struct asked asked = next_asked(&stage);
        CHECK_TEXT(asked.query, STREAM_FROM("5"));
        /* The first follows at once, the others after 100, 200 and 400 ms, and up to twice that. */
        CHECK(i == 0 || asked.at_ms - before_ms >= 50 << i);
        before_ms = asked.at_ms;
        free(asked.query);
    }
    close_stage(&stage);
}

static void a_fault_in_the_stream_costs_no_list(void **state)
{
    static const char *const script[] = {OK(ADDED("a", "1") LISTED("5")),
                                         OK(ADDED("b", "6") EVENT("ERROR", BROKEN)),
                                         OK("no json at all\\n"),
                                         FAIL("500", BROKEN),
                                         FAIL("403", FORBIDDEN),
                                         HOLD(ADDED("c", "7")),
                                         NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &WATCH, &FAST);
    recorder_wait(stage.recorder, "added c 7");
    expect_asked(&stage, STREAM_LIST);
    expect_asked(&stage, STREAM_FROM("5"));
    for (int i = 0; i < 4; i++) {
        expect_asked(&stage, STREAM_FROM("6"));
    }
    expect_story(&stage, "begin\nobject a 1\nend 5\nhealthy\nadded b 6\ntrouble ServerError\n"
                         "trouble InvalidEvent\ntrouble ServerError\n"
                         "trouble Forbidden\nhealthy\nadded c 7\n");
    close_stage(&stage);
}

static void c24_the_server_is_not_asked_sooner_than_it_says(void **state)
{
    static const char *const script[] = {OK(ADDED("a", "1") LISTED("5")),
                                         "{\"status\":429,\"headers\":{\"Retry-After\":\"1\"},"
                                         "\"body\":[\"" STATUS("429", "TooManyRequests") "\"]}",
                                         HOLD(""), NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &WATCH, &FAST);
    struct asked first = next_asked(&stage);
    struct asked second = next_asked(&stage);
    struct asked third = next_asked(&stage);
    CHECK_TEXT(second.query, STREAM_FROM("5"));
    CHECK_TEXT(third.query, STREAM_FROM("5"));
    CHECK(third.at_ms - second.at_ms >= 1000);
    free(first.query);
    free(second.query);
    free(third.query);
    close_stage(&stage);
}

/* --- versions in doubt ------------------------------------------------------------------------ */

static void c22_an_expired_version_leads_to_a_new_view(void **state)
{
    static const char *const answers[] = {
        FAIL("410", EXPIRED),     FAIL("410", GONE),      OK(EVENT("ERROR", EXPIRED)),
        OK(EVENT("ERROR", GONE)), FAIL("504", TOO_LARGE), OK(EVENT("ERROR", TOO_LARGE)),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        const char *const script[] = {OK(ADDED("a", "1") LISTED("5")), answers[i],
                                      HOLD(ADDED("b", "2") LISTED("3")), NULL};
        struct stage stage;
        open_stage(&stage, script, &WATCH, &FAST);
        recorder_wait(stage.recorder, "end 3");
        expect_asked(&stage, STREAM_LIST);
        expect_asked(&stage, STREAM_FROM("5"));
        expect_asked(&stage, STREAM_LIST);
        CHECK(!recorder_view_has(stage.recorder, "a"));
        CHECK(recorder_view_has(stage.recorder, "b"));
        CHECK_INT(recorder_count(stage.recorder, "trouble"), 0);
        close_stage(&stage);
    }
}

static void c18_pages_that_expire_are_replaced_by_one_whole_list(void **state)
{
    static const char *const script[] = {OK(LIST("5", "t", OBJECT("a", "1"))), FAIL("410", EXPIRED),
                                         OK(LIST("9", "", OBJECT("b", "6") "," OBJECT("c", "7"))),
                                         HOLD(""), NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &PAGES, &FAST);
    recorder_wait(stage.recorder, "healthy");
    expect_asked(&stage, "limit=500");
    expect_asked(&stage, "limit=500&continue=t");
    expect_asked(&stage, "resourceVersion=");
    expect_asked(&stage, STREAM_FROM("9"));
    expect_story(&stage, "begin\nobject a 1\nbegin\nobject b 6\nobject c 7\nend 9\nhealthy\n");
    close_stage(&stage);
}

static void c18_pages_of_different_versions_are_never_one_view(void **state)
{
    static const char *const script[] = {OK(LIST("5", "t", OBJECT("a", "1"))),
                                         OK(LIST("6", "", OBJECT("b", "2"))),
                                         OK(LIST("7", "", OBJECT("c", "3"))), HOLD(""), NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &PAGES, &FAST);
    recorder_wait(stage.recorder, "healthy");
    expect_story(&stage, "begin\nobject a 1\nobject b 2\ntrouble InvalidList\nbegin\nobject c 3\n"
                         "end 7\nhealthy\n");
    CHECK_INT(recorder_view_size(stage.recorder), 1);
    close_stage(&stage);
}

static void a_list_that_is_cut_off_is_no_view(void **state)
{
    static const char *const script[] = {
        OK("{\\\"metadata\\\":{\\\"resourceVersion\\\":\\\"5\\\"},\\\"items\\\":[" OBJECT("a",
                                                                                          "1")),
        OK(LIST("7", "", OBJECT("c", "3"))), HOLD(""), NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &PAGES, &FAST);
    recorder_wait(stage.recorder, "healthy");
    expect_story(&stage, "begin\nobject a 1\ntrouble InvalidList\nbegin\nobject c 3\nend 7\n"
                         "healthy\n");
    close_stage(&stage);
}

/* --- servers of other kinds ------------------------------------------------------------------- */

static void a_server_without_watch_list_is_listed(void **state)
{
    static const char *const answers[] = {FAIL("400", STATUS("400", "BadRequest")),
                                          FAIL("422", STATUS("422", "Invalid"))};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        const char *const script[] = {answers[i],
                                      OK(LIST("5", "", OBJECT("a", "1"))),
                                      FAIL("410", EXPIRED),
                                      OK(LIST("8", "", OBJECT("b", "7"))),
                                      HOLD(""),
                                      NULL};
        struct stage stage;
        open_stage(&stage, script, &WATCH, &FAST);
        recorder_wait(stage.recorder, "end 8");
        expect_asked(&stage, STREAM_LIST);
        expect_asked(&stage, "limit=500");
        expect_asked(&stage, STREAM_FROM("5"));
        expect_asked(&stage, "limit=500"); /* it is not asked for the other again */
        CHECK_INT(recorder_count(stage.recorder, "trouble"), 0);
        close_stage(&stage);
    }
}

static void c19_a_server_that_ignores_the_question_is_listed(void **state)
{
    static const char *const script[] = {HOLD(ADDED("a", "1")), OK(LIST("5", "", OBJECT("a", "1"))),
                                         HOLD(""), NULL};
    struct watch_timing timing = FAST;
    struct stage stage;

    (void)state;
    timing.silence_ms = 200;
    open_stage(&stage, script, &WATCH, &timing);
    recorder_wait(stage.recorder, "end 5");
    expect_asked(&stage, STREAM_LIST);
    expect_asked(&stage, "limit=500");
    close_stage(&stage);
}

static void c03_silence_ends_a_stream_and_its_connection_but_costs_no_list(void **state)
{
    static const char *const script[] = {HOLD(ADDED("a", "1") LISTED("5") BOOKMARK("6")),
                                         HOLD(ADDED("b", "7")), NULL};
    struct watch_timing timing = FAST;
    struct stage stage;

    (void)state;
    timing.silence_ms = 300;
    open_stage(&stage, script, &WATCH, &timing);
    recorder_wait(stage.recorder, "added b 7");
    struct asked first = next_asked(&stage);
    struct asked second = next_asked(&stage);
    CHECK_TEXT(second.query, STREAM_FROM("6"));
    CHECK(second.port != first.port);
    assert_in_range(second.at_ms - first.at_ms, 300, 2000);
    CHECK_INT(recorder_count(stage.recorder, "trouble"), 0);
    free(first.query);
    free(second.query);
    close_stage(&stage);
}

/* Two silences without a bookmark ever: it sends none, so silence means nothing there. */
static void c03_silence_is_borne_where_no_bookmarks_come(void **state)
{
    static const char *const script[] = {
        HOLD(ADDED("a", "1") LISTED("5")), HOLD(""), OK(LIST("5", "", OBJECT("a", "1"))),
        "{\"body\":[1500,\"" ADDED("b", "6") "\"],\"end\":\"hold\"}", NULL};
    struct watch_timing timing = FAST;
    struct stage stage;

    (void)state;
    timing.silence_ms = 200;
    open_stage(&stage, script, &WATCH, &timing);
    recorder_wait(stage.recorder, "added b 6");
    expect_asked(&stage, STREAM_LIST);
    expect_asked(&stage, STREAM_FROM("5"));
    expect_asked(&stage, "limit=1"); /* is the version still good? */
    expect_asked(&stage, STREAM_FROM("5"));
    expect_story(&stage, "begin\nobject a 1\nend 5\nhealthy\nadded b 6\n");
    close_stage(&stage);
}

static void c03_a_bookmark_makes_silence_count_again(void **state)
{
    static const char *const script[] = {HOLD(ADDED("a", "1") LISTED("5")),
                                         HOLD(""),
                                         OK(LIST("5", "", "")),
                                         OK(BOOKMARK("7")),
                                         HOLD(""),
                                         OK(LIST("9", "", "")),
                                         HOLD(ADDED("b", "8")),
                                         NULL};
    struct watch_timing timing = FAST;
    struct stage stage;

    (void)state;
    timing.silence_ms = 200;
    open_stage(&stage, script, &WATCH, &timing);
    recorder_wait(stage.recorder, "added b 8");
    expect_asked(&stage, STREAM_LIST);
    expect_asked(&stage, STREAM_FROM("5"));
    expect_asked(&stage, "limit=1");
    expect_asked(&stage, STREAM_FROM("5"));
    expect_asked(&stage, STREAM_FROM("7"));
    expect_asked(&stage, "limit=1");
    expect_asked(&stage, STREAM_FROM("7"));
    close_stage(&stage);
}

/* A store restored from a backup: the server takes our version and says nothing until its own has
 * come so far. */
static void c23_a_version_ahead_of_the_server_leads_to_a_new_view(void **state)
{
    static const char *const script[] = {OK(ADDED("a", "1") LISTED("1000")),
                                         HOLD(""),
                                         FAIL("500", BROKEN),
                                         OK(LIST("999", "", OBJECT("b", "2"))),
                                         HOLD(ADDED("b", "2") LISTED("999")),
                                         NULL};
    struct watch_timing timing = FAST;
    struct stage stage;

    (void)state;
    timing.silence_ms = 200;
    open_stage(&stage, script, &WATCH, &timing);
    recorder_wait(stage.recorder, "end 999");
    expect_asked(&stage, STREAM_LIST);
    expect_asked(&stage, STREAM_FROM("1000"));
    expect_asked(&stage, "limit=1");
    expect_asked(&stage, "limit=1");
    expect_asked(&stage, STREAM_LIST);
    CHECK_INT(recorder_view_size(stage.recorder), 1);
    CHECK(recorder_view_has(stage.recorder, "b"));
    close_stage(&stage);
}

static void a_kind_that_is_missing_is_polled_for(void **state)
{
    static const char *const script[] = {FAIL("404", NOT_SERVED),
                                         FAIL("404", NOT_SERVED),
                                         OK(ADDED("a", "1") LISTED("5")),
                                         FAIL("404", STATUS("404", "NotFound")),
                                         HOLD(LISTED("9")),
                                         NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &WATCH, &FAST);
    recorder_wait(stage.recorder, "end 9");
    recorder_wait_times(stage.recorder, "healthy", 2);
    expect_story(&stage, "trouble CRDMissing\nbegin\nobject a 1\nend 5\nhealthy\n"
                         "trouble CRDMissing\nbegin\nend 9\nhealthy\n");
    for (int i = 0; i < 3; i++) {
        expect_asked(&stage, STREAM_LIST);
    }
    expect_asked(&stage, STREAM_FROM("5"));
    expect_asked(&stage, STREAM_LIST);
    CHECK_INT(recorder_view_size(stage.recorder), 0);
    close_stage(&stage);
}

#define DEFINITION_FROM(seconds)                                                                   \
    "watch=1&allowWatchBookmarks=true&timeoutSeconds=" seconds                                     \
    "&resourceVersion=0&fieldSelector=metadata.name%3Dwidgets.test.dev"
/* As the server ends a stream whose time is over, only sooner. */
#define LAST(body) "{\"body\":[\"" body "\",700],\"end\":\"close\"}"

static void expect_definition_asked(struct stage *stage, const char *query)
{
    struct asked asked =
        next_asked_at(stage, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions");

    CHECK_TEXT(asked.query, query);
    free(asked.query);
}

/* It is a view of nothing, and no trouble, however often it comes and goes; and it is not asked for
 * again before its definition says that it may be there. */
static void c32_an_optional_kind_that_is_missing_is_told_by_its_definition(void **state)
{
    static const char *const script[] = {
        FAIL("404", NOT_SERVED), HOLD(BOOKMARK("2") ADDED("d", "3")),
        /* Not served yet, nor a second later. */
        FAIL("404", NOT_SERVED), LAST(ADDED("d", "3")), FAIL("404", NOT_SERVED),
        HOLD(ADDED("d", "3") MODIFIED("d", "4")), OK(ADDED("a", "1") LISTED("5")),
        /* It goes and comes back. */
        FAIL("404", STATUS("404", "NotFound")), HOLD(DELETED("d", "6") ADDED("d", "7")),
        HOLD(LISTED("9")), NULL};
    struct watch_config config = WATCH;
    struct stage stage;

    (void)state;
    config.optional = true;
    open_stage(&stage, script, &config, &FAST);
    recorder_wait(stage.recorder, "end 9");
    recorder_wait_times(stage.recorder, "\nserved", 2);
    expect_story(&stage, "not served\nbegin\nend 0\nhealthy\nbegin\nobject a 1\nend 5\nserved\n"
                         "not served\nbegin\nend 0\nbegin\nend 9\nserved\n");
    expect_asked(&stage, STREAM_LIST);
    expect_definition_asked(&stage, DEFINITION_FROM("300"));
    expect_asked(&stage, STREAM_LIST);
    expect_definition_asked(&stage, DEFINITION_FROM("1"));
    expect_asked(&stage, STREAM_LIST);
    expect_definition_asked(&stage, DEFINITION_FROM("2"));
    expect_asked(&stage, STREAM_LIST);
    expect_asked(&stage, STREAM_FROM("5"));
    expect_definition_asked(&stage, DEFINITION_FROM("300"));
    expect_asked(&stage, STREAM_LIST);
    CHECK_INT(recorder_view_size(stage.recorder), 0);
    close_stage(&stage);
}

/* Refused, ended at once or with an error: then asking for the kind itself has to do. */
static void c32_an_optional_kind_is_polled_where_its_definition_cannot_be_watched(void **state)
{
    static const char *const script[] = {FAIL("404", NOT_SERVED), FAIL("403", FORBIDDEN),
                                         FAIL("404", NOT_SERVED), OK(""),
                                         FAIL("404", NOT_SERVED), OK(EVENT("ERROR", EXPIRED)),
                                         FAIL("404", NOT_SERVED), CUT(""),
                                         HOLD(LISTED("9")),       NULL};
    struct watch_config config = WATCH;
    struct stage stage;

    (void)state;
    config.optional = true;
    open_stage(&stage, script, &config, &FAST);
    recorder_wait(stage.recorder, "\nserved");
    expect_story(&stage, "not served\nbegin\nend 0\nhealthy\nbegin\nend 9\nserved\n");
    for (int i = 0; i < 4; i++) {
        expect_asked(&stage, STREAM_LIST);
        expect_definition_asked(&stage, DEFINITION_FROM("300"));
    }
    expect_asked(&stage, STREAM_LIST);
    close_stage(&stage);
}

/* A server in a hurry is late with its bookmarks: no reason to poll, which would take the time
 * below. */
static void c32_a_definition_that_nothing_is_heard_of_is_watched_again(void **state)
{
    static const char *const script[] = {FAIL("404", NOT_SERVED), HOLD(""),
                                         FAIL("404", NOT_SERVED), HOLD(""),
                                         HOLD(LISTED("9")),       NULL};
    struct watch_config config = WATCH;
    struct watch_timing timing = FAST;
    struct stage stage;

    (void)state;
    config.optional = true;
    timing.silence_ms = 200;
    timing.optional_poll_ms = INT64_C(3600) * 1000;
    open_stage(&stage, script, &config, &timing);
    recorder_wait(stage.recorder, "\nserved");
    for (int i = 0; i < 2; i++) {
        expect_asked(&stage, STREAM_LIST);
        expect_definition_asked(&stage, DEFINITION_FROM("300"));
    }
    expect_asked(&stage, STREAM_LIST);
    close_stage(&stage);
}

/* A quiet stream gives no byte for a minute: that it is open is health enough. */
static void an_open_stream_is_healthy_before_its_first_byte(void **state)
{
    static const char *const script[] = {OK(ADDED("a", "1") LISTED("5")), FAIL("500", BROKEN),
                                         HOLD(""), NULL};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &WATCH, &FAST);
    recorder_wait_times(stage.recorder, "healthy", 2);
    expect_story(&stage, "begin\nobject a 1\nend 5\nhealthy\ntrouble ServerError\nhealthy\n");
    close_stage(&stage);
}

/* --- what does not belong there ----------------------------------------------------------------
 */

static double ignored(const char *reason)
{
    AUTO(buf) struct buf page = BUF(1U << 20);
    AUTO(free)
    char *line =
        xasprintf("\ntenantry_watch_ignored_total{resource=\"widgets\",reason=\"%s\"} ", reason);

    CHECK(metrics_render(&page));
    const char *at = strstr(buf_text(&page), line);
    return at ? strtod(at + strlen(line), NULL) : 0;
}

static void c25_what_is_no_widget_is_left_out_and_counted(void **state)
{
    static const char *const script[] = {
        HOLD(ADDED("a", "1") EVENT("ADDED", GADGET) EVENT("ADDED", BARE) LISTED("5")
                 EVENT("WONDER", OBJECT("w", "6")) EVENT("MODIFIED", GADGET) ADDED("b", "7")),
        NULL};
    double wrong_kind = ignored("wrong_kind");
    double no_metadata = ignored("no_metadata");
    double unknown_type = ignored("unknown_type");
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &WATCH, &FAST);
    recorder_wait(stage.recorder, "added b 7");
    expect_story(&stage, "begin\nobject a 1\nend 5\nhealthy\nadded b 7\n");
    CHECK_INT(ignored("wrong_kind") - wrong_kind, 2);
    CHECK_INT(ignored("no_metadata") - no_metadata, 1);
    CHECK_INT(ignored("unknown_type") - unknown_type, 1);
    close_stage(&stage);
}

#define TWENTY "bbbbbbbbbbbbbbbbbbbb"
#define HUNDRED TWENTY TWENTY TWENTY TWENTY TWENTY

static void c25_an_object_over_the_maximum_is_trouble_that_is_told(void **state)
{
    static const char *const script[] = {OK(ADDED("a", "1") LISTED("5")), HOLD(ADDED(HUNDRED, "6")),
                                         HOLD(ADDED("c", "7")), NULL};
    const struct watch_config config = {
        .resource = &WIDGETS, .namespace_ = "ns", .object_max_bytes = 160};
    struct stage stage;

    (void)state;
    open_stage(&stage, script, &config, &FAST);
    recorder_wait(stage.recorder, "added c 7");
    expect_story(&stage, "begin\nobject a 1\nend 5\nhealthy\ntrouble LineTooLong\nhealthy\n"
                         "added c 7\n");
    close_stage(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_list_is_a_view_and_then_changes),
        cmocka_unit_test(c25_any_chunking_is_the_same),
        cmocka_unit_test(changes_before_the_view_is_complete_are_part_of_it),
        cmocka_unit_test(pages_are_one_view),
        cmocka_unit_test(c33_metadata_only_asks_for_it),
        cmocka_unit_test(a_stream_that_ends_goes_on_from_the_last_version),
        cmocka_unit_test(half_an_event_is_not_handed_on_and_comes_again),
        cmocka_unit_test(c19_a_view_that_breaks_off_is_begun_again),
        cmocka_unit_test(c24_a_stream_that_ends_at_once_without_an_event_is_a_failure),
        cmocka_unit_test(a_fault_in_the_stream_costs_no_list),
        cmocka_unit_test(c24_the_server_is_not_asked_sooner_than_it_says),
        cmocka_unit_test(c22_an_expired_version_leads_to_a_new_view),
        cmocka_unit_test(c18_pages_that_expire_are_replaced_by_one_whole_list),
        cmocka_unit_test(c18_pages_of_different_versions_are_never_one_view),
        cmocka_unit_test(a_list_that_is_cut_off_is_no_view),
        cmocka_unit_test(a_server_without_watch_list_is_listed),
        cmocka_unit_test(c19_a_server_that_ignores_the_question_is_listed),
        cmocka_unit_test(c03_silence_ends_a_stream_and_its_connection_but_costs_no_list),
        cmocka_unit_test(c03_silence_is_borne_where_no_bookmarks_come),
        cmocka_unit_test(c03_a_bookmark_makes_silence_count_again),
        cmocka_unit_test(c23_a_version_ahead_of_the_server_leads_to_a_new_view),
        cmocka_unit_test(a_kind_that_is_missing_is_polled_for),
        cmocka_unit_test(c32_an_optional_kind_that_is_missing_is_told_by_its_definition),
        cmocka_unit_test(c32_an_optional_kind_is_polled_where_its_definition_cannot_be_watched),
        cmocka_unit_test(c32_a_definition_that_nothing_is_heard_of_is_watched_again),
        cmocka_unit_test(an_open_stream_is_healthy_before_its_first_byte),
        cmocka_unit_test(c25_what_is_no_widget_is_left_out_and_counted),
        cmocka_unit_test(c25_an_object_over_the_maximum_is_trouble_that_is_told),
    };

    js_init();
    http_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
