#include "controller/options.h"

#include <stddef.h>

#include "controller/base/clock.h"
#include "controller/base/str.h"

enum option_kind {
    OPTION_TEXT,
    OPTION_INT,
    OPTION_BOOL,
    OPTION_DURATION,
    OPTION_LEVEL,
    OPTION_FORMAT
};

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset;
    int64_t lowest; /* of OPTION_INT and OPTION_DURATION */
    int64_t highest;
    const char *help;
};

#define AT(member) offsetof(struct options, member)
static const struct option_row rows[] = {
    {"kubeconfig", OPTION_TEXT, AT(kubeconfig), 0, 0,
     "kubeconfig file (default: as kubectl finds it, else the pod's service account)"},
    {"context", OPTION_TEXT, AT(context), 0, 0, "context in it (default: the current one)"},
    {"registry-url-file", OPTION_TEXT, AT(registry_url_file), 0, 0,
     "file with the libpq URI of the registry (default: $TENANTRY_REGISTRY_URL)"},
    {"metrics-address", OPTION_TEXT, AT(metrics_address), 0, 0,
     "where /metrics, /healthz and /readyz listen; empty = nowhere (default :8080)"},
    {"namespace", OPTION_TEXT, AT(namespace_), 0, 0,
     "the controller's namespace (default tenantry-system)"},
    {"domain", OPTION_TEXT, AT(domain), 0, 0,
     "the platform's domain: tenants are hosts below it (default tenants.localhost)"},
    {"reserved-subdomains", OPTION_TEXT, AT(reserved_subdomains), 0, 0,
     "more words that no tenant may take, separated by commas"},
    {"ingress-namespaces", OPTION_TEXT, AT(ingress_namespaces), 0, 0,
     "namespaces of the proxies that may reach sandboxes, separated by commas"},
    {"postgres-tools", OPTION_TEXT, AT(postgres_tools), 0, 0,
     "folder of pg_dump and pg_restore, for snapshots (default: PATH)"},
    {"drift-period", OPTION_DURATION, AT(drift_period_ms), 1000, 86400000,
     "how often each tenant is compared with the world (default 5m, jittered)"},
    {"metering-period", OPTION_DURATION, AT(metering_period_ms), 1000, 3600000,
     "how often usage is looked at, and bills follow it (default 1m)"},
    {"workers", OPTION_INT, AT(workers), 1, 64, "tenants worked on at once (default 8)"},
    {"connections-per-server", OPTION_INT, AT(connections_per_server), 1, 64,
     "operations at once on one database server (default 4)"},
    {"leader-elect", OPTION_BOOL, AT(leader_elect), 0, 0,
     "act only while holding the Lease (default true)"},
    {"adopt-orphans", OPTION_BOOL, AT(adopt_orphans), 0, 0,
     "take over registry rows whose Tenant is gone, for a cluster rebuilt from Git"},
    {"disable-http2", OPTION_BOOL, AT(disable_http2), 0, 0, "speak HTTP/1.1 to the API server"},
    {"test-clock", OPTION_TEXT, AT(test_clock), 0, 0,
     "for tests: shift the time by the seconds in this file, which is read again and again"},
    {"log-level", OPTION_LEVEL, AT(log_level), 0, 0, "debug, info, warn or error (default info)"},
    {"log-format", OPTION_FORMAT, AT(log_format), 0, 0, "json or text (default json)"},
};

static const struct option_row *find_row(struct str name)
{
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (str_equal_c(name, rows[i].name)) {
            return &rows[i];
        }
    }
    return NULL;
}

static bool in_range(const struct option_row *row, int64_t value)
{
    return value >= row->lowest && value <= row->highest;
}

static bool set_bool(const char *text, bool *slot)
{
    if (text_equal(text, "true") || text_equal(text, "false")) {
        *slot = text_equal(text, "true");
        return true;
    }
    return false;
}

static bool set_value(const struct option_row *row, const char *text, struct options *options)
{
    void *slot = (char *)options + row->offset;
    switch (row->kind) {
    case OPTION_TEXT:
        *(const char **)slot = text;
        return true;
    case OPTION_INT:
        return str_to_int64(str_from(text), slot) && in_range(row, *(int64_t *)slot);
    case OPTION_DURATION:
        return clock_parse_duration_ms(str_from(text), slot) && in_range(row, *(int64_t *)slot);
    case OPTION_BOOL:
        return set_bool(text, slot);
    case OPTION_LEVEL:
        return log_parse_level(text, slot);
    case OPTION_FORMAT:
        return log_parse_format(text, slot);
    }
    return false;
}

static bool parse_action(const char *argument, struct options *options)
{
    static const struct {
        const char *flag;
        enum options_action action;
    } actions[] = {{"--help", OPTIONS_HELP},
                   {"-h", OPTIONS_HELP},
                   {"--version", OPTIONS_VERSION},
                   {"--print-reasons", OPTIONS_PRINT_REASONS}};
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++) {
        if (text_equal(argument, actions[i].flag)) {
            options->action = actions[i].action;
            return true;
        }
    }
    return false;
}

/* "--name=value", "--name value", and "--name" alone for a boolean. *index moves past what was
 * used. */
static int parse_flag(int argc, char **argv, int *index, struct options *options, struct err *err)
{
    const char *argument = argv[*index];
    if (!str_starts_with(str_from(argument), STR("--"))) {
        return err_set(err, ERR_TERMINAL, "InvalidOption", "unexpected argument \"%s\"; see --help",
                       argument);
    }
    struct str rest = str_from(argument + 2);
    bool has_value = memchr(rest.ptr, '=', rest.len) != NULL;
    const struct option_row *row = find_row(str_cut(&rest, '='));
    if (!row) {
        return err_set(err, ERR_TERMINAL, "InvalidOption", "unknown flag \"%s\"; see --help",
                       argument);
    }
    const char *value = has_value ? rest.ptr : "true";
    if (!has_value && row->kind != OPTION_BOOL) {
        if (*index + 1 >= argc) {
            return err_set(err, ERR_TERMINAL, "InvalidOption", "--%s needs a value", row->name);
        }
        value = argv[++*index];
    }
    if (!set_value(row, value, options)) {
        return err_set(err, ERR_TERMINAL, "InvalidOption", "--%s cannot be \"%s\": %s", row->name,
                       value, row->help);
    }
    return 0;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
    struct options options = {
        .metrics_address = ":8080",
        .namespace_ = "tenantry-system",
        .domain = "tenants.localhost",
        .reserved_subdomains = "",
        .ingress_namespaces = "",
        .postgres_tools = "",
        .drift_period_ms = 300000,
        .metering_period_ms = 60000,
        .workers = 8,
        .connections_per_server = 4,
        .leader_elect = true,
        .log_level = LOG_INFO,
        .log_format = LOG_JSON,
    };
    for (int i = 1; i < argc; i++) {
        if (!parse_action(argv[i], &options) && parse_flag(argc, argv, &i, &options, err)) {
            return -1;
        }
    }
    *ret = options;
    return 0;
}

void options_print_help(void)
{
    (void)printf("tenantry-controller makes the Tenants of a Kubernetes cluster real.\n\n"
                 "Usage: tenantry-controller [flags]\n\nFlags:\n");
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        (void)printf("  --%-24s %s\n", rows[i].name, rows[i].help);
    }
    (void)printf("  --%-24s %s\n  --%-24s %s\n  --%-24s %s\n", "print-reasons",
                 "list every condition reason, with what to do, and end", "version",
                 "print the version and end", "help", "print this and end");
}
