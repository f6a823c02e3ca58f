/* Objects of the cluster that belong to one tenant: whose they are, and the bodies that make them.
 */
#ifndef TENANTRY_OBJECTS_OBJECTS_H
#define TENANTRY_OBJECTS_OBJECTS_H

#include <stdbool.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/err.h"
#include "controller/base/jsonw.h"
#include "controller/kube/api.h"
#include "controller/kube/object.h"
#include "reconcilers/model/work.h"

/* A whole object's answer at most; of what we look at, Namespaces and RBAC, it is far less. */
enum { OBJECT_MAX_BYTES = 4 << 20 };

/* Roles of RBAC; the other kinds are in kube/api.h. */
extern const struct kube_resource KUBE_ROLES;

/* Whether the user, or the program's flag, said that this Tenant takes over what an earlier one
 * left: then objects labelled with the earlier UID are its own too. Level-triggered: holds as long
 * as the annotation stands. */
bool object_adopts(const struct tenant_work *work);
/* Whether labels say that an object is this tenant's. */
bool object_is_own(const struct tenant_work *work, const struct kube_meta *meta);
/* TERMINAL/NameConflict about an object that is not; kind in lower case. */
int object_refuse(const struct tenant_work *work, const char *kind, const char *namespace_,
                  const char *name, const char *uid_label, struct err *err);

/* Read an object; *ret_found false when there is none. Strings are in the arena. */
MUST_CHECK int object_look(struct reconcile *rc, const struct tenant_work *work,
                           const struct kube_ref *ref, struct buf *ret_body,
                           struct kube_meta *ret_meta, bool *ret_found, struct err *err);
/* Delete it if it bears this Tenant's UID; what is gone, or another's, is left as it is. */
MUST_CHECK int object_delete_own(struct reconcile *rc, const struct tenant_work *work,
                                 const struct kube_ref *ref, struct err *err);

/* {"apiVersion":…,"kind":…,"metadata":{"name":…,"namespace":…,"labels":{…}}: the tenant's labels
 * and one more (name NULL = none). The object stays open. */
void object_begin(struct jsonw *writer, const struct tenant_work *work, const struct kube_ref *ref,
                  const struct kube_pair *more);
/* "roleRef" to a role of this kind ("Role", "ClusterRole"), and one subject in "subjects". */
void object_write_binding(struct jsonw *writer, const char *role_kind, const char *role,
                          const char *subject_kind, const char *subject_namespace,
                          const char *subject);

#endif
