/* Both patches are JSON patches that begin with tests, so that they can only change the very object
 * and the very list entry that the decision was made about. The server answers a test that fails
 * with the same 422 as an object that is invalid; the two are told apart by reading once more. */
#include "controller/runtime/finalizer.h"

#include "controller/base/arena.h"
#include "controller/base/jsonw.h"
#include "controller/base/str.h"
#include "controller/kube/object.h"

enum {
    OBJECT_MAX_BYTES = 8 * 1024 * 1024,
    PATCH_MAX_BYTES = 8 * 1024,
    REMOVE_ATTEMPTS = 3,
};

static const char MANAGER[] = "tenantry";

enum finalizer_action finalizer_decide(bool deleting, bool present)
{
    if (deleting) {
        return present ? FINALIZER_FINALIZE : FINALIZER_LEAVE;
    }
    return present ? FINALIZER_ENSURE : FINALIZER_ADD;
}

static void write_operation(struct jsonw *writer, const char *op, const char *path,
                            const char *value)
{
    jsonw_object(writer, NULL);
    jsonw_text(writer, "op", op);
    jsonw_text(writer, "path", path);
    if (value) {
        jsonw_text(writer, "value", value);
    }
    jsonw_end_object(writer);
}

/* The entry's position in the list, or finalizer_count. */
static size_t position_of(const struct kube_meta *meta, const char *finalizer)
{
    size_t i = 0;
    while (i < meta->finalizer_count && !text_equal(meta->finalizers[i], finalizer)) {
        i++;
    }
    return i;
}

static int fetch_meta(struct kube_client *client, const struct call *call,
                      const struct kube_ref *ref, struct arena *arena, struct kube_meta *ret,
                      struct err *err)
{
    AUTO(buf) struct buf body = BUF(OBJECT_MAX_BYTES);
    if (kube_get(client, call, ref, &body, err) < 0) {
        return -1;
    }
    return kube_object_meta(buf_str(&body), arena, ret, err);
}

/* After a patch was refused as invalid: if the object is another than the tests asked for, it was
 * the tests, and *err becomes a conflict. Always returns -1. */
static int explain_refusal(struct kube_client *client, const struct call *call,
                           const struct kube_ref *ref, const char *uid,
                           const char *resource_version, struct err *err)
{
    if (err->cls != ERR_TERMINAL || !err_has_reason(err, "Invalid")) {
        return -1;
    }
    AUTO(arena) struct arena arena = {0};
    struct kube_meta now;
    struct err ignored;
    if (fetch_meta(client, call, ref, &arena, &now, &ignored) < 0) {
        return -1;
    }
    if (!text_equal(now.uid, uid) || !text_equal(now.resource_version, resource_version)) {
        return err_set(err, ERR_CONFLICT, "Conflict",
                       "%s \"%s\" was changed by somebody else meanwhile", ref->resource->kind,
                       ref->name);
    }
    return -1;
}

int finalizer_add(struct kube_client *client, const struct call *call, const struct kube_ref *ref,
                  const char *uid, const char *resource_version, size_t existing_count,
                  const char *finalizer, struct buf *ret_body, struct err *err)
{
    AUTO(buf) struct buf patch = BUF(PATCH_MAX_BYTES);
    struct jsonw writer;
    jsonw_init(&writer, &patch);
    jsonw_array(&writer, NULL);
    write_operation(&writer, "test", "/metadata/uid", uid);
    write_operation(&writer, "test", "/metadata/resourceVersion", resource_version);
    if (existing_count > 0) {
        write_operation(&writer, "add", "/metadata/finalizers/-", finalizer);
    } else {
        jsonw_object(&writer, NULL);
        jsonw_text(&writer, "op", "add");
        jsonw_text(&writer, "path", "/metadata/finalizers");
        jsonw_array(&writer, "value");
        jsonw_text(&writer, NULL, finalizer);
        jsonw_end_array(&writer);
        jsonw_end_object(&writer);
    }
    jsonw_end_array(&writer);
    if (buf_failed(&patch)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "finalizer patch is too long");
    }
    if (kube_patch(client, call, ref, KUBE_PATCH_JSON, MANAGER, buf_str(&patch), ret_body, err) <
        0) {
        return explain_refusal(client, call, ref, uid, resource_version, err);
    }
    return 0;
}

static int patch_away(struct kube_client *client, const struct call *call,
                      const struct kube_ref *ref, const char *uid, size_t position,
                      const char *finalizer, struct err *err)
{
    AUTO(buf) struct buf path = BUF(64);
    AUTO(buf) struct buf patch = BUF(PATCH_MAX_BYTES);
    buf_printf(&path, "/metadata/finalizers/%zu", position);

    struct jsonw writer;
    jsonw_init(&writer, &patch);
    jsonw_array(&writer, NULL);
    write_operation(&writer, "test", "/metadata/uid", uid);
    write_operation(&writer, "test", buf_text(&path), finalizer);
    write_operation(&writer, "remove", buf_text(&path), NULL);
    jsonw_end_array(&writer);
    if (buf_failed(&patch)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "finalizer patch is too long");
    }
    return kube_patch(client, call, ref, KUBE_PATCH_JSON, MANAGER, buf_str(&patch), NULL, err);
}

/* One try: 0 when the entry or the object is gone, 1 when the list moved meanwhile, -1 otherwise.
 */
static int try_remove(struct kube_client *client, const struct call *call,
                      const struct kube_ref *ref, const char *uid, const char *finalizer,
                      struct err *err)
{
    AUTO(arena) struct arena arena = {0};
    struct kube_meta meta;

    if (fetch_meta(client, call, ref, &arena, &meta, err) < 0) {
        return err->cls == ERR_NOT_FOUND ? 0 : -1;
    }
    if (!text_equal(meta.uid, uid)) {
        return 0; /* ours is gone, and this one is not ours to touch */
    }
    size_t position = position_of(&meta, finalizer);
    if (position == meta.finalizer_count) {
        return 0;
    }
    if (patch_away(client, call, ref, uid, position, finalizer, err) == 0 ||
        err->cls == ERR_NOT_FOUND) {
        return 0;
    }
    (void)explain_refusal(client, call, ref, uid, meta.resource_version, err);
    return err->cls == ERR_CONFLICT ? 1 : -1;
}

int finalizer_remove(struct kube_client *client, const struct call *call,
                     const struct kube_ref *ref, const char *uid, const char *finalizer,
                     struct err *err)
{
    int result = 1;
    for (int attempt = 0; result > 0 && attempt < REMOVE_ATTEMPTS; attempt++) {
        result = try_remove(client, call, ref, uid, finalizer, err);
    }
    return result == 0 ? 0 : -1;
}
