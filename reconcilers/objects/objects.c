/* What belongs to a tenant in the cluster carries its Tenant's name and UID as labels, not as an
 * owner reference: the UIDs of a restored cluster are new, and the garbage collector would delete
 * everything. The UID label is the proof of ownership; nothing without it is changed or deleted. */
#include "reconcilers/objects/objects.h"

#include <strings.h>

#include "controller/base/str.h"
#include "reconcilers/model/names.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

const struct kube_resource KUBE_ROLES = {RBAC_GROUP, "v1", "roles", "Role", true};

/* ---- whose ---- */

bool object_adopts(const struct tenant_work *work)
{
    const char *adopt = work->tenant->adopt;
    return work->adopted || work->services->adopt_orphans ||
           (!text_is_empty(adopt) && strcasecmp(adopt, work->tenant_id) == 0);
}

bool object_is_own(const struct tenant_work *work, const struct kube_meta *meta)
{
    const char *tenant = kube_pair_get(meta->labels, meta->label_count, NAME_LABEL_TENANT);
    const char *uid = kube_pair_get(meta->labels, meta->label_count, NAME_LABEL_TENANT_UID);

    if (text_is_empty(uid) || !text_equal(tenant, work->tenant->name)) {
        return false;
    }
    return text_equal(uid, work->tenant->uid) || object_adopts(work);
}

int object_refuse(const struct tenant_work *work, const char *kind, const char *namespace_,
                  const char *name, const char *uid_label, struct err *err)
{
    const char *scope = text_is_empty(namespace_) ? "" : namespace_;
    return err_set(err, ERR_TERMINAL, "NameConflict",
                   "%s \"%s%s%s\" exists and is not this tenant's (its label %s is \"%s\"): delete "
                   "it or rename the tenant; or, if it is this tenant's own, as after a restore, "
                   "give it the labels %s=tenantry, %s=%s and %s=%s",
                   kind, scope, *scope ? "/" : "", name, NAME_LABEL_TENANT_UID,
                   uid_label ? uid_label : "", NAME_LABEL_MANAGED_BY, NAME_LABEL_TENANT,
                   work->tenant->name, NAME_LABEL_TENANT_UID, work->tenant->uid);
}

/* ---- reading and deleting ---- */

int object_look(struct reconcile *rc, const struct tenant_work *work, const struct kube_ref *ref,
                struct buf *ret_body, struct kube_meta *ret_meta, bool *ret_found, struct err *err)
{
    if (kube_get(work->services->kube, &rc->call, ref, ret_body, err)) {
        *ret_found = false;
        return err->cls == ERR_NOT_FOUND
                   ? 0
                   : err_wrap(err, "%s \"%s\"", ref->resource->kind, ref->name);
    }
    *ret_found = true;
    return kube_object_meta(buf_str(ret_body), rc->arena, ret_meta, err);
}

int object_delete_own(struct reconcile *rc, const struct tenant_work *work,
                      const struct kube_ref *ref, struct err *err)
{
    AUTO(buf) struct buf body = BUF(OBJECT_MAX_BYTES);
    struct kube_meta meta = {0};
    bool found = false;

    if (object_look(rc, work, ref, &body, &meta, &found, err)) {
        return -1;
    }
    const char *uid = kube_pair_get(meta.labels, meta.label_count, NAME_LABEL_TENANT_UID);
    if (!found || meta.deletion_timestamp || !text_equal(uid, work->tenant->uid)) {
        return 0;
    }
    return kube_delete(work->services->kube, &rc->call, ref, meta.uid, NULL, err);
}

/* ---- bodies ---- */

void object_begin(struct jsonw *writer, const struct tenant_work *work, const struct kube_ref *ref,
                  const struct kube_pair *more)
{
    char version[KUBE_API_VERSION_BYTES];
    struct kube_pair labels[3];
    size_t count = work_labels(work, labels);

    kube_api_version(ref->resource, version);
    jsonw_object(writer, NULL);
    jsonw_text(writer, "apiVersion", version);
    jsonw_text(writer, "kind", ref->resource->kind);
    jsonw_object(writer, "metadata");
    jsonw_text(writer, "name", ref->name);
    if (ref->namespace_) {
        jsonw_text(writer, "namespace", ref->namespace_);
    }
    jsonw_object(writer, "labels");
    for (size_t i = 0; i < count; i++) {
        jsonw_text(writer, labels[i].name, labels[i].value);
    }
    if (more) {
        jsonw_text(writer, more->name, more->value);
    }
    jsonw_end_object(writer);
    jsonw_end_object(writer);
}

void object_write_binding(struct jsonw *writer, const char *role_kind, const char *role,
                          const char *subject_kind, const char *subject_namespace,
                          const char *subject)
{
    jsonw_object(writer, "roleRef");
    jsonw_text(writer, "apiGroup", RBAC_GROUP);
    jsonw_text(writer, "kind", role_kind);
    jsonw_text(writer, "name", role);
    jsonw_end_object(writer);
    jsonw_array(writer, "subjects");
    jsonw_object(writer, NULL);
    jsonw_text(writer, "kind", subject_kind);
    jsonw_text(writer, "name", subject);
    if (subject_namespace) {
        jsonw_text(writer, "namespace", subject_namespace);
    } else {
        jsonw_text(writer, "apiGroup", RBAC_GROUP);
    }
    jsonw_end_object(writer);
    jsonw_end_array(writer);
}
