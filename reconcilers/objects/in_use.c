#include "reconcilers/objects/in_use.h"

#include "controller/base/clock.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/names.h"

enum { BODY_MAX_BYTES = 64 << 10, ANSWER_MAX_BYTES = 4 << 20 };

int in_use_write_label(struct reconcile *rc, const struct services *services,
                       const struct in_use *object, bool in_use, struct err *err)
{
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    AUTO(buf) struct buf answer = BUF(ANSWER_MAX_BYTES);
    struct jsonw writer;
    const struct kube_ref ref = {object->resource, NULL, object->name, NULL};

    if (object->label == in_use) {
        return 0;
    }
    jsonw_init(&writer, &json);
    jsonw_object(&writer, NULL);
    jsonw_object(&writer, "metadata");
    jsonw_text(&writer, "uid", object->uid);
    jsonw_object(&writer, "labels");
    jsonw_text(&writer, NAME_LABEL_IN_USE, in_use ? "true" : NULL);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
    if (kube_patch(services->kube, &rc->call, &ref, KUBE_PATCH_MERGE, NAME_MANAGER, buf_str(&json),
                   &answer, err)) {
        return err_wrap(err, "in-use label");
    }
    cache_store_written(object->cache, buf_str(&answer));
    return 0;
}

static void write_body(struct buf *out, const struct in_use *object, int64_t tenants,
                       const struct condition_set *conditions, in_use_more_fn more,
                       const void *context)
{
    char version[KUBE_API_VERSION_BYTES];
    struct jsonw writer;

    kube_api_version(object->resource, version);
    jsonw_init(&writer, out);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "apiVersion", version);
    jsonw_text(&writer, "kind", object->resource->kind);
    jsonw_object(&writer, "metadata");
    jsonw_text(&writer, "name", object->name);
    jsonw_text(&writer, "uid", object->uid);
    jsonw_end_object(&writer);
    jsonw_object(&writer, "status");
    jsonw_int(&writer, "observedGeneration", object->generation);
    jsonw_int(&writer, "tenants", tenants);
    if (more) {
        more(&writer, context);
    }
    jsonw_array(&writer, "conditions");
    condition_set_write(&writer, conditions);
    jsonw_end_array(&writer);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
}

int in_use_write_status(struct reconcile *rc, const struct services *services,
                        const struct in_use *object, int64_t tenants,
                        const struct condition_set *conditions, in_use_more_fn more,
                        const void *context, struct err *err)
{
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    AUTO(buf) struct buf answer = BUF(ANSWER_MAX_BYTES);
    const struct kube_ref ref = {object->resource, NULL, object->name, "status"};

    write_body(&json, object, tenants, conditions, more, context);
    if (kube_apply(services->kube, &rc->call, &ref, NAME_STATUS_MANAGER, buf_str(&json), &answer,
                   err)) {
        return err_wrap(err, "status");
    }
    cache_store_written(object->cache, buf_str(&answer));
    return 0;
}

static int update_status(struct reconcile *rc, const struct services *services,
                         const struct in_use *object, int64_t tenants, struct err *err)
{
    struct condition_set conditions = *object->conditions;

    condition_put(&conditions, CONDITION_READY, CONDITION_TRUE, "AsSpecified", object->message,
                  object->generation, clock_wall_s());
    if (object->tenants == tenants && object->observed_generation == object->generation &&
        condition_set_equal(&conditions, object->conditions)) {
        return 0;
    }
    return in_use_write_status(rc, services, object, tenants, &conditions, NULL, NULL, err);
}

int in_use_write(struct reconcile *rc, const struct services *services, const struct in_use *object,
                 int64_t tenants, struct err *err)
{
    return in_use_write_label(rc, services, object, tenants > 0, err) ||
                   update_status(rc, services, object, tenants, err)
               ? -1
               : 0;
}
