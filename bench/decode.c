/* Decoding and keeping watch events, without a server:
 *
 *   bench-decode events BYTES COUNT     print COUNT watch events of Tenants, about BYTES each
 *   bench-decode ours FILE              nanoseconds an event: split, decoded, packed into a record
 *   bench-decode jansson FILE           nanoseconds an event: split and parsed into a tree
 *   bench-decode memory COUNT           hold COUNT Tenants: bytes each in the cache, resident KiB
 *   bench-decode trees COUNT            hold COUNT as jansson trees: bytes each */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/base/js.h"
#include "controller/base/log.h"
#include "controller/kube/line_splitter.h"
#include "controller/kube/watch_line.h"
#include "reconcilers/model/codec.h"

enum { FILE_MAX_BYTES = 64 * 1024 * 1024, EVENT_MAX_BYTES = 1024 * 1024, MEASURE_NS = 1000000000 };

/* managedFields of about so many bytes: the sort of thing that fills an object and is never wanted.
 */
static void write_managed_fields(struct buf *out, int bytes)
{
    size_t end = out->len + (size_t)bytes;
    buf_append_text(out, "\"managedFields\":[{\"apiVersion\":\"tenantry.dev/v1alpha1\","
                         "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:spec\":{");
    for (int i = 0; out->len < end; i++) {
        buf_printf(out, "%s\"f:member%d\":{\".\":{},\"f:email\":{},\"f:name\":{}}", i ? "," : "",
                   i);
    }
    buf_append_text(out, "}},\"manager\":\"kubectl\",\"operation\":\"Apply\","
                         "\"time\":\"2026-01-02T03:04:05Z\"}],");
}

static void write_conditions(struct buf *out, int number)
{
    static const char *const types[] = {"Ready",      "Registered",  "DatabaseReady",
                                        "OwnerReady", "QuotasReady", "Serving"};

    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        buf_printf(
            out,
            "%s{\"lastTransitionTime\":\"2026-01-02T03:%02d:%02dZ\",\"message\":\"The tenant "
            "is as its spec says.\",\"observedGeneration\":1,\"reason\":\"AsSpecified\","
            "\"status\":\"True\",\"type\":\"%s\"}",
            i ? "," : "", number % 60, (int)i, types[i]);
    }
}

/* A Tenant as the API server sends it, members sorted: last-applied, managedFields, spec, a status
 * with conditions. */
static void write_object(struct buf *out, int number, int filler_bytes)
{
    enum { MANAGED_FIELDS_BYTES = 400 };

    buf_printf(
        out,
        "{\"apiVersion\":\"tenantry.dev/v1alpha1\",\"kind\":\"Tenant\",\"metadata\":{"
        "\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":\"{\\\"spec"
        "\\\":{\\\"tier\\\":\\\"premium\\\",\\\"owner\\\":{\\\"email\\\":\\\"owner-%d@example.com"
        "\\\"}}}\\n\"},\"creationTimestamp\":\"2026-01-02T03:04:05Z\",\"finalizers\":["
        "\"tenantry.dev/tenant\"],\"generation\":1,",
        number);
    write_managed_fields(out, MANAGED_FIELDS_BYTES + filler_bytes);
    buf_printf(
        out,
        "\"name\":\"tenant-%06d\",\"resourceVersion\":\"%d\",\"uid\":\"8c6f7c3e-1111-4222-8333-"
        "%012d\"},\"spec\":{\"deletionPolicy\":\"Retain\",\"displayName\":\"Tenant number %d\","
        "\"owner\":{\"email\":\"owner-%d@example.com\",\"name\":\"Owner %d\"},\"quotas\":{"
        "\"api_requests\":100000,\"users\":50},\"tier\":\"premium\"},\"status\":{\"conditions\":[",
        number, number + 1000, number, number, number, number);
    write_conditions(out, number);
    buf_printf(
        out,
        "],\"database\":{\"isolation\":\"Row\",\"name\":\"tenantry_shared\",\"schemaVersion\":1,"
        "\"server\":\"primary\"},\"inputsHash\":\"%032d\",\"namespace\":\"tenant-tenant-%06d\","
        "\"observedGeneration\":1,\"subdomain\":\"tenant-%06d\",\"tenantID\":\"0b5e2a2e-1111-4222-"
        "8333-%012d\"}}",
        number, number, number, number);
}

static void must(bool condition, const char *what)
{
    if (!condition) {
        (void)fprintf(stderr, "bench-decode: %s\n", what);
        exit(1);
    }
}

static int print_events(int bytes, int count)
{
    AUTO(buf) struct buf probe = BUF(EVENT_MAX_BYTES);
    write_object(&probe, 0, 0);
    int filler = bytes > (int)probe.len ? bytes - (int)probe.len : 0;
    for (int i = 0; i < count; i++) {
        buf_clear(&probe);
        write_object(&probe, i, filler);
        must(!buf_failed(&probe), "an event is too large");
        (void)printf("{\"type\":\"MODIFIED\",\"object\":%s}\n", buf_text(&probe));
    }
    return 0;
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct run {
    struct cache *cache;
    struct watch_handler handler;
    int64_t events;
    bool trees;
};

static int on_line(void *context, struct str text, struct err *err)
{
    struct run *run = context;
    run->events++;
    if (run->trees) {
        json_t *tree = NULL;
        int result = js_parse(text, EVENT_MAX_BYTES, &tree, err);
        json_decref(tree);
        return result;
    }
    struct watch_line line;
    if (watch_line_parse(text, &line, err) != 0) {
        return -1;
    }
    run->handler.event(run->handler.context, WATCH_MODIFIED, line.object);
    return 0;
}

static int64_t measure(struct str text, bool trees)
{
    struct run run = {.cache = cache_new(&tenant_codec), .trees = trees};
    struct line_splitter splitter;
    struct err err;
    run.handler = cache_watch_handler(run.cache);
    line_splitter_init(&splitter, EVENT_MAX_BYTES);
    int64_t begun_ns = now_ns();
    while (now_ns() - begun_ns < MEASURE_NS) {
        must(line_splitter_feed(&splitter, text, on_line, &run, &err) == 0, "malformed events");
    }
    int64_t took_ns = now_ns() - begun_ns;
    line_splitter_release(&splitter);
    cache_free(run.cache);
    must(run.events > 0, "no event was decoded");
    return took_ns / run.events;
}

static int time_file(const char *path, bool trees)
{
    FILE *file = fopen(path, "rbe");
    must(file != NULL, "cannot open the file");
    char *text = xmalloc(FILE_MAX_BYTES);
    size_t size = fread(text, 1, FILE_MAX_BYTES, file);
    (void)fclose(file);
    (void)printf("%lld\n", (long long)measure((struct str){text, size}, trees));
    free(text);
    return 0;
}

static long resident_kib(const char *name)
{
    char line[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kib = strtol(line + strlen(name) + 1, NULL, 10);
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return kib;
}

/* As a first view: what is loaded is kept apart until it is whole. */
static int hold(int count)
{
    AUTO(buf) struct buf object = BUF(EVENT_MAX_BYTES);
    struct cache *cache = cache_new(&tenant_codec);
    const struct watch_handler handler = cache_watch_handler(cache);
    handler.replace_begin(handler.context);
    for (int i = 0; i < count; i++) {
        buf_clear(&object);
        write_object(&object, i, 0);
        handler.replace_object(handler.context, buf_str(&object));
    }
    handler.replace_end(handler.context, "999999999");
    (void)malloc_trim(0);
    must(cache_count(cache) == (size_t)count, "objects are missing");
    (void)printf("%zu %ld %ld\n", cache_bytes(cache) / (size_t)count, resident_kib("VmRSS:"),
                 resident_kib("VmHWM:"));
    cache_free(cache);
    return 0;
}

static int hold_trees(int count)
{
    AUTO(buf) struct buf object = BUF(EVENT_MAX_BYTES);
    json_t **trees = xcalloc((size_t)count, sizeof(json_t *));
    struct err err;
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < count; i++) {
        buf_clear(&object);
        write_object(&object, i, 0);
        must(js_parse(buf_str(&object), EVENT_MAX_BYTES, &trees[i], &err) == 0, "malformed");
    }
    (void)printf("%zu\n", (mallinfo2().uordblks - before) / (size_t)count);
    for (int i = 0; i < count; i++) {
        json_decref(trees[i]);
    }
    free(trees);
    return 0;
}

int main(int argc, char **argv)
{
    js_init();
    log_configure(LOG_ERROR, LOG_TEXT);
    const char *what = argc > 1 ? argv[1] : "";
    if (argc == 4 && strcmp(what, "events") == 0) {
        return print_events((int)strtol(argv[2], NULL, 10), (int)strtol(argv[3], NULL, 10));
    }
    if (argc == 3 && (strcmp(what, "ours") == 0 || strcmp(what, "jansson") == 0)) {
        return time_file(argv[2], strcmp(what, "jansson") == 0);
    }
    if (argc == 3 && strcmp(what, "memory") == 0) {
        return hold((int)strtol(argv[2], NULL, 10));
    }
    if (argc == 3 && strcmp(what, "trees") == 0) {
        return hold_trees((int)strtol(argv[2], NULL, 10));
    }
    (void)fprintf(stderr, "usage: see the head of bench/decode.c\n");
    return 2;
}
