/* Live credentials: one mutex, caches with the time of their last reading, and one runner of the
 * plugin at a time, without the mutex, for whom the others wait. */
#include "controller/kube/credentials.h"

#include <math.h>
#include <pthread.h>

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/kube/credentials_internal.h"
#include "controller/kube/exec_plugin.h"

enum {
    TOKEN_FILE_PERIOD_MS = 50 * 1000,
    TLS_FILE_PERIOD_MS = 5 * 60 * 1000,
    TOKEN_MAX_BYTES = 64 * 1024,
    PEM_MAX_BYTES = 4 * 1024 * 1024,
    WAIT_SLICE_MS = 50, /* how soon a waiter for the plugin notices that it was canceled */
};

static struct metric ca_reload_total =
    METRIC_COUNTER("rest_client_transport_ca_reload_total",
                   "Readings of a changed file of certificate authorities.", "result");
static struct metric plugin_ttl =
    METRIC_GAUGE("rest_client_exec_plugin_ttl_seconds",
                 "Seconds until the plugin's credential expires, as of its last use; +Inf: never.");

/* client-go's: ten minutes to four years. */
static const double rotation_bounds[] = {600,     1800,    3600,     14400,    86400,    604800,
                                         2592000, 7776000, 15552000, 31104000, 124416000};
static struct metric rotation_age = METRIC_HISTOGRAM(
    "rest_client_exec_plugin_certificate_rotation_age",
    "Seconds that a plugin's client certificate lived before another took its place.",
    rotation_bounds, NULL);

/* PEM as in use now. */
struct material {
    struct secret ca; /* no secret, but the type that is read from files in one piece */
    struct secret certificate;
    struct secret key;
};

struct kube_credentials {
    const struct kube_config *config;

    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t plugin_ended;

    struct secret file_token;
    int64_t file_token_read_ms;
    bool file_token_due; /* read again now: it was refused, or never read */
    bool file_token_failing;

    struct material material;
    uint64_t tls_version;
    int64_t tls_read_ms;
    bool tls_failing;

    struct exec_credential plugin;
    bool plugin_valid;
    bool plugin_running;
    uint64_t plugin_runs;    /* that ended */
    struct err plugin_error; /* of the last run, class ERR_OK when it was fine */
};

static void material_release(struct material *material)
{
    secret_release(&material->ca);
    secret_release(&material->certificate);
    secret_release(&material->key);
}
static inline void auto_release_material(struct material *material)
{
    material_release(material);
}

static struct str secret_str(const struct secret *secret)
{
    return (struct str){secret_bytes(secret), secret_length(secret)};
}

/* A failure that is survived has no caller to be told; so it is logged, when it begins. */
static void warn_once(bool *failing, const char *message, const struct err *err)
{
    if (!*failing) {
        log_warn(NULL, message, KV_ERR(err));
    }
    *failing = true;
}

/* --- TLS material ----------------------------------------------------------------------------- */

static int read_part(struct secret *target, const char *path, struct str inline_pem,
                     struct err *err)
{
    if (path) {
        if (secret_read_file(target, path, PEM_MAX_BYTES, err) != 0) {
            return -1;
        }
        /* No authority at all would mean the system's, whom nobody asked to be trusted. */
        return secret_is_empty(target)
                   ? err_set(err, ERR_RETRY, "FileUnreadable", "%s is empty", path)
                   : 0;
    }
    if (inline_pem.len > 0) {
        secret_set(target, inline_pem);
    }
    return 0;
}

static int check_material(const struct kube_config *config, const struct material *material,
                          struct err *err)
{
    const struct http_tls tls = {.ca_pem = secret_str(&material->ca),
                                 .certificate_pem = secret_str(&material->certificate),
                                 .key_pem = &material->key,
                                 .insecure = config->insecure_skip_tls_verify};
    return http_tls_check(&tls, err);
}

/* Files and inline data; the plugin's certificate comes on top elsewhere. */
static int read_material(const struct kube_config *config, struct material *ret, struct err *err)
{
    if (read_part(&ret->ca, config->ca_file, config->ca_pem, err) != 0 ||
        read_part(&ret->certificate, config->certificate_file, config->certificate_pem, err) != 0 ||
        read_part(&ret->key, config->key_file, secret_str(&config->key_pem), err) != 0) {
        return -1;
    }
    return check_material(config, ret, err);
}

static bool material_equal(const struct material *a, const struct material *b)
{
    return secret_equal(&a->ca, &b->ca) && secret_equal(&a->certificate, &b->certificate) &&
           secret_equal(&a->key, &b->key);
}

/* Read the files again if they are due, and take what they hold if it is fine: a pair that is being
 * replaced, or a file half written, is tried again the next time. Called with the lock. */
static void refresh_material(struct kube_credentials *credentials)
{
    const struct kube_config *config = credentials->config;
    int64_t now_ms = clock_monotonic_ms();
    if ((!config->ca_file && !config->certificate_file && !config->key_file) ||
        now_ms - credentials->tls_read_ms < TLS_FILE_PERIOD_MS) {
        return;
    }
    AUTO(material) struct material fresh = {0};
    struct err err;
    credentials->tls_read_ms = now_ms;
    if (read_material(config, &fresh, &err) != 0) {
        metric_add(&ca_reload_total, 1, "failure");
        warn_once(&credentials->tls_failing, "TLS files cannot be read again, those in use stay",
                  &err);
        return;
    }
    credentials->tls_failing = false;
    if (material_equal(&fresh, &credentials->material)) {
        return;
    }
    metric_add(&ca_reload_total, 1, "success");
    struct material old = credentials->material;
    credentials->material = fresh;
    fresh = old;
    credentials->tls_version++;
}

/* --- token file --------------------------------------------------------------------------------
 */

static int read_token_file(struct kube_credentials *credentials, struct err *err)
{
    const char *path = credentials->config->token_file;
    AUTO(secret) struct secret raw = {0};
    if (secret_read_file(&raw, path, TOKEN_MAX_BYTES, err) != 0) {
        return -1;
    }
    struct str trimmed = str_trim(secret_str(&raw));
    if (trimmed.len == 0) {
        return err_set(err, ERR_RETRY, "CredentialsUnavailable", "the token file %s is empty",
                       path);
    }
    secret_set(&credentials->file_token, trimmed);
    credentials->file_token_read_ms = clock_monotonic_ms();
    credentials->file_token_due = false;
    return 0;
}

/* The file's token, or the older one while the file cannot be read. Called with the lock. */
static int token_from_file(struct kube_credentials *credentials, struct secret *token,
                           struct err *err)
{
    const struct kube_config *config = credentials->config;
    int64_t age_ms = clock_monotonic_ms() - credentials->file_token_read_ms;
    struct err failure;
    if (credentials->file_token_due || age_ms >= TOKEN_FILE_PERIOD_MS) {
        if (read_token_file(credentials, &failure) == 0) {
            credentials->file_token_failing = false;
        } else {
            warn_once(&credentials->file_token_failing,
                      "the token file cannot be read again, the token in use stays", &failure);
        }
    }
    const struct secret *held =
        secret_is_empty(&credentials->file_token) ? &config->token : &credentials->file_token;
    if (secret_is_empty(held)) {
        *err = failure;
        return err_reclass(err, ERR_RETRY, "CredentialsUnavailable");
    }
    secret_copy(token, held);
    return 0;
}

/* --- plugin ------------------------------------------------------------------------------------
 */

static bool has_plugin(const struct kube_credentials *credentials)
{
    const struct kube_config *config = credentials->config;
    /* As with kubectl, what the kubeconfig itself gives wins over the plugin. */
    return config->exec && secret_is_empty(&config->token) && !config->token_file &&
           text_is_empty(config->username);
}

static bool plugin_usable(const struct kube_credentials *credentials)
{
    return credentials->plugin_valid && clock_wall_us() < credentials->plugin.expires_wall_us;
}

static bool same_certificate(const struct exec_credential *a, const struct exec_credential *b)
{
    return text_equal(a->certificate_pem, b->certificate_pem) &&
           secret_equal(&a->key_pem, &b->key_pem);
}

static int check_plugin_certificate(const struct exec_credential *credential, struct err *err)
{
    const struct http_tls tls = {.certificate_pem = str_from(credential->certificate_pem),
                                 .key_pem = &credential->key_pem};
    if (http_tls_check(&tls, err) != 0) {
        return err_reclass(err, ERR_RETRY, "CredentialsUnavailable");
    }
    return 0;
}

static void set_plugin_ttl(const struct exec_credential *credential)
{
    const double second_us = 1e6;
    bool forever = credential->expires_wall_us == INT64_MAX;
    double left_us = (double)(credential->expires_wall_us - clock_wall_us());
    metric_set(&plugin_ttl, forever ? (double)INFINITY : left_us / second_us);
}

static void note_rotation(const struct exec_credential *before)
{
    int64_t age_s = http_certificate_age_s(str_from(before->certificate_pem));
    if (age_s >= 0) {
        metric_observe(&rotation_age, (double)age_s);
    }
}

/* Run it once; the lock is let go meanwhile. */
static void run_plugin(struct kube_credentials *credentials, const struct call *call)
{
    struct exec_credential fresh = {0};
    struct err err = {.cls = ERR_OK};
    credentials->plugin_running = true;
    pthread_mutex_unlock(&credentials->lock);
    bool fine =
        exec_plugin_run(credentials->config, call, EXEC_PLUGIN_TIMEOUT_MS, &fresh, &err) == 0 &&
        check_plugin_certificate(&fresh, &err) == 0;
    pthread_mutex_lock(&credentials->lock);
    credentials->plugin_running = false;
    credentials->plugin_runs++;
    credentials->plugin_error = err;
    if (fine) {
        if (!same_certificate(&fresh, &credentials->plugin)) {
            credentials->tls_version++;
            note_rotation(&credentials->plugin);
        }
        exec_credential_release(&credentials->plugin);
        credentials->plugin = fresh;
        credentials->plugin_valid = true;
        set_plugin_ttl(&credentials->plugin);
    } else {
        exec_credential_release(&fresh);
    }
    pthread_cond_broadcast(&credentials->plugin_ended);
}

static void wait_for_plugin(struct kube_credentials *credentials)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_SLICE_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    (void)pthread_cond_timedwait(&credentials->plugin_ended, &credentials->lock, &until);
}

/* A credential that holds now, from the cache or a run of the plugin: one's own, or that of another
 * caller, whose failure counts for all who waited. Called with the lock. */
static int ensure_plugin(struct kube_credentials *credentials, const struct call *call,
                         struct err *err)
{
    uint64_t runs_before = credentials->plugin_runs;
    while (!plugin_usable(credentials)) {
        const struct err *last = &credentials->plugin_error;
        if (credentials->plugin_runs > runs_before && last->cls != ERR_OK &&
            last->cls != ERR_CANCELED && !err_has_reason(last, "DeadlineExceeded")) {
            *err = *last;
            return -1;
        }
        if (call_check(call, err) != 0) {
            return -1;
        }
        if (credentials->plugin_running) {
            wait_for_plugin(credentials);
            continue;
        }
        run_plugin(credentials, call);
        if (credentials->plugin_error.cls != ERR_OK) {
            *err = credentials->plugin_error;
            return -1;
        }
        if (!plugin_usable(credentials)) {
            /* What it gave has expired already; the server is the judge of that, not our clock. */
            return 0;
        }
    }
    return 0;
}

/* --- public ------------------------------------------------------------------------------------
 */

int kube_credentials_new(const struct kube_config *config, struct kube_credentials **ret,
                         struct err *err)
{
    struct kube_credentials *credentials = xcalloc(1, sizeof(*credentials));
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&credentials->lock, NULL);
    pthread_cond_init(&credentials->plugin_ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    credentials->config = config;
    credentials->tls_version = 1;
    credentials->tls_read_ms = clock_monotonic_ms();
    credentials->file_token_due = config->token_file != NULL;
    if (read_material(config, &credentials->material, err) != 0 ||
        (config->token_file && secret_is_empty(&config->token) &&
         read_token_file(credentials, err) != 0)) {
        kube_credentials_free(credentials);
        return err_reclass(err, ERR_TERMINAL, "InvalidCredentials");
    }
    *ret = credentials;
    return 0;
}

void kube_credentials_free(struct kube_credentials *credentials)
{
    if (!credentials) {
        return;
    }
    material_release(&credentials->material);
    secret_release(&credentials->file_token);
    exec_credential_release(&credentials->plugin);
    pthread_cond_destroy(&credentials->plugin_ended);
    pthread_mutex_destroy(&credentials->lock);
    free(credentials);
}

void kube_credentials_expire_files(struct kube_credentials *credentials)
{
    pthread_mutex_lock(&credentials->lock);
    credentials->file_token_due = credentials->config->token_file != NULL;
    credentials->tls_read_ms = clock_monotonic_ms() - TLS_FILE_PERIOD_MS;
    pthread_mutex_unlock(&credentials->lock);
}

int kube_credentials_token(struct kube_credentials *credentials, const struct call *call,
                           struct secret *token, struct err *err)
{
    const struct kube_config *config = credentials->config;
    int result = 0;
    pthread_mutex_lock(&credentials->lock);
    if (config->token_file) {
        result = token_from_file(credentials, token, err);
    } else if (has_plugin(credentials)) {
        result = ensure_plugin(credentials, call, err);
        if (result == 0) {
            secret_copy(token, &credentials->plugin.token);
        }
    } else {
        secret_copy(token, &config->token);
    }
    pthread_mutex_unlock(&credentials->lock);
    return result;
}

void kube_credentials_refused(struct kube_credentials *credentials, const struct secret *token)
{
    pthread_mutex_lock(&credentials->lock);
    if (credentials->config->token_file && secret_equal(token, &credentials->file_token)) {
        credentials->file_token_due = true;
    }
    if (credentials->plugin_valid && secret_equal(token, &credentials->plugin.token)) {
        credentials->plugin_valid = false;
    }
    pthread_mutex_unlock(&credentials->lock);
}

bool kube_credentials_tls_changed(struct kube_credentials *credentials, uint64_t version)
{
    pthread_mutex_lock(&credentials->lock);
    refresh_material(credentials);
    bool changed = credentials->tls_version != version;
    pthread_mutex_unlock(&credentials->lock);
    return changed;
}

/* Copy the texts into one block that *ret owns. Called with the lock. */
static void copy_tls(const struct kube_credentials *credentials, struct kube_tls *ret)
{
    const struct kube_config *config = credentials->config;
    const char *plugin_certificate = credentials->plugin.certificate_pem;
    struct str ca = secret_str(&credentials->material.ca);
    struct str certificate = plugin_certificate ? str_from(plugin_certificate)
                                                : secret_str(&credentials->material.certificate);
    struct str name = str_from(config->tls_server_name);
    char *owned = xmalloc(ca.len + certificate.len + name.len + 1);
    char *at = owned;
    const struct str parts[] = {ca, certificate, name};
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        if (parts[i].len > 0) {
            memcpy(at, parts[i].ptr, parts[i].len);
        }
        at += parts[i].len;
    }
    *at = '\0';
    ret->owned = owned;
    secret_copy(&ret->key,
                plugin_certificate ? &credentials->plugin.key_pem : &credentials->material.key);
    ret->tls = (struct http_tls){
        .ca_pem = {owned, ca.len},
        .certificate_pem = {owned + ca.len, certificate.len},
        .key_pem = &ret->key,
        .server_name = name.len > 0 ? owned + ca.len + certificate.len : NULL,
        .insecure = config->insecure_skip_tls_verify,
    };
}

int kube_credentials_tls(struct kube_credentials *credentials, const struct call *call,
                         uint64_t *ret_version, struct kube_tls *ret, struct err *err)
{
    pthread_mutex_lock(&credentials->lock);
    int result = has_plugin(credentials) ? ensure_plugin(credentials, call, err) : 0;
    if (result == 0) {
        *ret = (struct kube_tls){0};
        copy_tls(credentials, ret);
        *ret_version = credentials->tls_version;
    }
    pthread_mutex_unlock(&credentials->lock);
    return result;
}

void kube_tls_release(struct kube_tls *tls)
{
    secret_release(&tls->key);
    free(tls->owned);
    *tls = (struct kube_tls){0};
}
