/* The baseline of bench/run: the statements and API requests that one tenant took, recorded from
 * the controller at work, done again for others one after another by a loop that does nothing else.
 *
 *     bench-raw-loop < SCRIPT
 *
 * SCRIPT is JSON: {"api", "ca", "token", "admin_cert", "admin_key", "recorded", "names": [...],
 * "databases": {NAME: URI}, "tenant": BODY, "operations": [...]}. In every text the recorded name
 * is replaced by the tenant's, which is as long, and the recorded UID and registry id by those that
 * the servers gave. Connections to the API server and to the databases that all tenants share are
 * kept; the one to a tenant's own database is made once a tenant. Prints a JSON line for each
 * tenant, with the seconds that passed and those that the sessions' processes computed, and ends
 * with status 1 at the first request or statement that the servers refuse: a loop that fails does
 * less work than it measures. */
#include <crypt.h>
#include <ctype.h>
#include <curl/curl.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum { UUID_BYTES = 37, SHARED_MAX = 64, PARAMETERS_MAX = 64, BCRYPT_COST = 12 };
enum { FORBIDDEN_POLL_NS = 20000000, FORBIDDEN_POLLS = 250 };
enum { SCRAM_ITERATIONS = 4096, SCRAM_SALT_BYTES = 16, SHA256_BYTES = 32 };

struct text {
    char *ptr;
    size_t len;
};

/* One PostgreSQL session of the recorded run. */
struct session {
    char name[64];
    PGconn *conn;
};

struct loop {
    json_t *script;
    const char *recorded_name, *recorded_uid, *recorded_id;
    CURL *controller, *administrator;
    struct text answer;
    struct session shared[SHARED_MAX];
    size_t shared_count;
    /* of the tenant at hand */
    const char *name;
    PGconn *own;
    char uid[UUID_BYTES], id[UUID_BYTES];
    char version[32];
    size_t requests, statements;
};

_Noreturn static void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "bench-raw-loop: ");
    (void)vfprintf(stderr, format, arguments);
    (void)fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const char *member(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    if (!value) {
        die("the script has no text \"%s\"", name);
    }
    return value;
}

/* ---- the tenant's own words ---- */

static void replace_all(char *text, const char *from, const char *to)
{
    size_t length = strlen(from);
    if (length == 0 || !*to) {
        return;
    }
    if (length != strlen(to)) {
        die("\"%s\" and \"%s\" differ in length", from, to);
    }
    for (char *at = strstr(text, from); at; at = strstr(at + length, from)) {
        memcpy(at, to, length);
    }
}

/* Where a resourceVersion stands in a body, a merge patch or a JSON patch; NULL if none does. */
static char *find_version(char *text)
{
    static const char *const keys[] = {"\"resourceVersion\":\"",
                                       "/metadata/resourceVersion\",\"value\":\""};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        char *at = strstr(text, keys[i]);
        if (at) {
            return at + strlen(keys[i]);
        }
    }
    return NULL;
}

/* With the version last seen, since the server refuses an old one. */
static char *with_version(char *text, const char *version)
{
    char *at = find_version(text);
    if (!at) {
        return text;
    }
    char *end = strchr(at, '"');
    size_t size = strlen(text) + strlen(version) + 1;
    char *changed = malloc(size);
    if (!end || !changed) {
        die("cannot set the resourceVersion");
    }
    (void)snprintf(changed, size, "%.*s%s%s", (int)(at - text), text, version, end);
    free(text);
    return changed;
}

static char *for_tenant(const struct loop *loop, const char *recorded)
{
    char *text = strdup(recorded);
    if (!text) {
        die("out of memory");
    }
    replace_all(text, loop->recorded_name, loop->name);
    replace_all(text, loop->recorded_uid, loop->uid);
    replace_all(text, loop->recorded_id, loop->id);
    return text;
}

/* ---- the API server ---- */

static size_t take_answer(char *bytes, size_t size, size_t count, void *context)
{
    struct text *answer = context;
    size_t length = size * count;
    char *larger = realloc(answer->ptr, answer->len + length + 1);
    if (!larger) {
        return 0;
    }
    memcpy(larger + answer->len, bytes, length);
    answer->ptr = larger;
    answer->len += length;
    answer->ptr[answer->len] = '\0';
    return length;
}

static CURL *connect_api(struct loop *loop)
{
    CURL *handle = curl_easy_init();
    if (!handle) {
        die("curl_easy_init failed");
    }
    curl_easy_setopt(handle, CURLOPT_CAINFO, member(loop->script, "ca"));
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &loop->answer);
    curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(handle, CURLOPT_TIMEOUT, 60L);
    return handle;
}

/* The status. */
static long perform(struct loop *loop, CURL *handle, const char *method, const char *path,
                    const char *type, const char *body)
{
    char url[4096];
    char header[128];
    long status = 0;
    struct curl_slist *headers = NULL;

    (void)snprintf(url, sizeof(url), "%s%s", member(loop->script, "api"), path);
    (void)snprintf(header, sizeof(header), "Content-Type: %s", type);
    headers = curl_slist_append(headers, header);
    headers = curl_slist_append(headers, "Accept: application/json");
    loop->answer.len = 0;
    curl_easy_setopt(handle, CURLOPT_URL, url);
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    if (*body) {
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body);
    } else {
        curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method);
    }
    CURLcode code = curl_easy_perform(handle);
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
        die("%s %s: %s", method, path, curl_easy_strerror(code));
    }
    loop->requests++;
    return status;
}

/* The controller looks whether a thing is there before it makes it, so 404 is an answer too. A
 * right just given takes the API server a moment to know of: both ask again until it does. */
static void request(struct loop *loop, CURL *handle, const char *method, const char *path,
                    const char *type, const char *body)
{
    static const struct timespec poll = {.tv_nsec = FORBIDDEN_POLL_NS};
    bool looks = strcmp(method, "GET") == 0;
    long status = perform(loop, handle, method, path, type, body);

    for (int i = 0; i < FORBIDDEN_POLLS && looks && status == 403; i++) {
        (void)nanosleep(&poll, NULL);
        status = perform(loop, handle, method, path, type, body);
    }
    if (status / 100 != 2 && !(looks && status == 404)) {
        die("%s %s: status %ld: %s", method, path, status,
            loop->answer.ptr ? loop->answer.ptr : "");
    }
}

/* What the tenant's own object is now called by the server. */
static void read_identity(struct loop *loop)
{
    json_t *object = json_loads(loop->answer.ptr, 0, NULL);
    json_t *metadata = json_object_get(object, "metadata");
    (void)snprintf(loop->uid, sizeof(loop->uid), "%s", member(metadata, "uid"));
    (void)snprintf(loop->version, sizeof(loop->version), "%s", member(metadata, "resourceVersion"));
    json_decref(object);
}

static void create_tenant(struct loop *loop)
{
    char *body = for_tenant(loop, member(loop->script, "tenant"));
    request(loop, loop->administrator, "POST", "/apis/tenantry.dev/v1alpha1/tenants",
            "application/json", body);
    free(body);
    read_identity(loop);
}

static void run_request(struct loop *loop, const json_t *operation)
{
    char *path = for_tenant(loop, member(operation, "path"));
    char *body = for_tenant(loop, member(operation, "body"));
    bool own = strstr(path, "/v1alpha1/tenants/") != NULL;

    body = with_version(body, loop->version);
    request(loop, loop->controller, member(operation, "method"), path, member(operation, "type"),
            body);
    if (own) {
        read_identity(loop);
    }
    free(path);
    free(body);
}

/* ---- the database servers ---- */

static PGconn *connect_database(const char *uri, const char *name)
{
    PGconn *conn = PQconnectdb(uri);
    if (PQstatus(conn) != CONNECTION_OK) {
        die("%s: %s", name, PQerrorMessage(conn));
    }
    PGresult *result = PQexec(conn, "SET search_path = pg_catalog");
    PQclear(result);
    return conn;
}

static PGconn *find_session(struct loop *loop, const char *name, const char *database)
{
    const json_t *databases = json_object_get(loop->script, "databases");
    if (!json_object_get(databases, database)) {
        if (!loop->own) {
            char *uri = for_tenant(loop, member(loop->script, "own_database"));
            loop->own = connect_database(uri, loop->name);
            free(uri);
        }
        return loop->own;
    }
    for (size_t i = 0; i < loop->shared_count; i++) {
        if (strcmp(loop->shared[i].name, name) == 0) {
            return loop->shared[i].conn;
        }
    }
    if (loop->shared_count == SHARED_MAX) {
        die("more than %d sessions", SHARED_MAX);
    }
    struct session *session = &loop->shared[loop->shared_count++];
    (void)snprintf(session->name, sizeof(session->name), "%s", name);
    session->conn = connect_database(member(databases, database), database);
    return session->conn;
}

/* Seconds that the process behind a session was on a processor, which others on the machine do not
 * change as they change the time that passes: proc(5), /proc/PID/schedstat. */
static double session_cpu_s(const PGconn *conn)
{
    char path[64];
    unsigned long long ran_ns = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/schedstat", PQbackendPID(conn));
    FILE *file = fopen(path, "re");
    if (!file || fscanf(file, "%llu", &ran_ns) != 1) { // NOLINT(cert-err34-c): checked
        die("cannot read %s", path);
    }
    (void)fclose(file);
    return (double)ran_ns / 1e9;
}

static double sessions_cpu_s(const struct loop *loop)
{
    double sum = loop->own ? session_cpu_s(loop->own) : 0;
    for (size_t i = 0; i < loop->shared_count; i++) {
        sum += session_cpu_s(loop->shared[i].conn);
    }
    return sum;
}

/* The id that the registry gave to the new row. */
static void read_id(struct loop *loop, const PGresult *result)
{
    if (PQntuples(result) < 1 || PQgetlength(result, 0, 0) != UUID_BYTES - 1) {
        die("the registry gave no id");
    }
    (void)snprintf(loop->id, sizeof(loop->id), "%s", PQgetvalue(result, 0, 0));
}

static PGresult *execute(struct loop *loop, PGconn *conn, const char *sql, const json_t *parameters)
{
    char *values[PARAMETERS_MAX] = {0};
    size_t count = json_array_size(parameters);

    if (!json_is_array(parameters)) {
        return PQexec(conn, sql);
    }
    if (count > PARAMETERS_MAX) {
        die("more than %d parameters", PARAMETERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const char *value = json_string_value(json_array_get(parameters, i));
        values[i] = value ? for_tenant(loop, value) : NULL;
    }
    PGresult *result =
        PQexecParams(conn, sql, (int)count, NULL, (const char *const *)values, NULL, NULL, 0);
    for (size_t i = 0; i < count; i++) {
        free(values[i]);
    }
    return result;
}

static void run_statement(struct loop *loop, const json_t *operation)
{
    PGconn *conn = find_session(loop, member(operation, "session"), member(operation, "database"));
    char *sql = for_tenant(loop, member(operation, "sql"));
    PGresult *result = execute(loop, conn, sql, json_object_get(operation, "parameters"));
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        die("%s\n%s", PQresultErrorMessage(result), sql);
    }
    if (json_is_true(json_object_get(operation, "gives_id"))) {
        read_id(loop, result);
    }
    PQclear(result);
    free(sql);
    loop->statements++;
}

/* ---- what is computed ---- */

static void hash_password(void)
{
    static struct crypt_data data;
    char salt[64];
    if (!crypt_gensalt_rn("$2b$", BCRYPT_COST, NULL, 0, salt, sizeof(salt)) ||
        !crypt_rn("a password of some length", salt, &data, (int)sizeof(data))) {
        die("bcrypt failed");
    }
}

static void make_verifier(void)
{
    unsigned char salt[SCRAM_SALT_BYTES];
    unsigned char key[SHA256_BYTES];
    static const char password[] = "a password of some length";
    if (RAND_bytes(salt, sizeof(salt)) != 1 ||
        PKCS5_PBKDF2_HMAC(password, (int)sizeof(password) - 1, salt, (int)sizeof(salt),
                          SCRAM_ITERATIONS, EVP_sha256(), (int)sizeof(key), key) != 1) {
        die("SCRAM failed");
    }
}

/* ---- the loop ---- */

static void run_operation(struct loop *loop, const json_t *operation)
{
    const char *kind = member(operation, "kind");
    if (strcmp(kind, "request") == 0) {
        run_request(loop, operation);
    } else if (strcmp(kind, "statement") == 0) {
        run_statement(loop, operation);
    } else if (strcmp(kind, "bcrypt") == 0) {
        hash_password();
    } else if (strcmp(kind, "scram") == 0) {
        make_verifier();
    } else {
        die("unknown kind \"%s\"", kind);
    }
}

static void make_tenant(struct loop *loop, const char *name)
{
    const json_t *operation = NULL;
    size_t index = 0;
    double start = now_s();

    loop->name = name;
    loop->own = NULL;
    double cpu = sessions_cpu_s(loop);
    loop->uid[0] = loop->id[0] = loop->version[0] = '\0';
    loop->requests = loop->statements = 0;
    create_tenant(loop);
    json_array_foreach(json_object_get(loop->script, "operations"), index, operation)
    {
        run_operation(loop, operation);
    }
    double seconds = now_s() - start;
    cpu = sessions_cpu_s(loop) - cpu;
    if (loop->own) {
        PQfinish(loop->own);
    }
    (void)printf("{\"name\": \"%s\", \"seconds\": %.6f, \"sessions_cpu\": %.6f, "
                 "\"requests\": %zu, \"statements\": %zu}\n",
                 name, seconds, cpu, loop->requests, loop->statements);
    (void)fflush(stdout);
}

/* Everything that is there before a tenant comes: connections, and what the first use of them
 * loads. */
static void warm_up(struct loop *loop)
{
    const json_t *operation = NULL;
    size_t index = 0;
    loop->name = loop->recorded_name;
    request(loop, loop->administrator, "GET", "/version", "application/json", "");
    request(loop, loop->controller, "GET", "/version", "application/json", "");
    json_array_foreach(json_object_get(loop->script, "operations"), index, operation)
    {
        const char *database = json_string_value(json_object_get(operation, "database"));
        if (database && json_object_get(json_object_get(loop->script, "databases"), database)) {
            (void)find_session(loop, member(operation, "session"), database);
        }
    }
}

int main(void)
{
    struct loop loop = {0};
    json_error_t error;
    const json_t *name = NULL;
    size_t index = 0;

    curl_global_init(CURL_GLOBAL_DEFAULT);
    loop.script = json_loadf(stdin, 0, &error);
    if (!loop.script) {
        die("the script: line %d: %s", error.line, error.text);
    }
    loop.recorded_name = member(loop.script, "recorded_name");
    loop.recorded_uid = member(loop.script, "recorded_uid");
    loop.recorded_id = member(loop.script, "recorded_id");
    loop.controller = connect_api(&loop);
    curl_easy_setopt(loop.controller, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
    curl_easy_setopt(loop.controller, CURLOPT_XOAUTH2_BEARER, member(loop.script, "token"));
    loop.administrator = connect_api(&loop);
    curl_easy_setopt(loop.administrator, CURLOPT_SSLCERT, member(loop.script, "admin_cert"));
    curl_easy_setopt(loop.administrator, CURLOPT_SSLKEY, member(loop.script, "admin_key"));
    warm_up(&loop);
    json_array_foreach(json_object_get(loop.script, "names"), index, name)
    {
        make_tenant(&loop, json_string_value(name));
    }
    for (size_t i = 0; i < loop.shared_count; i++) {
        PQfinish(loop.shared[i].conn);
    }
    curl_easy_cleanup(loop.controller);
    curl_easy_cleanup(loop.administrator);
    free(loop.answer.ptr);
    json_decref(loop.script);
    return 0;
}
