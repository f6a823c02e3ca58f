/* A fixed crew of threads that takes over pieces of a reconcile that can go side by side. A piece
 * that finds no idle hand is done by the one who brought it, so a crew cannot deadlock and never
 * queues. */
#ifndef TENANTRY_RUNTIME_CREW_H
#define TENANTRY_RUNTIME_CREW_H

#include <stdbool.h>

#include "controller/base/attributes.h"

struct crew;
/* Threads start at the first need, one by one, at most `hands`. */
struct crew *crew_new(int hands);
void crew_free(struct crew *crew); /* waits for pieces under way */

/* Give the piece to an idle hand; false when there is none (or crew is NULL): do it yourself. */
MUST_CHECK bool crew_offer(struct crew *crew, void (*piece)(void *context), void *context);

#endif
