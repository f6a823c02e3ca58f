#include "gateway/options.h"

#include <stddef.h>
#include <stdio.h>

#include "controller/base/flags.h"

#define AT(member) offsetof(struct options, member)
static const struct flag rows[] = {
    {"listen", FLAG_TEXT, AT(listen), 0, 0, "where requests come in (default :3000)"},
    {"metrics-address", FLAG_TEXT, AT(metrics_address), 0, 0,
     "where /metrics listens; empty = nowhere (default :8081)"},
    {"domain", FLAG_TEXT, AT(domain), 0, 0,
     "the platform's domain: tenants are hosts below it (default tenants.localhost)"},
    {"registry-url-file", FLAG_TEXT, AT(registry_url_file), 0, 0,
     "file with the libpq URI of the registry, as role tenantry_gateway"},
    {"password-file", FLAG_TEXT, AT(password_file), 0, 0,
     "file with that role's password on the tenants' database servers"},
    {"session-key-file", FLAG_TEXT, AT(session_key_file), 0, 0,
     "file with the keys that sign sessions, one a line, the one in use first; the same for all "
     "replicas (default: one made up at start)"},
    {"session-lifetime", FLAG_DURATION, AT(session_life_ms), 60000, 86400000,
     "how long a session lasts (default 1h)"},
    {"platform-token-file", FLAG_TEXT, AT(platform_token_file), 0, 0,
     "file with the token by which the platform's programs change quotas (default: none may)"},
    {"payment-token-file", FLAG_TEXT, AT(payment_token_file), 0, 0,
     "file with the token by which payments are told at /api/payments (default: none are taken)"},
    {"trusted-proxies", FLAG_TEXT, AT(trusted_proxies), 0, 0,
     "networks whose X-Forwarded-Host counts at /authz, such as 10.0.0.0/8 (default: none)"},
    {"tls-certificate-file", FLAG_TEXT, AT(certificate_file), 0, 0,
     "PEM certificate chain; taken anew when it changes (default: plain HTTP)"},
    {"tls-key-file", FLAG_TEXT, AT(key_file), 0, 0, "PEM key of that certificate"},
    {"threads", FLAG_INT, AT(threads), 1, 32, "threads that serve (default: one a processor)"},
    {"max-connections", FLAG_INT, AT(connections), 16, 1000000,
     "connections open at once (default 10000)"},
    {"database-connections", FLAG_INT, AT(database_connections), 1, 256,
     "connections to tenants' databases in all (default 16)"},
    {"head-timeout", FLAG_DURATION, AT(head_timeout_ms), 100, 300000,
     "how long the head of a request, or a TLS handshake, may take (default 10s)"},
    {"body-timeout", FLAG_DURATION, AT(body_timeout_ms), 100, 300000,
     "how long a request with its body may take (default 30s)"},
    {"write-timeout", FLAG_DURATION, AT(write_timeout_ms), 100, 300000,
     "how long a peer may take nothing of an answer (default 30s)"},
    {"idle-timeout", FLAG_DURATION, AT(idle_timeout_ms), 1000, 3600000,
     "how long a connection is kept between requests (default 75s)"},
    {"drain-delay", FLAG_DURATION, AT(drain_delay_ms), 0, 300000,
     "after SIGTERM, go on for so long while /readyz says no (default 3s)"},
    {"drain-timeout", FLAG_DURATION, AT(drain_timeout_ms), 0, 300000,
     "then wait so long for connections to end (default 20s)"},
    {"test-clock", FLAG_TEXT, AT(test_clock), 0, 0,
     "for tests: shift the time by the seconds in this file, which is read again and again"},
    {"log-level", FLAG_LEVEL, AT(log_level), 0, 0, "debug, info, warn or error (default info)"},
    {"log-format", FLAG_FORMAT, AT(log_format), 0, 0, "json or text (default json)"},
    {"version", FLAG_BOOL, AT(version), 0, 0, "print the version and end"},
    {"help", FLAG_BOOL, AT(help), 0, 0, "print this and end"},
};

static int check(const struct options *options, struct err *err)
{
    if (options->version || options->help) {
        return 0;
    }
    if (!options->registry_url_file || !options->password_file) {
        return err_set(err, ERR_TERMINAL, "InvalidOption",
                       "--registry-url-file and --password-file are needed");
    }
    if (!options->certificate_file != !options->key_file) {
        return err_set(err, ERR_TERMINAL, "InvalidOption",
                       "--tls-certificate-file and --tls-key-file go together");
    }
    return 0;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
    struct options options = {
        .listen = ":3000",
        .metrics_address = ":8081",
        .domain = "tenants.localhost",
        .trusted_proxies = "",
        .session_life_ms = 3600000,
        .connections = 10000,
        .database_connections = 16,
        .head_timeout_ms = 10000,
        .body_timeout_ms = 30000,
        .write_timeout_ms = 30000,
        .idle_timeout_ms = 75000,
        .drain_delay_ms = 3000,
        .drain_timeout_ms = 20000,
        .log_level = LOG_INFO,
        .log_format = LOG_JSON,
    };

    *ret = options;
    return flags_parse(rows, ARRAY_COUNT(rows), argc, argv, ret, err) || check(ret, err) ? -1 : 0;
}

void options_print_help(void)
{
    (void)printf(
        "tenantry-gateway decides about requests to tenants, and serves the tenant API.\n\n"
        "Usage: tenantry-gateway [flags]\n\nFlags:\n");
    flags_print(rows, ARRAY_COUNT(rows));
}
