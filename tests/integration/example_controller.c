/* A whole controller on the runtime, as small as can be, for test_manager to start, watch and kill.
 * It keeps data.out equal to data.in in ConfigMaps labelled example=yes, says in data.by who it is,
 * and holds a finalizer where data.finalize is "yes".
 *
 *   example_controller NAMESPACE LEASE ADDRESS NAME [PREPARED_FILE]
 *
 * Without leader election if LEASE is "-". With PREPARED_FILE nothing is prepared until that file
 * is there. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "controller/base/js.h"
#include "controller/base/jsonw.h"
#include "controller/base/log.h"
#include "controller/kube/object.h"
#include "controller/runtime/fields.h"
#include "controller/runtime/finalizer.h"
#include "controller/runtime/manager.h"

enum { OBJECT_MAX_BYTES = 4 * 1024 * 1024 };

static const char FINALIZER[] = "example.test/finalizer";

struct program {
    const char *namespace_;
    const char *name;
    const char *prepared_file; /* NULL: nothing to prepare */
    struct manager *manager;
    struct cache *cache;
};

/* ---- what of a ConfigMap is kept ---- */

struct thing {
    const char *name;
    const char *uid;
    const char *resource_version;
    const char *in;
    const char *out;
    const char *finalize;
    const char *pause_ms;
    int64_t finalizer_count;
    bool deleting;
    bool has_finalizer;
};

static const struct field data_fields[] = {
    {.name = "in", .kind = FIELD_TEXT, .offset = offsetof(struct thing, in)},
    {.name = "out", .kind = FIELD_TEXT, .offset = offsetof(struct thing, out)},
    {.name = "finalize", .kind = FIELD_TEXT, .offset = offsetof(struct thing, finalize)},
    {.name = "pause_ms", .kind = FIELD_TEXT, .offset = offsetof(struct thing, pause_ms)},
    {.name = NULL},
};

#define KEPT(kind_, member_)                                                                       \
    {.name = #member_,                                                                             \
     .kind = (kind_),                                                                              \
     .packed_only = true,                                                                          \
     .offset = offsetof(struct thing, member_)}
static const struct field fields[] = {
    {.name = "data", .kind = FIELD_OBJECT, .fields = data_fields},
    KEPT(FIELD_TEXT, name),
    KEPT(FIELD_TEXT, uid),
    KEPT(FIELD_TEXT, resource_version),
    KEPT(FIELD_INT, finalizer_count),
    KEPT(FIELD_BOOL, deleting),
    KEPT(FIELD_BOOL, has_finalizer),
    {.name = NULL},
};

static int pack(struct str json, struct arena *scratch, struct buf *payload,
                struct record_head *ret_head, struct err *err)
{
    struct kube_meta meta;
    struct jsonr reader;
    struct thing thing = {0};
    if (kube_object_meta(json, scratch, &meta, err) < 0) {
        return -1;
    }
    jsonr_init(&reader, json);
    if (!fields_read(&reader, scratch, fields, &thing)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "malformed");
    }
    thing.name = meta.name;
    thing.uid = meta.uid;
    thing.resource_version = meta.resource_version;
    thing.deleting = meta.deletion_timestamp != NULL;
    thing.finalizer_count = (int64_t)meta.finalizer_count;
    for (size_t i = 0; i < meta.finalizer_count; i++) {
        thing.has_finalizer |= text_equal(meta.finalizers[i], FINALIZER);
    }
    fields_default(fields, &thing);
    fields_pack(fields, NULL, &thing, payload);
    *ret_head = (struct record_head){
        .key = str_from(arena_printf(scratch, "%s/%s", meta.namespace_, meta.name)),
        .uid = str_from(meta.uid),
        .resource_version = str_from(meta.resource_version),
    };
    return 0;
}

static const struct codec codec = {.resource = &KUBE_CONFIG_MAPS, .pack = pack};

/* ---- reconciling ---- */

static int copy(struct reconcile *rc, const struct program *program, const struct thing *thing,
                struct err *err)
{
    const struct kube_ref ref = {
        .resource = &KUBE_CONFIG_MAPS, .namespace_ = program->namespace_, .name = thing->name};
    AUTO(buf) struct buf patch = BUF(OBJECT_MAX_BYTES);
    AUTO(buf) struct buf answer = BUF(OBJECT_MAX_BYTES);
    struct jsonw writer;
    jsonw_init(&writer, &patch);
    jsonw_object(&writer, NULL);
    jsonw_object(&writer, "data");
    jsonw_text(&writer, "out", thing->in);
    jsonw_text(&writer, "by", program->name);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
    if (kube_patch(manager_api(program->manager), &rc->call, &ref, KUBE_PATCH_MERGE, "example",
                   buf_str(&patch), &answer, err) < 0) {
        return -1;
    }
    cache_store_written(program->cache, buf_str(&answer));
    const struct event_object object = {.resource = &KUBE_CONFIG_MAPS,
                                        .namespace_ = program->namespace_,
                                        .name = thing->name,
                                        .uid = thing->uid};
    event_record(manager_events(program->manager), &object, EVENT_NORMAL, "Copied", "Copy",
                 "copied %s", thing->in);
    return 0;
}

static int ensure(struct reconcile *rc, const struct program *program, const struct thing *thing,
                  struct err *err)
{
    if (text_equal(thing->in, thing->out)) {
        return 0;
    }
    int64_t pause_ms = strtol(thing->pause_ms, NULL, 10);
    if (pause_ms > 0 && !cancel_sleep_ms(rc->call.cancel, pause_ms)) {
        return call_check(&rc->call, err);
    }
    return copy(rc, program, thing, err);
}

static int act(struct reconcile *rc, const struct program *program, const struct thing *thing,
               struct err *err)
{
    const struct kube_ref ref = {
        .resource = &KUBE_CONFIG_MAPS, .namespace_ = program->namespace_, .name = thing->name};
    struct kube_client *api = manager_api(program->manager);
    switch (finalizer_decide(thing->deleting, thing->has_finalizer)) {
    case FINALIZER_ADD:
        if (text_equal(thing->finalize, "yes")) {
            AUTO(buf) struct buf answer = BUF(OBJECT_MAX_BYTES);
            if (finalizer_add(api, &rc->call, &ref, thing->uid, thing->resource_version,
                              (size_t)thing->finalizer_count, FINALIZER, &answer, err) < 0) {
                return -1;
            }
            cache_store_written(program->cache, buf_str(&answer));
        }
        return ensure(rc, program, thing, err);
    case FINALIZER_ENSURE:
        return ensure(rc, program, thing, err);
    case FINALIZER_FINALIZE:
        return finalizer_remove(api, &rc->call, &ref, thing->uid, FINALIZER, err);
    case FINALIZER_LEAVE:
        break;
    }
    return 0;
}

static struct outcome reconcile(struct reconcile *rc)
{
    const struct program *program = rc->environment;
    AUTO(record) const struct record *record = cache_get(program->cache, rc->key);
    struct thing thing = {0};
    struct err err = {0};
    if (!record) {
        return outcome_done(0);
    }
    fields_unpack(fields, NULL, record_payload(record), rc->arena, &thing);
    return act(rc, program, &thing, &err) < 0 ? outcome_from_err(&err, 0) : outcome_done(0);
}

/* ---- wiring ---- */

static void wake(void *context, enum cache_change change, const struct record *before,
                 const struct record *after, bool initial)
{
    (void)change;
    queue_add(context, record_key(after ? after : before), initial ? QUEUE_LOW : QUEUE_NORMAL);
}

static int prepare(void *context, const struct call *call, struct err *err)
{
    const struct program *program = context;
    (void)call;
    if (access(program->prepared_file, F_OK) != 0) {
        return err_set(err, ERR_RETRY, "NotPrepared", "\"%s\" is not there",
                       program->prepared_file);
    }
    return 0;
}

static int run(struct program *program, const struct kube_config *kube, const char *lease,
               const char *address)
{
    struct err err = {0};
    bool is_alone = text_equal(lease, "-");
    const struct manager_config config = {
        .kube = kube,
        .name = is_alone ? "example" : lease,
        .namespace_ = program->namespace_,
        .metrics_address = address,
        .leader_election = !is_alone,
        .sync_timeout_ms = 3000,
        .prepare = program->prepared_file ? prepare : NULL,
        .prepare_context = program,
    };
    const struct watch_config watch = {.resource = &KUBE_CONFIG_MAPS,
                                       .namespace_ = program->namespace_,
                                       .label_selector = "example=yes"};
    const struct controller_config controller_config = {
        .name = "example", .workers = 2, .reconcile = reconcile, .environment = program};

    if (manager_new(&config, &program->manager, &err) < 0) {
        log_error(NULL, "cannot start", KV_ERR(&err));
        return EXIT_FAILURE;
    }
    program->cache = cache_new(&codec);
    struct controller *controller = controller_new(&controller_config);
    cache_listen(program->cache, wake, controller_queue(controller));
    manager_add_controller(program->manager, controller);
    manager_add_cache(program->manager, program->cache, &watch);
    int status = manager_run(program->manager);
    controller_free(controller);
    manager_free(program->manager);
    cache_free(program->cache);
    return status;
}

int main(int argc, char **argv)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that ends early leaves nothing behind */
    manager_block_signals();
    js_init();
    http_global_init();
    if (argc < 5) {
        (void)fprintf(stderr, "usage: %s NAMESPACE LEASE ADDRESS NAME [PREPARED_FILE]\n", argv[0]);
        return 2;
    }
    struct program program = {
        .namespace_ = argv[1], .name = argv[4], .prepared_file = argc > 5 ? argv[5] : NULL};
    struct kube_config kube;
    struct err err = {0};
    if (kube_config_load(NULL, NULL, &kube, &err) < 0) {
        log_error(NULL, "cannot start", KV_ERR(&err));
        return EXIT_FAILURE;
    }
    int status = run(&program, &kube, argv[2], argv[3]);
    kube_config_release(&kube);
    return status;
}
