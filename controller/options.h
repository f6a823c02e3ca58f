/* The command line of tenantry-controller: a table of flags, which also prints the help. */
#ifndef TENANTRY_OPTIONS_H
#define TENANTRY_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/log.h"

struct options {
    const char *kubeconfig; /* NULL: as kubectl finds it, or in-cluster */
    const char *context;
    const char *registry_url_file; /* NULL: the environment variable TENANTRY_REGISTRY_URL */
    const char *metrics_address;
    const char *namespace_;
    const char *domain;
    const char *reserved_subdomains;
    const char *postgres_tools;
    const char *test_clock; /* NULL: the time is what the machine says */
    const char *ingress_namespaces;
    const char *sandbox_gateway;       /* "NAMESPACE/NAME[/LISTENER]" of a Gateway; "": none */
    const char *sandbox_ingress_class; /* "": none */
    const char *monitor_label;         /* "NAME=VALUE"; "": none */
    const char *smtp_url;              /* "": no mail */
    const char *smtp_from;
    const char *smtp_ca_file;
    const char *smtp_credentials_secret;
    int64_t owner_password_ms;
    int64_t meter_period_ms;
    int64_t idle_period_ms;
    int64_t probe_period_ms;
    int64_t drift_period_ms;
    int64_t metering_period_ms;
    int64_t workers;
    int64_t connections_per_server;
    bool leader_elect;
    bool adopt_orphans;
    bool disable_http2;
    enum log_level log_level;
    enum log_format log_format;
    bool print_reasons; /* instead of all else, as the next two */
    bool version;
    bool help;
};

/* Strings point into argv. Errors: TERMINAL/InvalidOption, naming the flag, and then *ret is half
 * filled. */
MUST_CHECK int options_parse(int argc, char **argv, struct options *ret, struct err *err);
/* What --help says, on standard output. */
void options_print_help(void);

#endif
