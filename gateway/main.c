/* Wiring only: flags, services, threads; freed in reverse. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/hash.h"
#include "controller/base/js.h"
#include "controller/base/log.h"
#include "controller/base/metrics.h"
#include "controller/net/http_server.h"
#include "gateway/auth.h"
#include "gateway/feed.h"
#include "gateway/front.h"
#include "gateway/gateway.h"
#include "gateway/options.h"
#include "gateway/places.h"
#include "gateway/quota.h"
#include "gateway/session.h"
#include "gateway/tenants.h"
#include "gateway/trust.h"
#include "gateway/workers.h"
#include "reconcilers/drivers/sql_pool.h"

enum {
    FILE_MAX_BYTES = 4096,
    WORKERS = 8,
    WORKERS_QUEUE = 1024,
    HASHERS = 2,
    HASHERS_QUEUE = 64, /* a quarter of a second each: more would wait in vain */
    REGISTRY_CONNECTIONS = 2,
    TOKEN_MIN_CHARACTERS = 32,
};

/* Everything with the lifetime of the process, in the order in which it is made. */
struct program {
    struct options options;
    struct secret registry_url;
    struct gateway gateway;
    struct front *front;
    struct http_server *metrics;
};

static int open_registry(void *context, const struct call *call, struct sql_conn **ret,
                         struct err *err)
{
    const struct program *program = context;

    return sql_connect_uri(call, &program->registry_url, ret, err);
}

/* The digest of the token in the file; none, without a file. */
static int load_token(const char *flag, const char *file, unsigned char ret_digest[SHA256_BYTES],
                      bool *ret_is_there, struct err *err)
{
    AUTO(secret) struct secret token = {0};

    if (!file) {
        return 0;
    }
    if (secret_read_file(&token, file, FILE_MAX_BYTES, err)) {
        return err_wrap(err, "--%s", flag);
    }
    if (secret_length(&token) < TOKEN_MIN_CHARACTERS) {
        return err_set(err, ERR_TERMINAL, "InvalidOption",
                       "--%s: the token has fewer than %d characters", flag, TOKEN_MIN_CHARACTERS);
    }
    hash_sha256((struct str){secret_bytes(&token), secret_length(&token)}, ret_digest);
    *ret_is_there = true;
    return 0;
}

static int load_tokens(struct program *program, struct err *err)
{
    const struct options *options = &program->options;
    struct gateway *gateway = &program->gateway;

    return load_token("platform-token-file", options->platform_token_file, gateway->platform,
                      &gateway->has_platform, err) ||
                   load_token("payment-token-file", options->payment_token_file, gateway->payments,
                              &gateway->has_payments, err)
               ? -1
               : 0;
}

static int load_files(struct program *program, struct err *err)
{
    const struct options *options = &program->options;
    struct gateway *gateway = &program->gateway;

    if (options->test_clock && clock_follow_file(options->test_clock, err)) {
        return err_wrap(err, "--test-clock");
    }
    if (secret_read_file(&program->registry_url, options->registry_url_file, FILE_MAX_BYTES, err)) {
        return err_wrap(err, "--registry-url-file");
    }
    if (!options->session_key_file) {
        log_warn(NULL, "without --session-key-file sessions end with this process, and no other "
                       "replica takes them");
    }
    return sessions_new(options->session_key_file, options->session_life_ms / 1000,
                        &gateway->sessions, err) ||
                   load_tokens(program, err) ||
                   trust_new(options->trusted_proxies, &gateway->trust, err)
               ? -1
               : 0;
}

static void make_services(struct program *program)
{
    const struct options *options = &program->options;
    struct gateway *gateway = &program->gateway;

    random_uuid(gateway->replica);
    atomic_init(&gateway->replica_count, 1);
    gateway->tenants = tenants_new(options->domain);
    gateway->auth = auth_new();
    gateway->places = places_new(options->password_file, (int)options->database_connections);
    gateway->registry = sql_pool_new("registry", REGISTRY_CONNECTIONS, open_registry, program);
    gateway->workers = workers_new("worker", WORKERS, WORKERS_QUEUE);
    gateway->hashers = workers_new("hasher", HASHERS, HASHERS_QUEUE);
    gateway->quota = quota_new(&program->registry_url, gateway->replica);
    gateway->feed = feed_new(gateway, &program->registry_url);
}

static int render_metrics(void *context, struct buf *out, const char **content_type)
{
    (void)context;
    *content_type = "text/plain; version=0.0.4; charset=utf-8";
    return metrics_render(out) ? 200 : 500;
}

static int serve_metrics(struct program *program, struct err *err)
{
    static const struct http_page page = {"/metrics", render_metrics, NULL};
    const struct http_server_config config = {
        .address = program->options.metrics_address, .pages = &page, .page_count = 1};

    return *program->options.metrics_address ? http_server_new(&config, &program->metrics, err) : 0;
}

static int make_program(struct program *program, struct err *err)
{
    const struct options *options = &program->options;
    int64_t processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (load_files(program, err)) {
        return -1;
    }
    make_services(program);
    const struct front_config config = {
        .address = options->listen,
        .threads = (int)(options->threads > 0 ? options->threads
                         : processors > 0     ? processors
                                              : 1),
        .connections_max = (int)options->connections,
        .certificate_file = options->certificate_file,
        .key_file = options->key_file,
        .head_ms = options->head_timeout_ms,
        .body_ms = options->body_timeout_ms,
        .write_ms = options->write_timeout_ms,
        .idle_ms = options->idle_timeout_ms,
        .drain_ms = options->drain_timeout_ms,
    };
    return front_new(&program->gateway, &config, &program->front, err) ||
                   serve_metrics(program, err)
               ? -1
               : 0;
}

/* Whoever can still wake a connection goes before the connections. */
static void free_program(struct program *program)
{
    struct gateway *gateway = &program->gateway;

    http_server_free(program->metrics);
    workers_free(gateway->workers);
    workers_free(gateway->hashers);
    feed_free(gateway->feed);
    quota_free(gateway->quota);
    front_free(program->front);
    if (gateway->registry) {
        sql_pool_free(gateway->registry);
    }
    places_free(gateway->places);
    auth_free(gateway->auth);
    tenants_free(gateway->tenants);
    sessions_free(gateway->sessions);
    trust_free(gateway->trust);
    secret_release(&program->registry_url);
}

static int wait_for_signal(void)
{
    sigset_t set;
    int number = 0;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigwait(&set, &number);
    return number;
}

/* Say that no more requests should come, take those that still do, end what is under way. */
static void drain(struct program *program)
{
    log_info(NULL, "draining");
    atomic_store(&program->gateway.draining, true);
    if (cancel_sleep_ms(NULL, program->options.drain_delay_ms)) {
        front_drain(program->front);
    }
}

static int run(struct program *program)
{
    struct err err = {0};
    int status = EXIT_FAILURE;

    secret_harden_process();
    js_init();
    if (make_program(program, &err)) {
        log_error(NULL, "cannot start", KV_ERR(&err));
    } else {
        log_info(NULL, "serving", KV("version", TENANTRY_VERSION),
                 KV("domain", program->options.domain), KV("listen", program->options.listen),
                 KV_INT("port", front_port(program->front)));
        (void)wait_for_signal();
        drain(program);
        status = EXIT_SUCCESS;
    }
    free_program(program);
    return status;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct err err = {0};
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)mallopt(M_ARENA_MAX, 2); /* threads allocate little; an arena each would scatter it */
    if (options_parse(argc, argv, &program.options, &err)) {
        (void)fprintf(stderr, "tenantry-gateway: %s\n", err.message);
        return 2;
    }
    log_configure(program.options.log_level, program.options.log_format);
    if (program.options.help) {
        options_print_help();
        return EXIT_SUCCESS;
    }
    if (program.options.version) {
        (void)printf("tenantry-gateway %s\n", TENANTRY_VERSION);
        return EXIT_SUCCESS;
    }
    return run(&program);
}
