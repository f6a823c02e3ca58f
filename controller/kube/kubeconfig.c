/* Reading and merging kubeconfig files. What fields there are stands in tables, so that a value of
 * the wrong type is found in the file that holds it, and what is not known is left out, as kubectl
 * does. */
#include "controller/kube/kubeconfig.h"

#include <string.h>
#include <unistd.h>

#include "controller/base/buf.h"
#include "controller/base/js.h"
#include "controller/base/secret.h"
#include "controller/base/yml.h"

enum {
    FILE_MAX_BYTES = 4 * 1024 * 1024, /* many clusters with certificates inside */
};

enum field_type {
    FIELD_TEXT,
    FIELD_BASE64,
    FIELD_BOOL,
    FIELD_TEXTS,      /* list of texts */
    FIELD_TEXT_LISTS, /* map from text to list of texts */
    FIELD_TEXT_MAP,
    FIELD_EXEC,
    FIELD_AUTH_PROVIDER,
    FIELD_EXTENSIONS,
};

struct field {
    const char *name;
    enum field_type type;
};

static const struct field cluster_fields[] = {
    {"server", FIELD_TEXT},
    {"tls-server-name", FIELD_TEXT},
    {"insecure-skip-tls-verify", FIELD_BOOL},
    {"certificate-authority", FIELD_TEXT},
    {"certificate-authority-data", FIELD_BASE64},
    {"proxy-url", FIELD_TEXT},
    {"disable-compression", FIELD_BOOL},
    {"extensions", FIELD_EXTENSIONS},
    {0},
};

static const struct field user_fields[] = {
    {"client-certificate", FIELD_TEXT},
    {"client-certificate-data", FIELD_BASE64},
    {"client-key", FIELD_TEXT},
    {"client-key-data", FIELD_BASE64},
    {"token", FIELD_TEXT},
    {"tokenFile", FIELD_TEXT},
    {"as", FIELD_TEXT},
    {"as-uid", FIELD_TEXT},
    {"as-groups", FIELD_TEXTS},
    {"as-user-extra", FIELD_TEXT_LISTS},
    {"username", FIELD_TEXT},
    {"password", FIELD_TEXT},
    {"auth-provider", FIELD_AUTH_PROVIDER},
    {"exec", FIELD_EXEC},
    {"extensions", FIELD_EXTENSIONS},
    {0},
};

static const struct field context_fields[] = {
    {"cluster", FIELD_TEXT},
    {"user", FIELD_TEXT},
    {"namespace", FIELD_TEXT},
    {"extensions", FIELD_EXTENSIONS},
    {0},
};

static const struct field exec_fields[] = {
    {"command", FIELD_TEXT},     {"args", FIELD_TEXTS},           {"apiVersion", FIELD_TEXT},
    {"installHint", FIELD_TEXT}, {"interactiveMode", FIELD_TEXT}, {0},
};

static const struct field auth_provider_fields[] = {
    {"name", FIELD_TEXT},
    {"config", FIELD_TEXT_MAP},
    {0},
};

static const struct {
    const char *list;
    const char *member; /* of a list's element, beside its name */
    const struct field *fields;
} kinds[KUBECONFIG_KINDS] = {
    [KUBECONFIG_CLUSTER] = {"clusters", "cluster", cluster_fields},
    [KUBECONFIG_USER] = {"users", "user", user_fields},
    [KUBECONFIG_CONTEXT] = {"contexts", "context", context_fields},
};

/* Where a problem is: the file, and the way to the value, "users ann exec". */
struct place {
    const char *file;
    const char *within;
};

static int invalid(const struct place *place, const char *field, const char *wanted,
                   struct err *err)
{
    return err_set(err, ERR_TERMINAL, "InvalidKubeconfig", "kubeconfig %s: %s: \"%s\" %s",
                   place->file, place->within, field, wanted);
}

/* --- fields: each read_ function puts the value into `out`, unless it is empty ---------------- */

static int read_fields(const struct place *place, const json_t *value, const struct field *fields,
                       json_t *out, struct err *err);

static bool are_texts(const json_t *list)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach(list, index, item)
    {
        if (!json_is_string(item)) {
            return false;
        }
    }
    return json_is_array(list);
}

static int read_text(const struct place *place, const struct field *field, const json_t *value,
                     json_t *out, struct err *err)
{
    if (!json_is_string(value)) {
        return invalid(place, field->name, "must be a text; numbers want quotes", err);
    }
    if (json_string_length(value) > 0) {
        json_object_set_new(out, field->name, json_deep_copy(value));
    }
    return 0;
}

static int read_base64(const struct place *place, const struct field *field, const json_t *value,
                       json_t *out, struct err *err)
{
    AUTO(buf) struct buf decoded = BUF((size_t)FILE_MAX_BYTES);
    bool fine =
        json_is_string(value) && buf_decode_base64(&decoded, str_from(json_string_value(value)));
    if (decoded.len > 0) {
        explicit_bzero(decoded.ptr, decoded.len); /* it may be a key */
    }
    return fine ? read_text(place, field, value, out, err)
                : invalid(place, field->name, "must be base64", err);
}

static int read_bool(const struct place *place, const struct field *field, const json_t *value,
                     json_t *out, struct err *err)
{
    if (!json_is_boolean(value)) {
        return invalid(place, field->name, "must be true or false", err);
    }
    if (json_is_true(value)) {
        json_object_set_new(out, field->name, json_true());
    }
    return 0;
}

static int read_texts(const struct place *place, const struct field *field, const json_t *value,
                      json_t *out, struct err *err)
{
    if (!are_texts(value)) {
        return invalid(place, field->name, "must be a list of texts", err);
    }
    if (json_array_size(value) > 0) {
        json_object_set_new(out, field->name, json_deep_copy(value));
    }
    return 0;
}

static int read_map(const struct place *place, const struct field *field, const json_t *value,
                    json_t *out, struct err *err)
{
    bool lists = field->type == FIELD_TEXT_LISTS;
    bool fine = json_is_object(value);
    const char *name = NULL;
    json_t *item = NULL;
    json_object_foreach((json_t *)(uintptr_t)value, name, item)
    {
        fine = fine && (lists ? are_texts(item) : json_is_string(item));
    }
    if (!fine) {
        return invalid(place, field->name,
                       lists ? "must be a map of lists of texts" : "must be a map of texts", err);
    }
    if (json_object_size(value) > 0) {
        json_object_set_new(out, field->name, json_deep_copy(value));
    }
    return 0;
}

/* A list of {name, extension}, anything being allowed in the latter. */
static int read_extensions(const struct place *place, const struct field *field,
                           const json_t *value, json_t *out, struct err *err)
{
    size_t index = 0;
    const json_t *item = NULL;
    bool fine = json_is_array(value);
    json_array_foreach(value, index, item)
    {
        fine = fine && json_is_object(item) && json_is_string(json_object_get(item, "name"));
    }
    if (!fine) {
        return invalid(place, field->name, "must be a list of extensions with names", err);
    }
    if (json_array_size(value) > 0) {
        json_object_set_new(out, field->name, json_deep_copy(value));
    }
    return 0;
}

static int read_env(const struct place *place, const json_t *value, json_t *out, struct err *err)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_t *list = json_array();
    json_object_set_new(out, "env", list);
    if (value && !json_is_array(value)) {
        return invalid(place, "env", "must be a list", err);
    }
    json_array_foreach(value, index, item)
    {
        const json_t *name = js_at(item, "/name");
        const json_t *text = js_at(item, "/value");
        if (!json_is_object(item) || !json_is_string(name) || !json_string_length(name) ||
            (text && !json_is_string(text))) {
            return invalid(place, "env", "must be a list of {name, value}, both texts", err);
        }
        json_t *pair = json_object();
        json_object_set_new(pair, "name", json_deep_copy(name));
        json_object_set_new(pair, "value", json_string(text ? json_string_value(text) : ""));
        json_array_append_new(list, pair);
    }
    return 0;
}

static int read_exec(const struct place *place, const json_t *value, json_t *out, struct err *err)
{
    AUTO(free) char *within = xasprintf("%s exec", place->within);
    const struct place inner = {place->file, within};
    json_t *exec = json_object();
    json_object_set_new(out, "exec", exec);
    if (read_fields(&inner, value, exec_fields, exec, err) != 0 ||
        read_env(&inner, js_at(value, "/env"), exec, err) != 0) {
        return -1;
    }
    const json_t *cluster_info = js_at(value, "/provideClusterInfo");
    if (cluster_info && !json_is_boolean(cluster_info)) {
        return invalid(&inner, "provideClusterInfo", "must be true or false", err);
    }
    json_object_set_new(exec, "provideClusterInfo", json_boolean(json_is_true(cluster_info)));
    return 0;
}

static int read_field(const struct place *place, const struct field *field, const json_t *value,
                      json_t *out, struct err *err)
{
    switch (field->type) {
    case FIELD_TEXT:
        return read_text(place, field, value, out, err);
    case FIELD_BASE64:
        return read_base64(place, field, value, out, err);
    case FIELD_BOOL:
        return read_bool(place, field, value, out, err);
    case FIELD_TEXTS:
        return read_texts(place, field, value, out, err);
    case FIELD_TEXT_LISTS:
    case FIELD_TEXT_MAP:
        return read_map(place, field, value, out, err);
    case FIELD_EXEC:
        return read_exec(place, value, out, err);
    case FIELD_AUTH_PROVIDER: {
        json_t *provider = json_object();
        json_object_set_new(out, field->name, provider);
        return read_fields(place, value, auth_provider_fields, provider, err);
    }
    case FIELD_EXTENSIONS:
        return read_extensions(place, field, value, out, err);
    }
    return 0;
}

static int read_fields(const struct place *place, const json_t *value, const struct field *fields,
                       json_t *out, struct err *err)
{
    if (!json_is_object(value)) {
        return invalid(place, "", "must be a map", err);
    }
    for (const struct field *field = fields; field->name; field++) {
        const json_t *member = json_object_get(value, field->name);
        if (member && !json_is_null(member) && read_field(place, field, member, out, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* --- one file -------------------------------------------------------------------------------- */

/* Enter one element of a file's list, unless an earlier file has that name. `seen` holds the names
 * of this list. */
static int merge_entry(struct kubeconfig *kubeconfig, enum kubeconfig_kind kind,
                       const struct place *file, const char *folder, const json_t *item,
                       json_t *seen, struct err *err)
{
    const char *name = js_text_or(item, "/name", "");
    AUTO(free) char *within = xasprintf("%s \"%s\"", kinds[kind].list, name);
    const struct place place = {file->file, within};
    AUTO(json) json_t *entry = json_object();
    const json_t *value = json_object_get(item, kinds[kind].member);
    if (!json_is_object(item)) {
        return invalid(file, kinds[kind].list, "must be a list of named entries", err);
    }
    if (json_object_get(seen, name)) {
        return invalid(&place, "name", "stands there twice", err);
    }
    json_object_set_new(seen, name, json_true());
    if (value && !json_is_null(value) &&
        read_fields(&place, value, kinds[kind].fields, entry, err) != 0) {
        return -1;
    }
    if (!json_object_get(kubeconfig->entries[kind], name)) {
        json_t *holder = json_object();
        json_object_set(holder, "entry", entry);
        json_object_set_new(holder, "folder", json_string(folder));
        json_object_set_new(kubeconfig->entries[kind], name, holder);
    }
    return 0;
}

static int merge_list(struct kubeconfig *kubeconfig, enum kubeconfig_kind kind,
                      const struct place *file, const char *folder, const json_t *list,
                      struct err *err)
{
    AUTO(json) json_t *seen = json_object();
    size_t index = 0;
    const json_t *item = NULL;
    if (list && !json_is_null(list) && !json_is_array(list)) {
        return invalid(file, kinds[kind].list, "must be a list", err);
    }
    json_array_foreach(list, index, item)
    {
        if (merge_entry(kubeconfig, kind, file, folder, item, seen, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static void merge_rest(struct kubeconfig *kubeconfig, const json_t *root)
{
    const json_t *preferences = json_object_get(root, "preferences");
    if (!kubeconfig->preferences && json_object_size(preferences) > 0) {
        kubeconfig->preferences = json_deep_copy(preferences);
    }
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach(json_object_get(root, "extensions"), index, item)
    {
        const char *name = js_text_or(item, "/name", "");
        if (!kubeconfig->extensions) {
            kubeconfig->extensions = json_object();
        }
        if (!json_object_get(kubeconfig->extensions, name)) {
            json_object_set_new(kubeconfig->extensions, name, json_deep_copy(item));
        }
    }
}

static int merge_file(struct kubeconfig *kubeconfig, const struct place *file, const char *folder,
                      const json_t *root, struct err *err)
{
    const json_t *current = js_at(root, "/current-context");
    if (!json_is_object(root)) {
        return invalid(file, "the file", "must hold a map", err);
    }
    if (!text_equal(js_text_or(root, "/kind", "Config"), "Config") ||
        !text_equal(js_text_or(root, "/apiVersion", "v1"), "v1")) {
        return invalid(file, "kind", "must be Config, of apiVersion v1", err);
    }
    if (current && !json_is_string(current)) {
        return invalid(file, "current-context", "must be a text", err);
    }
    if (json_string_length(current) > 0 && !kubeconfig->current_context) {
        kubeconfig->current_context = xstrdup(json_string_value(current));
    }
    for (enum kubeconfig_kind kind = 0; kind < KUBECONFIG_KINDS; kind++) {
        if (merge_list(kubeconfig, kind, file, folder, json_object_get(root, kinds[kind].list),
                       err) != 0) {
            return -1;
        }
    }
    merge_rest(kubeconfig, root);
    kubeconfig->empty = false;
    return 0;
}

static char *folder_of(const char *path)
{
    AUTO(free) char *here = path[0] == '/' ? xstrdup("") : get_current_dir_name();
    const char *slash = strrchr(path, '/');
    if (!here) {
        here = xstrdup(".");
    }
    if (!slash) {
        return TAKE(here);
    }
    int length = (int)(slash - path);
    return path[0] == '/' ? xasprintf("%.*s", length > 0 ? length : 1, path)
                          : xasprintf("%s/%.*s", here, length, path);
}

/* Texts of a tree are jansson's, const to everyone else; they are about to be freed. */
static void wipe_texts(json_t *value)
{
    const char *name = NULL;
    json_t *member = NULL;
    size_t index = 0;
    if (json_is_string(value)) {
        explicit_bzero((char *)(uintptr_t)json_string_value(value), json_string_length(value));
    }
    json_object_foreach(value, name, member)
    {
        wipe_texts(member);
    }
    json_array_foreach(value, index, member)
    {
        wipe_texts(member);
    }
}

static int read_file(struct kubeconfig *kubeconfig, const char *path, bool required,
                     struct err *err)
{
    AUTO(secret) struct secret text = {0};
    AUTO(json) json_t *root = NULL;
    if (!required && access(path, F_OK) != 0) {
        return 0;
    }
    if (secret_read_file(&text, path, FILE_MAX_BYTES, err) != 0 ||
        yml_parse((struct str){secret_bytes(&text), secret_length(&text)}, FILE_MAX_BYTES, &root,
                  err) != 0) {
        err_reclass(err, ERR_TERMINAL, "InvalidKubeconfig");
        return err_wrap(err, "kubeconfig %s", path);
    }
    if (json_is_null(root)) {
        return 0;
    }
    AUTO(free) char *folder = folder_of(path);
    const struct place file = {path, "top level"};
    int result = merge_file(kubeconfig, &file, folder, root, err);
    wipe_texts(root); /* what is kept was copied */
    return result;
}

/* --- all files ------------------------------------------------------------------------------- */

/* The colon-separated list to read. */
static char *file_list(const char *path)
{
    const char *listed = getenv("KUBECONFIG");
    const char *home = getenv("HOME");
    if (path) {
        return xstrdup(path);
    }
    if (!text_is_empty(listed)) {
        return xstrdup(listed);
    }
    return xasprintf("%s/.kube/config", home ? home : "");
}

static bool came_before(const char *list, struct str name)
{
    struct str rest = {list, (size_t)(name.ptr - list)};
    while (rest.len > 0) {
        if (str_equal(str_cut(&rest, ':'), name)) {
            return true;
        }
    }
    return false;
}

int kubeconfig_read(const char *path, struct kubeconfig *ret, struct err *err)
{
    AUTO(kubeconfig) struct kubeconfig kubeconfig = {.empty = true};
    for (enum kubeconfig_kind kind = 0; kind < KUBECONFIG_KINDS; kind++) {
        kubeconfig.entries[kind] = json_object();
    }
    kubeconfig.looked_at = file_list(path);
    if (path) {
        if (read_file(&kubeconfig, path, true, err) != 0) {
            return -1;
        }
    } else {
        struct str rest = str_from(kubeconfig.looked_at);
        while (rest.len > 0) {
            struct str name = str_cut(&rest, ':');
            if (name.len == 0 || came_before(kubeconfig.looked_at, name)) {
                continue;
            }
            AUTO(free) char *file = xmemdup0(name.ptr, name.len);
            if (read_file(&kubeconfig, file, false, err) != 0) {
                return -1;
            }
        }
    }
    *ret = kubeconfig;
    kubeconfig = (struct kubeconfig){0};
    return 0;
}

void kubeconfig_release(struct kubeconfig *kubeconfig)
{
    for (enum kubeconfig_kind kind = 0; kind < KUBECONFIG_KINDS; kind++) {
        wipe_texts(kubeconfig->entries[kind]);
        json_decref(kubeconfig->entries[kind]);
    }
    json_decref(kubeconfig->preferences);
    json_decref(kubeconfig->extensions);
    free(kubeconfig->current_context);
    free(kubeconfig->looked_at);
    *kubeconfig = (struct kubeconfig){0};
}

const json_t *kubeconfig_entry(const struct kubeconfig *kubeconfig, enum kubeconfig_kind kind,
                               const char *name, const char **ret_folder)
{
    const json_t *holder = json_object_get(kubeconfig->entries[kind], name);
    if (holder) {
        *ret_folder = js_text_or(holder, "/folder", ".");
    }
    return json_object_get(holder, "entry");
}

/* --- printing -------------------------------------------------------------------------------- */

static void fill_text(json_t *entry, const char *field)
{
    if (!json_object_get(entry, field)) {
        json_object_set_new(entry, field, json_string(""));
    }
}

/* What kubectl prints though the file left it out. */
static void fill_entry(enum kubeconfig_kind kind, json_t *entry)
{
    static const char *const lists[] = {"args", "env"};
    json_t *exec = json_object_get(entry, "exec");
    if (kind == KUBECONFIG_CLUSTER) {
        fill_text(entry, "server");
    } else if (kind == KUBECONFIG_CONTEXT) {
        fill_text(entry, "cluster");
        fill_text(entry, "user");
    }
    if (!exec) {
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        if (json_array_size(json_object_get(exec, lists[i])) == 0) {
            json_object_set_new(exec, lists[i], json_null());
        }
    }
    if (!json_object_get(exec, "interactiveMode") &&
        text_equal(js_text_or(exec, "/apiVersion", ""), "client.authentication.k8s.io/v1beta1")) {
        json_object_set_new(exec, "interactiveMode", json_string("IfAvailable"));
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *print_list(const struct kubeconfig *kubeconfig, enum kubeconfig_kind kind)
{
    const json_t *entries = kubeconfig->entries[kind];
    size_t count = json_object_size(entries);
    if (count == 0) {
        return json_null();
    }
    AUTO(free) const char **names = xcalloc(count, sizeof(*names));
    const char *name = NULL;
    json_t *holder = NULL;
    size_t next = 0;
    json_object_foreach((json_t *)(uintptr_t)entries, name, holder)
    {
        names[next++] = name;
    }
    qsort(names, count, sizeof(*names), compare_names);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_object();
        json_t *entry =
            json_deep_copy(json_object_get(json_object_get(entries, names[i]), "entry"));
        fill_entry(kind, entry);
        json_object_set_new(item, "name", json_string(names[i]));
        json_object_set_new(item, kinds[kind].member, entry);
        json_array_append_new(list, item);
    }
    return list;
}

char *kubeconfig_print(const struct kubeconfig *kubeconfig)
{
    AUTO(json) json_t *root = json_object();
    json_object_set_new(root, "kind", json_string("Config"));
    json_object_set_new(root, "apiVersion", json_string("v1"));
    if (kubeconfig->preferences) {
        json_object_set(root, "preferences", kubeconfig->preferences);
    }
    for (enum kubeconfig_kind kind = 0; kind < KUBECONFIG_KINDS; kind++) {
        json_object_set_new(root, kinds[kind].list, print_list(kubeconfig, kind));
    }
    json_object_set_new(
        root, "current-context",
        json_string(kubeconfig->current_context ? kubeconfig->current_context : ""));
    if (kubeconfig->extensions) {
        json_t *list = json_array();
        const char *name = NULL;
        json_t *item = NULL;
        json_object_foreach(kubeconfig->extensions, name, item)
        {
            json_array_append(list, item);
        }
        json_object_set_new(root, "extensions", list);
    }
    char *text = js_print(root);
    wipe_texts(json_object_get(root, kinds[KUBECONFIG_USER].list));
    return text;
}
