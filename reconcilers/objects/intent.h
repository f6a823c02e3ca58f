/* What is wanted of one object, and whether an object says so. */
#ifndef TENANTRY_OBJECTS_INTENT_H
#define TENANTRY_OBJECTS_INTENT_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/arena.h"
#include "controller/base/buf.h"
#include "controller/base/jsonw.h"
#include "controller/base/str.h"
#include "controller/kube/object.h"
#include "reconcilers/model/work.h"
#include "reconcilers/objects/child.h"

/* A body for server-side apply. */
struct intent {
    enum child_kind kind;
    const char *namespace_;
    const char *name;
    struct buf *body;
};

/* With room for its body, until intents_release. namespace_ and name are borrowed. */
void intent_init(struct arena *arena, struct intent *intent, enum child_kind kind,
                 const char *namespace_, const char *name);
void intents_release(struct intent *intents, size_t count);
/* Begin the body: what object_begin writes. The object stays open. */
void intent_begin(const struct intent *intent, struct jsonw *writer, const struct tenant_work *work,
                  const struct kube_pair *more);

/* Whether everything in `wanted` (a body for server-side apply) stands in `observed` (the object as
 * the server has it). What the server defaults, and what others added in places of their own, does
 * not count: members that we do not name, and elements of lists that are maps by name. Quantities
 * are equal when they mean the same. False too when either is no JSON. Pure. */
bool intent_holds(struct str wanted, struct str observed);

#endif
