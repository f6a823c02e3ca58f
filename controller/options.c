#include "controller/options.h"

#include <stddef.h>

#include "controller/base/flags.h"

#define AT(member) offsetof(struct options, member)
static const struct flag rows[] = {
    {"kubeconfig", FLAG_TEXT, AT(kubeconfig), 0, 0,
     "kubeconfig file (default: as kubectl finds it, else the pod's service account)"},
    {"context", FLAG_TEXT, AT(context), 0, 0, "context in it (default: the current one)"},
    {"registry-url-file", FLAG_TEXT, AT(registry_url_file), 0, 0,
     "file with the libpq URI of the registry (default: $TENANTRY_REGISTRY_URL)"},
    {"metrics-address", FLAG_TEXT, AT(metrics_address), 0, 0,
     "where /metrics, /healthz and /readyz listen; empty = nowhere (default :8080)"},
    {"namespace", FLAG_TEXT, AT(namespace_), 0, 0,
     "the controller's namespace (default tenantry-system)"},
    {"domain", FLAG_TEXT, AT(domain), 0, 0,
     "the platform's domain: tenants are hosts below it (default tenants.localhost)"},
    {"reserved-subdomains", FLAG_TEXT, AT(reserved_subdomains), 0, 0,
     "more words that no tenant may take, separated by commas"},
    {"ingress-namespaces", FLAG_TEXT, AT(ingress_namespaces), 0, 0,
     "namespaces of the proxies that may reach sandboxes, separated by commas"},
    {"sandbox-gateway", FLAG_TEXT, AT(sandbox_gateway), 0, 0,
     "NAMESPACE/NAME[/LISTENER] of the Gateway that sandboxes get HTTPRoutes of, where the cluster "
     "has the kind"},
    {"sandbox-ingress-class", FLAG_TEXT, AT(sandbox_ingress_class), 0, 0,
     "IngressClass that sandboxes get Ingresses of, where they get no HTTPRoutes"},
    {"monitor-label", FLAG_TEXT, AT(monitor_label), 0, 0,
     "NAME=VALUE of a label by which Prometheus selects the tenants' monitors and rules"},
    {"postgres-tools", FLAG_TEXT, AT(postgres_tools), 0, 0,
     "folder of pg_dump and pg_restore, for snapshots (default: PATH)"},
    {"smtp-url", FLAG_TEXT, AT(smtp_url), 0, 0,
     "mail relay for messages to owners, smtp://HOST:PORT (STARTTLS) or smtps://HOST:PORT"},
    {"smtp-from", FLAG_TEXT, AT(smtp_from), 0, 0, "the address that mail comes from"},
    {"smtp-ca-file", FLAG_TEXT, AT(smtp_ca_file), 0, 0,
     "authorities by whose word the relay is the right one (default: the system's)"},
    {"smtp-credentials-secret", FLAG_TEXT, AT(smtp_credentials_secret), 0, 0,
     "Secret in the controller's namespace with the relay's username and password"},
    {"owner-password-expiry", FLAG_DURATION, AT(owner_password_ms), 1000, 31536000000,
     "when an owner's unused temporary password is replaced (default 168h)"},
    {"meter-period", FLAG_DURATION, AT(meter_period_ms), 0, 86400000,
     "how often the running time of sandboxes is written down; 0 = not by this program (default "
     "1m)"},
    {"idle-period", FLAG_DURATION, AT(idle_period_ms), 1000, 86400000,
     "how often at least it is looked at whose sandboxes may sleep, while a tier lets them "
     "(default "
     "1m)"},
    {"probe-period", FLAG_DURATION, AT(probe_period_ms), 1000, 86400000,
     "how often each tenant's health is checked (default 1m, jittered)"},
    {"drift-period", FLAG_DURATION, AT(drift_period_ms), 1000, 86400000,
     "how often each tenant is compared with the world (default 5m, jittered)"},
    {"metering-period", FLAG_DURATION, AT(metering_period_ms), 0, 3600000,
     "how often usage is looked at, and bills follow it; 0 = not by this program (default 1m)"},
    {"workers", FLAG_INT, AT(workers), 1, 64, "tenants worked on at once (default 8)"},
    {"connections-per-server", FLAG_INT, AT(connections_per_server), 1, 64,
     "operations at once on one database server (default 4)"},
    {"leader-elect", FLAG_BOOL, AT(leader_elect), 0, 0,
     "act only while holding the Lease (default true)"},
    {"adopt-orphans", FLAG_BOOL, AT(adopt_orphans), 0, 0,
     "take over registry rows whose Tenant is gone, for a cluster rebuilt from Git"},
    {"disable-http2", FLAG_BOOL, AT(disable_http2), 0, 0, "speak HTTP/1.1 to the API server"},
    {"test-clock", FLAG_TEXT, AT(test_clock), 0, 0,
     "for tests: shift the time by the seconds in this file, which is read again and again"},
    {"log-level", FLAG_LEVEL, AT(log_level), 0, 0, "debug, info, warn or error (default info)"},
    {"log-format", FLAG_FORMAT, AT(log_format), 0, 0, "json or text (default json)"},
    {"print-reasons", FLAG_BOOL, AT(print_reasons), 0, 0,
     "list every condition reason, with what to do, and end"},
    {"version", FLAG_BOOL, AT(version), 0, 0, "print the version and end"},
    {"help", FLAG_BOOL, AT(help), 0, 0, "print this and end"},
};

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
    struct options options = {
        .metrics_address = ":8080",
        .namespace_ = "tenantry-system",
        .domain = "tenants.localhost",
        .reserved_subdomains = "",
        .ingress_namespaces = "",
        .sandbox_gateway = "",
        .sandbox_ingress_class = "",
        .monitor_label = "",
        .postgres_tools = "",
        .smtp_url = "",
        .smtp_from = "",
        .owner_password_ms = 604800000,
        .meter_period_ms = 60000,
        .idle_period_ms = 60000,
        .probe_period_ms = 60000,
        .drift_period_ms = 300000,
        .metering_period_ms = 60000,
        .workers = 8,
        .connections_per_server = 4,
        .leader_elect = true,
        .log_level = LOG_INFO,
        .log_format = LOG_JSON,
    };
    *ret = options;
    return flags_parse(rows, ARRAY_COUNT(rows), argc, argv, ret, err);
}

void options_print_help(void)
{
    (void)printf("tenantry-controller makes the Tenants of a Kubernetes cluster real.\n\n"
                 "Usage: tenantry-controller [flags]\n\nFlags:\n");
    flags_print(rows, ARRAY_COUNT(rows));
}
