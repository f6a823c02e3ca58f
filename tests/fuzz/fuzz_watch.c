/* What a server sends on a list or watch. The first byte picks the reader, the second the size of
 * the pieces. Beside "no crash" it holds that the pieces do not matter: whole or in parts, the same
 * lines and elements come out. */
#include <stdlib.h>

#include "controller/base/hash.h"
#include "controller/kube/line_splitter.h"
#include "controller/kube/list_scan.h"
#include "controller/kube/object.h"
#include "controller/kube/watch_line.h"
#include "tests/fuzz/fuzz.h"

enum { TEXT_BYTES_MAX = 4096, PIECE_BYTES_MAX = 61 };

/* What came out of a run. */
struct trace {
    size_t count;
    struct hash128 hash;
    bool failed;
};

static void must(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void note(struct trace *trace, struct str text)
{
    struct hash128 hash = hash_128(text);

    trace->count++;
    trace->hash.high = trace->hash.high * 31 + hash.high;
    trace->hash.low = trace->hash.low * 31 + hash.low;
}

static int on_line(void *context, struct str text, struct err *err)
{
    struct watch_line line;

    note(context, text);
    must(!memchr(text.ptr, '\n', text.len));
    if (watch_line_parse(text, &line, err) == 0) {
        must(line.object.ptr >= text.ptr &&
             line.object.ptr + line.object.len <= text.ptr + text.len);
        struct object_glance glance;
        must(object_glance_read(line.object, &glance));
        must(str_equal(glance.resource_version, line.glance.resource_version));
    }
    return 0;
}

static int on_item(void *context, struct str json, struct err *err)
{
    struct object_glance glance;
    struct kube_meta meta;
    struct arena arena;

    note(context, json);
    arena_init(&arena, 0);
    if (kube_object_meta(json, &arena, &meta, err) == 0) {
        must(meta.name[0] != '\0');
        must(!object_glance_read(json, &glance) || glance.has_metadata);
    }
    arena_release(&arena);
    return 0;
}

static struct trace run_lines(struct str text, size_t step)
{
    struct line_splitter splitter;
    struct trace trace = {0};
    struct err err;

    line_splitter_init(&splitter, TEXT_BYTES_MAX);
    while (text.len > 0 && !trace.failed) {
        struct str piece = {text.ptr, text.len < step ? text.len : step};
        trace.failed = line_splitter_feed(&splitter, piece, on_line, &trace, &err) != 0;
        text.ptr += piece.len;
        text.len -= piece.len;
    }
    line_splitter_release(&splitter);
    return trace;
}

static struct trace run_list(struct str text, size_t step)
{
    struct list_scan scan;
    struct trace trace = {0};
    struct err err;

    list_scan_init(&scan, TEXT_BYTES_MAX);
    while (text.len > 0 && !trace.failed) {
        struct str piece = {text.ptr, text.len < step ? text.len : step};
        trace.failed = list_scan_feed(&scan, piece, on_item, &trace, &err) != 0;
        text.ptr += piece.len;
        text.len -= piece.len;
    }
    trace.failed = trace.failed || list_scan_finish(&scan, &err) != 0;
    note(&trace, str_from(list_scan_resource_version(&scan)));
    note(&trace, str_from(list_scan_continue(&scan)));
    list_scan_release(&scan);
    return trace;
}

static void run_quantity(struct str text)
{
    int64_t milli = 0;
    int64_t again = 0;
    char whole[32];

    if (kube_quantity_milli(text, &milli)) {
        (void)snprintf(whole, sizeof(whole), "%lldm", (long long)milli);
        must(kube_quantity_milli(str_from(whole), &again) && again == milli);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct str text = {(const char *)data + 2, size - 2};
    size_t step = (size_t)data[1] % PIECE_BYTES_MAX + 1;
    struct trace whole;
    struct trace parts;

    switch (data[0]) {
    case 'l':
        whole = run_lines(text, SIZE_MAX);
        parts = run_lines(text, step);
        break;
    case 'i':
        whole = run_list(text, SIZE_MAX);
        parts = run_list(text, step);
        break;
    case 'q':
        run_quantity(text);
        return 0;
    default:
        return 0;
    }
    must(whole.failed == parts.failed);
    must(whole.count == parts.count);
    must(hash128_equal(whole.hash, parts.hash));
    return 0;
}
