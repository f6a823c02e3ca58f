/* The step MonitoringObjects: what tells a Prometheus of the prometheus-operator about a tenant, in
 * the tenant's namespace, each where the cluster has its kind.
 *
 * The ServiceMonitor takes the sandboxes by their Services, the PodMonitor all else that the tenant
 * runs, so that nothing is scraped twice. What they scrape bears the tenant's name, whatever it
 * says of itself, and is bounded. The rules speak of the controller's metrics about this tenant,
 * with its tier's thresholds; names and labels are those of manifests/monitoring/rules.yaml, so
 * that an alert raised by both is one. */
#include <inttypes.h>

#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/monitoring/monitor.h"
#include "reconcilers/objects/children.h"

#define OBJECT_NAME "tenantry"
#define METRICS_PORT "metrics" /* what a port is called that serves them */

enum {
    SAMPLES_MAX = 10000, /* of one scrape of one Pod */
    TARGETS_MAX = 100,
    LABELS_MAX = 64,
    LABEL_NAME_MAX = 128,
    LABEL_VALUE_MAX = 1024,
};

/* ---- monitors ---- */

static void write_bounds(struct jsonw *writer)
{
    jsonw_int(writer, "sampleLimit", SAMPLES_MAX);
    jsonw_int(writer, "targetLimit", TARGETS_MAX);
    jsonw_int(writer, "labelLimit", LABELS_MAX);
    jsonw_int(writer, "labelNameLengthLimit", LABEL_NAME_MAX);
    jsonw_int(writer, "labelValueLengthLimit", LABEL_VALUE_MAX);
}

/* operator: "Exists" or "DoesNotExist". */
static void write_selector(struct jsonw *writer, const char *operator_)
{
    jsonw_object(writer, "selector");
    jsonw_array(writer, "matchExpressions");
    jsonw_object(writer, NULL);
    jsonw_text(writer, "key", NAME_LABEL_SANDBOX);
    jsonw_text(writer, "operator", operator_);
    jsonw_end_object(writer);
    jsonw_end_array(writer);
    jsonw_end_object(writer);
}

static void write_endpoints(struct jsonw *writer, const char *name, const struct tenant *tenant)
{
    jsonw_array(writer, name);
    jsonw_object(writer, NULL);
    jsonw_text(writer, "port", METRICS_PORT);
    jsonw_array(writer, "relabelings");
    jsonw_object(writer, NULL);
    jsonw_text(writer, "action", "replace");
    jsonw_text(writer, "targetLabel", "tenant");
    jsonw_text(writer, "replacement", tenant->name);
    jsonw_end_object(writer);
    jsonw_end_array(writer);
    jsonw_end_object(writer);
    jsonw_end_array(writer);
}

static void write_monitor(const struct tenant_work *work, const struct intent *intent,
                          struct jsonw *writer)
{
    bool by_service = intent->kind == CHILD_SERVICE_MONITOR;

    write_selector(writer, by_service ? "Exists" : "DoesNotExist");
    write_endpoints(writer, by_service ? "endpoints" : "podMetricsEndpoints", work->tenant);
    write_bounds(writer);
}

/* ---- rules ---- */

struct alert {
    const char *name;
    const char *expression;
    const char *for_;
    const char *severity;
    const char *summary; /* templates of Prometheus: $labels and $value are filled in there */
    const char *description;
};

static void write_alert(struct jsonw *writer, const struct alert *alert)
{
    jsonw_object(writer, NULL);
    jsonw_text(writer, "alert", alert->name);
    jsonw_text(writer, "expr", alert->expression);
    jsonw_text(writer, "for", alert->for_);
    jsonw_object(writer, "labels");
    jsonw_text(writer, "severity", alert->severity);
    jsonw_end_object(writer);
    jsonw_object(writer, "annotations");
    jsonw_text(writer, "summary", alert->summary);
    jsonw_text(writer, "description", alert->description);
    jsonw_end_object(writer);
    jsonw_end_object(writer);
}

/* What can be used once, or not at all, has no end that it could be near to. */
static const char *quota_expression(struct arena *arena, const char *tenant,
                                    const struct tier *tier)
{
    return arena_printf(
        arena,
        "tenantry_tenant_quota_used{tenant=\"%s\"} / "
        "tenantry_tenant_quota_limit{tenant=\"%s\"} > %" PRId64 ".%02" PRId64 " and "
        "tenantry_tenant_quota_limit{tenant=\"%s\"} > 1",
        tenant, tenant, tier->alert_quota_percent / 100, tier->alert_quota_percent % 100, tenant);
}

static const char *backup_expression(struct arena *arena, const char *tenant,
                                     const struct tier *tier)
{
    return arena_printf(arena,
                        "time() - tenantry_tenant_backup_last_success_timestamp_seconds"
                        "{tenant=\"%s\"} > %" PRId64,
                        tenant, tier->alert_backup_age_ms / 1000);
}

static void write_rules(struct arena *arena, const struct tenant_work *work, struct jsonw *writer)
{
    const char *tenant = work->tenant->name;
    const struct alert alerts[] = {
        {"TenantryTenantNotReady",
         arena_printf(arena, "tenantry_tenant_ready{tenant=\"%s\"} == 0", tenant), "5m", "warning",
         "Tenant {{ $labels.tenant }} is not Ready.",
         "kubectl get tenant {{ $labels.tenant }} -o wide tells what is wrong and what to do about "
         "it."},
        {"TenantryProbeFailing",
         arena_printf(
             arena, "tenantry_tenant_probe_success{tenant=\"%s\",probe=~\"database|bucket\"} == 0",
             tenant),
         "1m", "critical",
         "The health check {{ $labels.probe }} of tenant {{ $labels.tenant }} fails.",
         "The tenant's own login, or key, does not get through to its data. The conditions "
         "MonitoringReady and StorageReady tell why."},
        {"TenantryQuotaNearlySpent", quota_expression(arena, tenant, work->tier), "10m", "info",
         "Tenant {{ $labels.tenant }} has used {{ $value | humanizePercentage }} of its "
         "{{ $labels.resource }}.",
         "At the limit, new things are refused. A larger tier or an override in spec.quotas raises "
         "it."},
        {"TenantryBackupTooOld", backup_expression(arena, tenant, work->tier), "15m", "warning",
         "The newest backup of tenant {{ $labels.tenant }} is {{ $value | humanizeDuration }} old.",
         "Nothing newer is in the tenant's bucket of backups: look at what writes them."},
    };

    jsonw_array(writer, "groups");
    jsonw_object(writer, NULL);
    jsonw_printf(writer, "name", "tenantry-tenant-%s", tenant);
    jsonw_array(writer, "rules");
    for (size_t i = 0; i < ARRAY_COUNT(alerts); i++) {
        write_alert(writer, &alerts[i]);
    }
    jsonw_end_array(writer);
    jsonw_end_object(writer);
    jsonw_end_array(writer);
}

/* ---- all of them ---- */

/* The label by which a Prometheus selects them. */
static const struct kube_pair *selecting_label(struct arena *arena, const char *flag)
{
    struct str value = str_from(flag);
    struct str name = str_cut(&value, '=');

    if (name.len == 0) {
        return NULL;
    }
    struct kube_pair *label = ARENA_NEW(arena, struct kube_pair);
    *label = (struct kube_pair){arena_strndup(arena, name.ptr, name.len),
                                arena_strndup(arena, value.ptr, value.len)};
    return label;
}

enum { OBJECTS_MAX = 3 };

static size_t intents_of(struct arena *arena, const struct tenant_work *work,
                         struct intent ret[OBJECTS_MAX])
{
    static const enum child_kind kinds[OBJECTS_MAX] = {CHILD_SERVICE_MONITOR, CHILD_POD_MONITOR,
                                                       CHILD_PROMETHEUS_RULE};
    const char *namespace_ = name_namespace(arena, work->tenant->subdomain);
    const struct kube_pair *label = selecting_label(arena, work->services->monitor_label);
    struct jsonw writer;
    size_t count = 0;

    for (size_t i = 0; i < OBJECTS_MAX; i++) {
        struct intent *intent = &ret[count];
        if (!children_serve(work->services->children, kinds[i])) {
            continue;
        }
        intent_init(arena, intent, kinds[i], namespace_, OBJECT_NAME);
        intent_begin(intent, &writer, work, label);
        jsonw_object(&writer, "spec");
        if (intent->kind == CHILD_PROMETHEUS_RULE) {
            write_rules(arena, work, &writer);
        } else {
            write_monitor(work, intent, &writer);
        }
        jsonw_end_object(&writer);
        jsonw_end_object(&writer);
        count++;
    }
    return count;
}

int monitoring_objects_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    const struct tenant_work *work = subject;
    struct intent intents[OBJECTS_MAX];

    if (!work->tier) {
        return 0; /* suspended, and the tier is gone: what stands stays */
    }
    size_t count = intents_of(rc->arena, work, intents);
    int result = children_apply(rc, work, intents, count, err);
    intents_release(intents, count);
    return result;
}

bool monitoring_objects_stand(const struct services *services, struct arena *arena,
                              const struct tenant *tenant, const struct tier *tier)
{
    struct tenant_work *work = ARENA_NEW(arena, struct tenant_work);
    struct intent intents[OBJECTS_MAX];

    if (!tier) {
        return true;
    }
    *work = (struct tenant_work){.services = services, .tenant = tenant, .tier = tier};
    size_t count = intents_of(arena, work, intents);
    bool stand = children_stand(services, arena, tenant, intents, count);
    intents_release(intents, count);
    return stand;
}
