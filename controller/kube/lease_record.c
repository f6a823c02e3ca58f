#include "controller/kube/lease_record.h"

/* Longer than this is a mistake, not a wish; and as milliseconds it cannot overflow. */
static const int64_t DURATION_MAX_S = INT64_C(100) * 365 * 24 * 3600;

void lease_record_read(const json_t *lease, struct lease_record *ret)
{
    *ret = (struct lease_record){
        .holder = js_text_or(lease, "/spec/holderIdentity", ""),
        .duration_s = js_int_or(lease, "/spec/leaseDurationSeconds", 0),
        .transitions = js_int_or(lease, "/spec/leaseTransitions", 0),
        .acquire_time = js_text_or(lease, "/spec/acquireTime", ""),
        .renew_time = js_text_or(lease, "/spec/renewTime", ""),
    };
}

bool lease_record_equal(const json_t *a, const json_t *b)
{
    const json_t *spec_a = a ? js_at(a, "/spec") : NULL;
    const json_t *spec_b = b ? js_at(b, "/spec") : NULL;

    if (!a || !b || !spec_a || !spec_b) {
        return !a == !b && !spec_a == !spec_b;
    }
    return json_equal(spec_a, spec_b) != 0;
}

static json_t *new_lease(const char *namespace_, const char *name)
{
    json_t *metadata = json_object();
    json_t *lease = json_object();

    json_object_set_new(metadata, "namespace", json_string(namespace_));
    json_object_set_new(metadata, "name", json_string(name));
    json_object_set_new(lease, "apiVersion", json_string("coordination.k8s.io/v1"));
    json_object_set_new(lease, "kind", json_string("Lease"));
    json_object_set_new(lease, "metadata", metadata);
    return lease;
}

json_t *lease_record_write(const json_t *lease, const char *namespace_, const char *name,
                           const struct lease_record *record)
{
    json_t *copy = lease ? json_deep_copy(lease) : new_lease(namespace_, name);
    json_t *spec = json_object_get(copy, "spec");

    /* The server keeps managedFields when they are not sent. */
    json_object_del(json_object_get(copy, "metadata"), "managedFields");
    if (!json_is_object(spec)) {
        spec = json_object();
        json_object_set_new(copy, "spec", spec);
    }
    json_object_set_new(spec, "holderIdentity", json_string(record->holder));
    json_object_set_new(spec, "leaseDurationSeconds", json_integer(record->duration_s));
    json_object_set_new(spec, "leaseTransitions", json_integer(record->transitions));
    json_object_set_new(spec, "acquireTime", json_string(record->acquire_time));
    json_object_set_new(spec, "renewTime", json_string(record->renew_time));
    return copy;
}

enum lease_verdict lease_record_judge(const struct lease_record *record, const char *identity,
                                      int64_t observed_ms, int64_t now_ms, int64_t our_duration_ms)
{
    int64_t duration_ms = our_duration_ms;

    if (text_is_empty(record->holder)) {
        return LEASE_FREE;
    }
    if (text_equal(record->holder, identity)) {
        return LEASE_OURS;
    }
    if (record->duration_s > 0) {
        duration_ms =
            (record->duration_s < DURATION_MAX_S ? record->duration_s : DURATION_MAX_S) * 1000;
    }
    return now_ms - observed_ms >= duration_ms ? LEASE_FREE : LEASE_TAKEN;
}
