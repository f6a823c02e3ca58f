/* Waiting for a kind that the server does not have, without asking for it again and again: its
 * CustomResourceDefinition is watched, by name, as metadata alone. That takes the right to list and
 * watch the one definition. Of it only the version is kept. Private to kube/watch and its tests. */
#ifndef TENANTRY_KUBE_KIND_WAIT_H
#define TENANTRY_KUBE_KIND_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/kube/api.h"

struct kind_wait {
    const struct kube_resource *resource;
    struct buf version; /* of the definition when it was last seen to change; empty: none seen */
    int tries;          /* to find the kind served, since then */
};

/* resource, the kind that is waited for, is borrowed. */
void kind_wait_init(struct kind_wait *wait, const struct kube_resource *resource);
/* Free what it keeps; the struct itself stays the caller's. */
void kind_wait_release(struct kind_wait *wait);
/* The kind was there meanwhile: what was seen before counts no more. */
void kind_wait_forget(struct kind_wait *wait);

/* Block until the kind is worth asking for: at once when the definition is there and was not seen
 * like this before, when it comes or changes, after some seconds as long as it is new (a definition
 * is there a moment before its kind is served), and else after `rest_s`, since a kind may also come
 * without a definition. A stream that gives no byte for silence_ms is given up.
 * Errors: as kube_stream; RETRY/WatchTooShort, the server ended the watch at once; the definition
 * cannot be watched, so that only asking for the kind itself can tell. */
MUST_CHECK int kind_wait_run(struct kind_wait *wait, struct kube_client *client,
                             const struct call *call, int64_t rest_s, int64_t silence_ms,
                             struct err *err);

#endif
