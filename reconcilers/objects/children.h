/* The objects that the tenants have in the cluster, made so that nothing is read or written while
 * nothing differs.
 *
 * Watches tell of every object that carries our label: whose it is, and a hash of what it says
 * (child.h). Once an object was seen to say what it should, its hash is kept beside the hash of
 * what was wanted: as long as both stay, there is nothing to ask and nothing to send. Only after a
 * restart, or a change by somebody else, an object is read once and compared. Thread-safe. */
#ifndef TENANTRY_OBJECTS_CHILDREN_H
#define TENANTRY_OBJECTS_CHILDREN_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/kube/watch.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/model/work.h"
#include "reconcilers/objects/child.h"
#include "reconcilers/objects/intent.h"

struct children;
/* system_namespace: where the operator is, and Roles of tenants are. Borrowed. */
struct children *children_new(const char *system_namespace);
/* After the watches that feed the caches have ended. */
void children_free(struct children *children);

struct cache *children_cache(struct children *children, enum child_kind kind);
/* Whether the cluster has the kind. */
bool children_serve(const struct children *children, enum child_kind kind);
/* What the cache of the kind is to be fed with. */
const struct watch_config *children_watch(const struct children *children, enum child_kind kind);

/* Called when something happened to an object of the tenant that it may have to see: it is gone,
 * says something else than it should, became available or ceased to be. tenant NULL: a kind came to
 * the cluster or went, which concerns all. Before the caches are fed. */
typedef void (*children_changed_fn)(void *context, const char *tenant);
void children_listen(struct children *children, children_changed_fn changed, void *context);

/* What came of an object that is to be there. */
enum child_fate { CHILD_KEPT, CHILD_CHANGED, CHILD_CREATED };

/* Make one object so; see children_apply. namespace_ of the intent is NULL for a kind without. */
MUST_CHECK int children_ensure(struct reconcile *rc, const struct tenant_work *work,
                               const struct intent *intent, enum child_fate *ret, struct err *err);
/* Make the objects so, side by side as far as there are hands. Idempotent. Objects of others are
 * left alone: TERMINAL/NameConflict. ERR_WAIT while one is still being deleted. The first error of
 * the list is returned; the others were tried all the same. */
MUST_CHECK int children_apply(struct reconcile *rc, const struct tenant_work *work,
                              const struct intent *intents, size_t count, struct err *err);
/* Whether there is nothing to do for it, from memory alone. An object that was not compared yet, as
 * after a restart, counts as right until the drift check looks at it. */
bool children_stand(const struct services *services, struct arena *arena,
                    const struct tenant *tenant, const struct intent *intents, size_t count);

/* What is known of an object of this tenant; false when it is not known. Strings in the arena. */
bool children_get(struct children *children, struct arena *arena, enum child_kind kind,
                  const char *namespace_, const char *name, struct child *ret);
/* Names of all objects of the kind in the namespace, if there are more than `expected`; else none.
 */
size_t children_beyond(struct children *children, struct arena *arena, enum child_kind kind,
                       const char *namespace_, size_t expected, const char *const **ret_names);
/* Delete it if it bears this Tenant's UID, by what the server itself says of it. */
MUST_CHECK int children_delete(struct reconcile *rc, const struct tenant_work *work,
                               enum child_kind kind, const char *namespace_, const char *name,
                               struct err *err);
/* The same, but no request when the watch knows of none. */
MUST_CHECK int children_remove(struct reconcile *rc, const struct tenant_work *work,
                               enum child_kind kind, const char *namespace_, const char *name,
                               struct err *err);

#endif
