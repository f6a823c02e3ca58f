/* When the newest backup of each tenant was stored, as a metric: of the newest object in its bucket
 * of backups, whoever wrote it. Seen where the bucket is listed anyway, at drift checks. */
#ifndef TENANTRY_STORAGE_BACKUP_AGE_H
#define TENANTRY_STORAGE_BACKUP_AGE_H

#include <stdint.h>

/* Once, before any other. */
void backup_age_register(void);
/* newest_s: wall time; 0 = there is none, or no bucket or tenant any more, and then no series. */
void backup_age_set(const char *tenant, int64_t newest_s);

#endif
