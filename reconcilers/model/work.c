#include "reconcilers/model/work.h"

#include <stdatomic.h>

#include "controller/base/str.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"

bool work_retains(const struct tenant_work *work)
{
    return work->deletion_policy == DELETION_RETAIN || work->tenant->deletion_grace_days > 0;
}

bool work_keeps_for_days(const struct tenant_work *work)
{
    return work->deletion_policy != DELETION_RETAIN && work->tenant->deletion_grace_days > 0;
}

static const size_t no_quota = SIZE_MAX;

static size_t find_quota(const struct tenant_work *work, const char *resource)
{
    for (size_t i = 0; i < work->quota_count; i++) {
        if (text_equal(work->quotas[i].resource, resource)) {
            return i;
        }
    }
    return no_quota;
}

bool work_quota(const struct tenant_work *work, const char *resource, int64_t *ret_limit,
                int64_t *ret_used)
{
    size_t i = find_quota(work, resource);
    if (i == no_quota) {
        return false;
    }
    *ret_limit = work->quotas[i].limit;
    *ret_used = work->quotas_used[i];
    return true;
}

void work_quota_use(struct tenant_work *work, const char *resource, int64_t used)
{
    size_t i = find_quota(work, resource);
    if (i != no_quota) {
        work->quotas_used[i] = used;
    }
}

void work_event(const struct tenant_work *work, enum event_type type, const char *reason,
                const char *action, const char *format, ...)
{
    char note[1100];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(note, sizeof(note), format, arguments);
    va_end(arguments);
    const struct event_object object = {
        .resource = &KUBE_TENANTS,
        .name = work->tenant->name,
        .uid = work->tenant->uid,
    };
    event_record(work->services->events, &object, type, reason, action, "%s", note);
}

void work_again(struct tenant_work *work, int64_t ms)
{
    int64_t known = atomic_load(&work->again_ms);
    ms = ms > 0 ? ms : 1;
    while ((known == 0 || ms < known) &&
           !atomic_compare_exchange_weak(&work->again_ms, &known, ms)) {
    }
}

size_t work_labels(const struct tenant_work *work, struct kube_pair labels[3])
{
    labels[0] = (struct kube_pair){NAME_LABEL_MANAGED_BY, "tenantry"};
    labels[1] = (struct kube_pair){NAME_LABEL_TENANT, work->tenant->name};
    labels[2] = (struct kube_pair){NAME_LABEL_TENANT_UID, work->tenant->uid};
    return 3;
}
