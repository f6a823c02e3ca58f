#include "reconcilers/storage/backup_age.h"

#include "controller/base/metrics.h"

static struct metric newest =
    METRIC_GAUGE("tenantry_tenant_backup_last_success_timestamp_seconds",
                 "When the newest object in the tenant's bucket of backups was stored.", "tenant");

void backup_age_register(void)
{
    metrics_register(&newest);
}

void backup_age_set(const char *tenant, int64_t newest_s)
{
    if (newest_s > 0) {
        metric_set(&newest, (double)newest_s, tenant);
    } else {
        metric_drop(&newest, tenant);
    }
}
