/* The content of a Lease: read, judged and written, without I/O. Private to kube/lease and its
 * tests. */
#ifndef TENANTRY_KUBE_LEASE_RECORD_H
#define TENANTRY_KUBE_LEASE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/js.h"

/* The Lease's spec. */
struct lease_record {
    const char *holder; /* "" = nobody */
    int64_t duration_s;
    int64_t transitions;
    const char *acquire_time; /* "" = absent */
    const char *renew_time;
};

/* Strings are borrowed from the tree; what is absent or of another type is "" or 0. */
void lease_record_read(const json_t *lease, struct lease_record *ret);

/* Do both trees hold the same record? NULL is a Lease that is not there. */
bool lease_record_equal(const json_t *a, const json_t *b);

/* The Lease with this record as its content. Of `lease`, as the server gave it, everything else is
 * kept (labels, resourceVersion, other members of spec); NULL: a new one. Caller decrefs. */
json_t *lease_record_write(const json_t *lease, const char *namespace_, const char *name,
                           const struct lease_record *record);

enum lease_verdict { LEASE_FREE, LEASE_OURS, LEASE_TAKEN };

/* observed_ms: when, by our own boot clock, the record was last seen to change; whoever holds
 * it has until then plus the duration that he wrote (or ours, if he wrote none). C44. */
enum lease_verdict lease_record_judge(const struct lease_record *record, const char *identity,
                                      int64_t observed_ms, int64_t now_ms, int64_t our_duration_ms);

#endif
