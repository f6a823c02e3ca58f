/* Metrics by tenant. Their label sets are bounded by the tenants that there are: a tenant's series
 * go with it. Nothing else of the program has a tenant's name in a label. */
#include "controller/base/metrics.h"
#include "controller/base/str.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/monitoring/monitor_internal.h"
#include "reconcilers/storage/backup_age.h"

static struct metric info =
    METRIC_GAUGE("tenantry_tenant_info", "1 for each tenant, with what it is.", "tenant", "tier",
                 "isolation", "server", "state");
static struct metric ready = METRIC_GAUGE(
    "tenantry_tenant_ready", "Whether the tenant's condition Ready is True.", "tenant");
static struct metric success =
    METRIC_GAUGE("tenantry_tenant_probe_success",
                 "Whether the last health check of the tenant succeeded.", "tenant", "probe");
static struct metric duration =
    METRIC_GAUGE("tenantry_tenant_probe_duration_seconds",
                 "How long the last health check of the tenant took.", "tenant", "probe");
static struct metric limit = METRIC_GAUGE(
    "tenantry_tenant_quota_limit",
    "The limit of a resource; there is no series for an unlimited one.", "tenant", "resource");
static struct metric used = METRIC_GAUGE("tenantry_tenant_quota_used",
                                         "How much of a resource is used.", "tenant", "resource");

static const char *const probes[] = {"database", "bucket", "sandbox"};

void monitor_metrics_register(void)
{
    struct metric *const all[] = {&info, &ready, &success, &duration, &limit, &used};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        metrics_register(all[i]);
    }
    backup_age_register();
}

static const char *state_of(const struct tenant *tenant)
{
    if (tenant->deleting) {
        return "Deleting";
    }
    return tenant->state == TENANT_SUSPENDED ? "Suspended" : "Active";
}

static void drop_all(const struct tenant *tenant)
{
    metric_drop(&ready, tenant->name);
    backup_age_set(tenant->name, 0);
    for (size_t i = 0; i < ARRAY_COUNT(probes); i++) {
        metric_drop(&success, tenant->name, probes[i]);
        metric_drop(&duration, tenant->name, probes[i]);
    }
    for (size_t i = 0; i < tenant->status.quota_count; i++) {
        metric_drop(&limit, tenant->name, tenant->status.quotas[i].resource);
        metric_drop(&used, tenant->name, tenant->status.quotas[i].resource);
    }
}

static void drop_quotas_gone(const struct tenant *before, const struct tenant *after)
{
    for (size_t i = 0; i < before->status.quota_count; i++) {
        const char *resource = before->status.quotas[i].resource;
        bool stays = false;
        for (size_t j = 0; j < after->status.quota_count; j++) {
            stays |= text_equal(after->status.quotas[j].resource, resource);
        }
        if (!stays) {
            metric_drop(&limit, before->name, resource);
            metric_drop(&used, before->name, resource);
        }
    }
}

void monitor_metrics_follow(const struct tenant *before, const struct tenant *after)
{
    if (before) {
        metric_drop(&info, before->name, before->tier,
                    isolation_text(before->status.place.isolation), before->status.place.server,
                    state_of(before));
    }
    if (before && after) {
        drop_quotas_gone(before, after);
    } else if (before) {
        drop_all(before);
    }
    if (!after) {
        return;
    }
    metric_set(&info, 1, after->name, after->tier, isolation_text(after->status.place.isolation),
               after->status.place.server, state_of(after));
    metric_set(&ready, condition_is_true(&after->status.conditions, CONDITION_READY) ? 1 : 0,
               after->name);
    for (size_t i = 0; i < ARRAY_COUNT(probes) && after->state == TENANT_SUSPENDED; i++) {
        metric_drop(&success, after->name, probes[i]);
        metric_drop(&duration, after->name, probes[i]);
    }
}

void monitor_metrics_probe(const char *tenant, const char *probe, bool ok, double seconds)
{
    metric_set(&success, ok ? 1 : 0, tenant, probe);
    metric_set(&duration, seconds, tenant, probe);
}

void monitor_metrics_quotas(const struct tenant_work *work)
{
    for (size_t i = 0; i < work->quota_count; i++) {
        const struct quota *quota = &work->quotas[i];
        if (quota->limit >= 0) {
            metric_set(&limit, (double)quota->limit, work->tenant->name, quota->resource);
        } else {
            metric_drop(&limit, work->tenant->name, quota->resource);
        }
        metric_set(&used, (double)work->quotas_used[i], work->tenant->name, quota->resource);
    }
}
