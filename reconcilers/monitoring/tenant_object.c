/* What a tenant may know of itself: a ConfigMap in its own namespace, which its people and programs
 * can read and only the controller writes. */
#include "controller/base/jsonw.h"
#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/monitoring/monitor_internal.h"
#include "reconcilers/objects/intent.h"
#include "reconcilers/objects/objects.h"

enum { BODY_MAX_BYTES = 1 << 20, TEXT_MAX_BYTES = 512 << 10 };

static void render_tenant(struct buf *out, const struct tenant_work *work)
{
    const struct tenant *tenant = work->tenant;
    struct jsonw writer;

    jsonw_init(&writer, out);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "id", work->tenant_id);
    jsonw_text(&writer, "subdomain", tenant->subdomain);
    jsonw_text(&writer, "displayName", tenant->display_name);
    jsonw_text(&writer, "tier", tenant->tier);
    jsonw_text(&writer, "state", tenant->state == TENANT_SUSPENDED ? "Suspended" : "Active");
    jsonw_object(&writer, "settings");
    for (size_t i = 0; i < tenant->setting_count; i++) {
        jsonw_text(&writer, tenant->settings[i].name, tenant->settings[i].value);
    }
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
}

static void render_usage(struct buf *out, const struct tenant_work *work)
{
    struct jsonw writer;

    jsonw_init(&writer, out);
    jsonw_object(&writer, NULL);
    for (size_t i = 0; i < work->quota_count; i++) {
        jsonw_object(&writer, work->quotas[i].resource);
        jsonw_int(&writer, "limit", work->quotas[i].limit);
        jsonw_int(&writer, "used", work->quotas_used[i]);
        jsonw_end_object(&writer);
    }
    jsonw_end_object(&writer);
}

static void render(struct buf *out, const struct tenant_work *work, const struct kube_ref *ref)
{
    AUTO(buf) struct buf tenant = BUF(TEXT_MAX_BYTES);
    AUTO(buf) struct buf usage = BUF(TEXT_MAX_BYTES);
    struct jsonw writer;

    render_tenant(&tenant, work);
    render_usage(&usage, work);
    jsonw_init(&writer, out);
    object_begin(&writer, work, ref, NULL);
    jsonw_object(&writer, "data");
    jsonw_str(&writer, "tenant.json", buf_str(&tenant));
    jsonw_str(&writer, "usage.json", buf_str(&usage));
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
}

int tenant_object_ensure(struct reconcile *rc, const struct tenant_work *work, struct err *err)
{
    AUTO(buf) struct buf wanted = BUF(BODY_MAX_BYTES);
    AUTO(buf) struct buf body = BUF(OBJECT_MAX_BYTES);
    struct kube_meta meta = {0};
    bool found = false;
    const struct kube_ref ref = {
        .resource = &KUBE_CONFIG_MAPS,
        .namespace_ = name_namespace(rc->arena, work->tenant->subdomain),
        .name = arena_printf(rc->arena, "%s-tenant", work->tenant->subdomain),
    };

    render(&wanted, work, &ref);
    if (!work->namespace_fresh && object_look(rc, work, &ref, &body, &meta, &found, err)) {
        return -1;
    }
    if (found && !object_is_own(work, &meta)) {
        return object_refuse(work, "configmap", ref.namespace_, ref.name,
                             kube_pair_get(meta.labels, meta.label_count, NAME_LABEL_TENANT_UID),
                             err);
    }
    if (found && intent_holds(buf_str(&wanted), buf_str(&body))) {
        return 0;
    }
    return kube_apply(work->services->kube, &rc->call, &ref, NAME_MANAGER, buf_str(&wanted), NULL,
                      err)
               ? err_wrap(err, "ConfigMap \"%s/%s\"", ref.namespace_, ref.name)
               : 0;
}
