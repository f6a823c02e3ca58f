/* What every process of Prometheus' world shows of itself: memory, CPU, descriptors, start, build.
 */
#ifndef TENANTRY_RUNTIME_PROCESS_METRICS_H
#define TENANTRY_RUNTIME_PROCESS_METRICS_H

/* Idempotent. */
void process_metrics_register(void);

#endif
