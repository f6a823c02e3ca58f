/* From kubeconfig entries or a pod's mounted service account to one immutable kube_config. What is
 * refused here, and in which words, follows client-go's validation. */
#include "controller/kube/config.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "controller/base/buf.h"
#include "controller/base/js.h"
#include "controller/kube/kubeconfig.h"

enum {
    DATA_MAX_BYTES = 4 * 1024 * 1024,
    NAMESPACE_FILE_MAX_BYTES = 256,
    HEADER_NAME_MAX_BYTES = 4096,
};

static const char SERVICE_ACCOUNT_FOLDER[] = "/var/run/secrets/kubernetes.io/serviceaccount";
static const char EXEC_EXTENSION[] = "client.authentication.k8s.io/exec";

/* One entry of a kubeconfig on its way into a kube_config. */
struct source {
    const json_t *entry;
    const char *folder; /* relative paths start here */
    const char *label;  /* `user "ann"` */
};

static int invalid(const struct source *source, struct err *err, const char *format, ...)
    PRINTF_LIKE(3, 4);

static int invalid(const struct source *source, struct err *err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    err_setv(err, ERR_TERMINAL, "InvalidKubeconfig", format, arguments);
    va_end(arguments);
    return err_wrap(err, "kubeconfig: %s", source->label);
}

/* NULL when absent. Borrowed from the entry. */
static const char *peek(const struct source *source, const char *field)
{
    return json_string_value(json_object_get(source->entry, field));
}

static const char *copy(struct kube_config *config, const struct source *source, const char *field)
{
    const char *text = peek(source, field);
    return text ? arena_strdup(&config->arena, text) : NULL;
}

static const char *copy_path(struct kube_config *config, const struct source *source,
                             const char *field)
{
    const char *path = peek(source, field);
    if (!path) {
        return NULL;
    }
    return path[0] == '/' ? arena_strdup(&config->arena, path)
                          : arena_printf(&config->arena, "%s/%s", source->folder, path);
}

/* Decode a -data field, which the reader has found to be base64. False when absent or empty. */
static bool decode(const struct source *source, const char *field, struct buf *out)
{
    const char *text = peek(source, field);
    return text && buf_decode_base64(out, str_from(text)) && out->len > 0;
}

static struct str copy_data(struct kube_config *config, const struct source *source,
                            const char *field)
{
    AUTO(buf) struct buf data = BUF((size_t)DATA_MAX_BYTES);
    if (!decode(source, field, &data)) {
        return (struct str){0};
    }
    return (struct str){arena_strndup(&config->arena, data.ptr, data.len), data.len};
}

static void copy_secret_data(struct secret *target, const struct source *source, const char *field)
{
    AUTO(buf) struct buf data = BUF((size_t)DATA_MAX_BYTES);
    if (decode(source, field, &data)) {
        secret_set(target, buf_str(&data));
        explicit_bzero(data.ptr, data.len);
    }
}

/* --- cluster --------------------------------------------------------------------------------- */

static int take_server(struct kube_config *config, const struct source *source, bool tls_settings,
                       struct err *err)
{
    const char *server = peek(source, "server");
    if (!server) {
        return invalid(source, err, "\"server\" is missing");
    }
    if (!strstr(server, "://")) { /* as client-go takes a bare host */
        config->server =
            arena_printf(&config->arena, "%s://%s", tls_settings ? "https" : "http", server);
    } else {
        config->server = arena_strdup(&config->arena, server);
    }
    struct str rest = str_from(config->server);
    bool known = strncasecmp(config->server, "https://", strlen("https://")) == 0 ||
                 strncasecmp(config->server, "http://", strlen("http://")) == 0;
    const char *host = strstr(config->server, "://") + strlen("://");
    if (!known || *host == '\0' || *host == '/' || strpbrk(config->server, "?#@ \t\r\n")) {
        return invalid(source, err, "\"server\" must be https://HOST[:PORT][/PATH]");
    }
    while (rest.len > 0 && rest.ptr[rest.len - 1] == '/') {
        rest.len--;
    }
    config->server = arena_strndup(&config->arena, rest.ptr, rest.len);
    return 0;
}

static int take_proxy(struct kube_config *config, const struct source *source, struct err *err)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://"};
    config->proxy_url = copy(config, source, "proxy-url");
    if (!config->proxy_url) {
        return 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(schemes); i++) {
        if (strncasecmp(config->proxy_url, schemes[i], strlen(schemes[i])) == 0) {
            return 0;
        }
    }
    /* The URL may hold a password, so it is not shown. */
    return invalid(source, err, "\"proxy-url\" must begin with http://, https:// or socks5://");
}

static int take_cluster(struct kube_config *config, const struct source *source, struct err *err)
{
    config->tls_server_name = copy(config, source, "tls-server-name");
    config->insecure_skip_tls_verify =
        js_bool_or(source->entry, "/insecure-skip-tls-verify", false);
    config->disable_compression = js_bool_or(source->entry, "/disable-compression", false);
    config->ca_pem = copy_data(config, source, "certificate-authority-data");
    if (config->ca_pem.len == 0) { /* data beats the file */
        config->ca_file = copy_path(config, source, "certificate-authority");
    }
    bool has_ca = config->ca_pem.len > 0 || config->ca_file;
    if (has_ca && config->insecure_skip_tls_verify) {
        return invalid(source, err,
                       "a certificate authority and insecure-skip-tls-verify exclude each other");
    }
    if (take_server(config, source, has_ca || config->insecure_skip_tls_verify, err) != 0) {
        return -1;
    }
    return take_proxy(config, source, err);
}

/* --- user ------------------------------------------------------------------------------------ */

static int take_certificate(struct kube_config *config, const struct source *source,
                            struct err *err)
{
    config->certificate_pem = copy_data(config, source, "client-certificate-data");
    if (config->certificate_pem.len == 0) {
        config->certificate_file = copy_path(config, source, "client-certificate");
    }
    copy_secret_data(&config->key_pem, source, "client-key-data");
    if (secret_is_empty(&config->key_pem)) {
        config->key_file = copy_path(config, source, "client-key");
    }
    bool has_certificate = config->certificate_pem.len > 0 || config->certificate_file;
    bool has_key = !secret_is_empty(&config->key_pem) || config->key_file;
    if (has_certificate && !has_key) {
        return invalid(source, err, "a client-certificate wants a client-key or client-key-data");
    }
    if (has_key && !has_certificate) {
        return invalid(source, err,
                       "a client-key wants a client-certificate or client-certificate-data");
    }
    return 0;
}

static int take_token_or_password(struct kube_config *config, const struct source *source,
                                  struct err *err)
{
    const char *token = peek(source, "token");
    const char *username = peek(source, "username");
    const char *password = peek(source, "password");
    if (token && (username || password)) {
        return invalid(source, err, "token and username exclude each other");
    }
    if (password && !username) {
        return invalid(source, err, "a password wants a username");
    }
    if (token) {
        secret_set(&config->token, str_from(token));
    }
    config->token_file = copy_path(config, source, "tokenFile");
    config->username = copy(config, source, "username");
    if (password) {
        secret_set(&config->password, str_from(password));
    }
    return 0;
}

/* A header's name takes letters, digits and some marks; other bytes are percent-encoded, and the
 * server decodes them. */
static const char *extra_header_name(struct arena *arena, const char *key)
{
    AUTO(buf) struct buf name = BUF((size_t)HEADER_NAME_MAX_BYTES);
    buf_append_text(&name, "Impersonate-Extra-");
    for (const char *at = key; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        bool alphanumeric = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                            (byte >= 'A' && byte <= 'Z');
        if (alphanumeric || strchr("!#$&'*+-.^_`|~", byte)) {
            buf_append_char(&name, *at);
        } else {
            buf_printf(&name, "%%%02X", byte);
        }
    }
    return buf_failed(&name) ? NULL : arena_strdup(arena, buf_text(&name));
}

static size_t count_impersonation(const json_t *entry)
{
    size_t count = 2 + json_array_size(json_object_get(entry, "as-groups"));
    const char *key = NULL;
    json_t *values = NULL;
    json_object_foreach(json_object_get(entry, "as-user-extra"), key, values)
    {
        count += json_array_size(values);
    }
    return count;
}

static void add_impersonation(struct kube_config *config, struct kube_header_value *headers,
                              const char *name, const char *value)
{
    if (value) {
        headers[config->impersonate_count].name = name;
        headers[config->impersonate_count].value = arena_strdup(&config->arena, value);
        config->impersonate_count++;
    }
}

static int take_impersonation(struct kube_config *config, const struct source *source,
                              struct err *err)
{
    const json_t *groups = json_object_get(source->entry, "as-groups");
    json_t *extra = json_object_get(source->entry, "as-user-extra");
    if (!peek(source, "as") && (peek(source, "as-uid") || groups || extra)) {
        return invalid(source, err, "as-uid, as-groups and as-user-extra want \"as\"");
    }
    struct kube_header_value *headers =
        ARENA_ARRAY(&config->arena, struct kube_header_value, count_impersonation(source->entry));
    config->impersonate = headers;
    add_impersonation(config, headers, "Impersonate-User", peek(source, "as"));
    add_impersonation(config, headers, "Impersonate-Uid", peek(source, "as-uid"));
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach(groups, index, item)
    {
        add_impersonation(config, headers, "Impersonate-Group", json_string_value(item));
    }
    const char *key = NULL;
    json_t *values = NULL;
    json_object_foreach(extra, key, values)
    {
        const char *name = extra_header_name(&config->arena, key);
        if (!name) {
            return invalid(source, err, "a name in as-user-extra is too long");
        }
        json_array_foreach(values, index, item)
        {
            add_impersonation(config, headers, name, json_string_value(item));
        }
    }
    return 0;
}

static int check_exec(const struct source *source, const struct kube_exec *exec,
                      const char *interactive_mode, struct err *err)
{
    bool v1 = text_equal(exec->api_version, "client.authentication.k8s.io/v1");
    if (text_is_empty(exec->command)) {
        return invalid(source, err, "exec: \"command\" is missing");
    }
    if (!v1 && !text_equal(exec->api_version, "client.authentication.k8s.io/v1beta1")) {
        return invalid(source, err,
                       "exec: \"apiVersion\" must be client.authentication.k8s.io/v1 or v1beta1");
    }
    if (v1 && !interactive_mode) {
        return invalid(source, err, "exec: \"interactiveMode\" is missing; write Never");
    }
    if (text_equal(interactive_mode, "Always")) {
        return invalid(source, err,
                       "exec: a plugin that always wants a person to talk to cannot be used here");
    }
    if (interactive_mode && !text_equal(interactive_mode, "Never") &&
        !text_equal(interactive_mode, "IfAvailable")) {
        return invalid(source, err, "exec: \"interactiveMode\" must be Never or IfAvailable");
    }
    return 0;
}

static const char *exec_command(struct kube_config *config, const struct source *exec)
{
    const char *command = peek(exec, "command");
    /* A bare name is looked up in PATH. */
    return command && strchr(command, '/') ? copy_path(config, exec, "command")
                                           : copy(config, exec, "command");
}

static const char *exec_cluster_config(struct kube_config *config, const struct source *cluster)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach(json_object_get(cluster->entry, "extensions"), index, item)
    {
        if (text_equal(js_text_or(item, "/name", ""), EXEC_EXTENSION)) {
            const json_t *value = js_at(item, "/extension");
            AUTO(free) char *text = value ? js_print(value) : NULL;
            return text ? arena_strdup(&config->arena, text) : NULL;
        }
    }
    return NULL;
}

static int take_exec(struct kube_config *config, const struct source *user,
                     const struct source *cluster, struct err *err)
{
    const struct source source = {json_object_get(user->entry, "exec"), user->folder, user->label};
    if (!source.entry) {
        return 0;
    }
    struct arena *arena = &config->arena;
    const json_t *arguments = json_object_get(source.entry, "args");
    const json_t *env = json_object_get(source.entry, "env");
    size_t argument_count = json_array_size(arguments);
    size_t env_count = json_array_size(env);
    const char **argument_list = ARENA_ARRAY(arena, const char *, argument_count);
    struct kube_exec_env *env_list = ARENA_ARRAY(arena, struct kube_exec_env, env_count);
    for (size_t i = 0; i < argument_count; i++) {
        argument_list[i] = arena_strdup(arena, json_string_value(json_array_get(arguments, i)));
    }
    for (size_t i = 0; i < env_count; i++) {
        const json_t *item = json_array_get(env, i);
        env_list[i].name = arena_strdup(arena, js_text_or(item, "/name", ""));
        env_list[i].value = arena_strdup(arena, js_text_or(item, "/value", ""));
    }
    struct kube_exec *exec = ARENA_NEW(arena, struct kube_exec);
    const char *hint = copy(config, &source, "installHint");
    *exec = (struct kube_exec){
        .api_version = copy(config, &source, "apiVersion"),
        .command = exec_command(config, &source),
        .arguments = argument_list,
        .argument_count = argument_count,
        .env = env_list,
        .env_count = env_count,
        .provide_cluster_info = js_bool_or(source.entry, "/provideClusterInfo", false),
        .cluster_config_json = exec_cluster_config(config, cluster),
        .install_hint = hint ? hint : "",
    };
    config->exec = exec;
    return check_exec(&source, exec, peek(&source, "interactiveMode"), err);
}

static int take_user(struct kube_config *config, const struct source *user,
                     const struct source *cluster, struct err *err)
{
    if (json_object_get(user->entry, "auth-provider")) {
        return invalid(user, err,
                       "auth-provider is not supported any more, by kubectl neither; use exec");
    }
    if (take_certificate(config, user, err) != 0 ||
        take_token_or_password(config, user, err) != 0 ||
        take_impersonation(config, user, err) != 0) {
        return -1;
    }
    return take_exec(config, user, cluster, err);
}

/* --- the whole ------------------------------------------------------------------------------- */

static void config_init(struct kube_config *config)
{
    *config = (struct kube_config){0};
    arena_init(&config->arena, 0);
    secret_init(&config->key_pem);
    secret_init(&config->token);
    secret_init(&config->password);
}

void kube_config_release(struct kube_config *config)
{
    secret_release(&config->key_pem);
    secret_release(&config->token);
    secret_release(&config->password);
    arena_release(&config->arena);
    *config = (struct kube_config){0};
}

static int missing(const struct kubeconfig *files, const char *kind, const char *name,
                   struct err *err)
{
    return err_set(err, ERR_TERMINAL, "InvalidKubeconfig",
                   "kubeconfig: there is no %s \"%s\" in %s", kind, name, files->looked_at);
}

static int fill_config(struct kube_config *config, const struct kubeconfig *files,
                       const char *context, struct err *err)
{
    const char *ignored = NULL;
    const json_t *entry = kubeconfig_entry(files, KUBECONFIG_CONTEXT, context, &ignored);
    if (!entry) {
        return missing(files, "context", context, err);
    }
    const char *cluster_name = js_text_or(entry, "/cluster", "");
    const char *user_name = js_text_or(entry, "/user", "");
    config->context = arena_strdup(&config->arena, context);
    config->namespace_ = arena_strdup(&config->arena, js_text_or(entry, "/namespace", "default"));

    AUTO(free) char *cluster_label = xasprintf("cluster \"%s\"", cluster_name);
    struct source cluster = {.label = cluster_label};
    cluster.entry = kubeconfig_entry(files, KUBECONFIG_CLUSTER, cluster_name, &cluster.folder);
    if (!cluster.entry) {
        return missing(files, "cluster", cluster_name, err);
    }
    if (take_cluster(config, &cluster, err) != 0) {
        return -1;
    }
    AUTO(free) char *user_label = xasprintf("user \"%s\"", user_name);
    struct source user = {.label = user_label};
    user.entry = kubeconfig_entry(files, KUBECONFIG_USER, user_name, &user.folder);
    if (!user.entry) {
        return user_name[0] ? missing(files, "user", user_name, err) : 0;
    }
    return take_user(config, &user, &cluster, err);
}

static bool is_in_pod(void)
{
    return !text_is_empty(getenv("KUBERNETES_SERVICE_HOST"));
}

int kube_config_load(const char *path, const char *context, struct kube_config *ret,
                     struct err *err)
{
    AUTO(kubeconfig) struct kubeconfig files = {0};
    if (kubeconfig_read(path, &files, err) != 0) {
        return -1;
    }
    if (files.empty && !path) {
        if (is_in_pod()) {
            return kube_config_in_cluster(NULL, ret, err);
        }
        return err_set(err, ERR_TERMINAL, "NoCluster",
                       "no cluster to work with: there is nothing in %s, and this is no pod; set "
                       "KUBECONFIG or name a file",
                       files.looked_at);
    }
    context = context ? context : files.current_context;
    if (!context) {
        return err_set(err, ERR_TERMINAL, "InvalidKubeconfig",
                       "kubeconfig: no current-context is set in %s; name a context, or set one "
                       "with kubectl config use-context",
                       files.looked_at);
    }
    struct kube_config config;
    config_init(&config);
    if (fill_config(&config, &files, context, err) != 0) {
        kube_config_release(&config);
        return -1;
    }
    *ret = config;
    return 0;
}

/* The namespace is a convenience: "default" when its file cannot be read. */
static const char *read_namespace(struct arena *arena, const char *folder)
{
    AUTO(free) char *path = xasprintf("%s/namespace", folder);
    AUTO(secret) struct secret text = {0};
    struct err ignored;
    if (secret_read_file(&text, path, NAMESPACE_FILE_MAX_BYTES, &ignored) != 0) {
        return "default";
    }
    struct str name = str_trim(str_from(secret_bytes(&text)));
    return name.len > 0 ? arena_strndup(arena, name.ptr, name.len) : "default";
}

static int not_in_cluster(struct err *err, const char *what)
{
    return err_set(err, ERR_TERMINAL, "NotInCluster", "this is no pod with a service account: %s",
                   what);
}

int kube_config_in_cluster(const char *directory, struct kube_config *ret, struct err *err)
{
    const char *folder = directory ? directory : SERVICE_ACCOUNT_FOLDER;
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !port || !host[0] || !port[0]) {
        return not_in_cluster(err, "KUBERNETES_SERVICE_HOST and _PORT are not set");
    }
    if (strpbrk(host, "/?#@ \t\r\n") || strpbrk(port, "/?#@ \t\r\n")) {
        return not_in_cluster(err, "KUBERNETES_SERVICE_HOST or _PORT is not an address");
    }
    struct kube_config config;
    config_init(&config);
    struct arena *arena = &config.arena;
    config.token_file = arena_printf(arena, "%s/token", folder);
    config.ca_file = arena_printf(arena, "%s/ca.crt", folder);
    if (access(config.token_file, R_OK) != 0 || access(config.ca_file, R_OK) != 0) {
        kube_config_release(&config);
        return not_in_cluster(err, "its token or ca.crt cannot be read");
    }
    bool bare_v6 = strchr(host, ':') && host[0] != '[';
    config.server = arena_printf(arena, bare_v6 ? "https://[%s]:%s" : "https://%s:%s", host, port);
    config.namespace_ = read_namespace(arena, folder);
    config.context = "in-cluster";
    *ret = config;
    return 0;
}

int kube_config_view(const char *path, char **ret_json, struct err *err)
{
    AUTO(kubeconfig) struct kubeconfig files = {0};
    if (kubeconfig_read(path, &files, err) != 0) {
        return -1;
    }
    *ret_json = kubeconfig_print(&files);
    return 0;
}
