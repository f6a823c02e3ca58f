/* Finalizers: one pure decision, two guarded patches (C54). */
#ifndef TENANTRY_RUNTIME_FINALIZER_H
#define TENANTRY_RUNTIME_FINALIZER_H

#include <stdbool.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/kube/api.h"

enum finalizer_action {
    FINALIZER_ADD,      /* alive and without: add before the first side effect */
    FINALIZER_ENSURE,   /* alive and with: make it so */
    FINALIZER_FINALIZE, /* being deleted and with: undo, then remove */
    FINALIZER_LEAVE,    /* being deleted and without: no longer ours */
};
enum finalizer_action finalizer_decide(bool deleting, bool present);

/* Add `finalizer` to the object with this UID and resource version (a JSON patch with tests, so
 * that another object of the same name, or a list changed meanwhile, gives CONFLICT/Conflict).
 * ret_body receives the object as it then stands. existing: the finalizers now, for the position.
 */
MUST_CHECK int finalizer_add(struct kube_client *client, const struct call *call,
                             const struct kube_ref *ref, const char *uid,
                             const char *resource_version, size_t existing_count,
                             const char *finalizer, struct buf *ret_body, struct err *err);

/* Remove it: reads the object live, tests UID and the entry's own position, so that nobody else's
 * entry goes. Already gone (entry or object) is a success. Not while an object of another UID bears
 * the name. */
MUST_CHECK int finalizer_remove(struct kube_client *client, const struct call *call,
                                const struct kube_ref *ref, const char *uid, const char *finalizer,
                                struct err *err);

#endif
