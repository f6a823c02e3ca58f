/* The command line of tenantry-gateway. */
#ifndef TENANTRY_GATEWAY_OPTIONS_H
#define TENANTRY_GATEWAY_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/log.h"

struct options {
    const char *listen;
    const char *metrics_address;
    const char *domain;
    const char *registry_url_file;
    const char *password_file;
    const char *session_key_file; /* NULL: one that dies with the process */
    const char *platform_token_file;
    const char *payment_token_file;
    const char *trusted_proxies;
    const char *certificate_file;
    const char *key_file;
    const char *test_clock;
    int64_t session_life_ms;
    int64_t threads; /* 0: one a processor */
    int64_t connections;
    int64_t database_connections;
    int64_t head_timeout_ms;
    int64_t body_timeout_ms;
    int64_t write_timeout_ms;
    int64_t idle_timeout_ms;
    int64_t drain_delay_ms;
    int64_t drain_timeout_ms;
    enum log_level log_level;
    enum log_format log_format;
    bool version; /* instead of all else, as the next one */
    bool help;
};

/* Strings point into argv. Errors: TERMINAL/InvalidOption, naming the flag, and then *ret is half
 * filled. */
MUST_CHECK int options_parse(int argc, char **argv, struct options *ret, struct err *err);
/* What --help says, on standard output. */
void options_print_help(void);

#endif
