/* The verbs: URLs and bodies. */
#include "controller/kube/api.h"

#include <stdio.h>

#include "controller/base/jsonw.h"
#include "controller/kube/api_internal.h"

enum {
    PATH_MAX_BYTES = 8 * 1024,
    QUERY_MAX_BYTES = 8 * 1024,
    OPTIONS_MAX_BYTES = 4 * 1024,
    NAME_MAX_BYTES = 253,     /* RFC 1123 subdomain, the longest that any kind allows */
    NAMESPACE_MAX_BYTES = 63, /* RFC 1123 label */
};

const struct kube_resource KUBE_SECRETS = {"", "v1", "secrets", "Secret", true};
const struct kube_resource KUBE_NAMESPACES = {"", "v1", "namespaces", "Namespace", false};
const struct kube_resource KUBE_CONFIG_MAPS = {"", "v1", "configmaps", "ConfigMap", true};
const struct kube_resource KUBE_LEASES = {"coordination.k8s.io", "v1", "leases", "Lease", true};
const struct kube_resource KUBE_EVENTS = {"events.k8s.io", "v1", "events", "Event", true};
const struct kube_resource KUBE_CRDS = {"apiextensions.k8s.io", "v1", "customresourcedefinitions",
                                        "CustomResourceDefinition", false};
const struct kube_resource KUBE_ROLE_BINDINGS = {"rbac.authorization.k8s.io", "v1", "rolebindings",
                                                 "RoleBinding", true};

void kube_api_version(const struct kube_resource *resource, char out[KUBE_API_VERSION_BYTES])
{
    snprintf(out, KUBE_API_VERSION_BYTES, "%s%s%s", resource->group, resource->group[0] ? "/" : "",
             resource->version);
}

/* --- paths ------------------------------------------------------------------------------------ */

/* A slash and one segment. The server takes no name that is "." or "..", nor one with a slash or a
 * percent sign; any other byte travels encoded. */
static int append_segment(struct buf *path, const char *what, const char *segment, size_t max_bytes,
                          struct err *err)
{
    struct str text = str_from(segment);
    if (text.len == 0 || text.len > max_bytes || str_equal(text, STR(".")) ||
        str_equal(text, STR("..")) || memchr(text.ptr, '/', text.len) ||
        memchr(text.ptr, '%', text.len)) {
        return err_set(err, ERR_TERMINAL, "InvalidName", "\"%.300s\" cannot be a %s",
                       segment ? segment : "", what);
    }
    buf_append_char(path, '/');
    buf_append_percent(path, text);
    return 0;
}

static int append_path(struct buf *path, const struct kube_ref *ref, struct err *err)
{
    const struct kube_resource *resource = ref->resource;
    buf_append_text(path, resource->group[0] ? "/apis" : "/api");
    if ((resource->group[0] &&
         append_segment(path, "group", resource->group, NAME_MAX_BYTES, err) != 0) ||
        append_segment(path, "version", resource->version, NAME_MAX_BYTES, err) != 0) {
        return -1;
    }
    if (ref->namespace_) {
        buf_append_text(path, "/namespaces");
        if (append_segment(path, "namespace", ref->namespace_, NAMESPACE_MAX_BYTES, err) != 0) {
            return -1;
        }
    }
    if (append_segment(path, "resource", resource->plural, NAME_MAX_BYTES, err) != 0 ||
        (ref->name && append_segment(path, "name", ref->name, NAME_MAX_BYTES, err) != 0) ||
        (ref->subresource &&
         append_segment(path, "subresource", ref->subresource, NAME_MAX_BYTES, err) != 0)) {
        return -1;
    }
    return 0;
}

/* Send `request` to the path of `ref`, with `query` ("" = none) behind it. */
static int perform(struct kube_client *client, const struct call *call, const struct kube_ref *ref,
                   const char *query, struct api_request *request, struct err *err)
{
    AUTO(buf) struct buf path = BUF((size_t)PATH_MAX_BYTES + QUERY_MAX_BYTES);
    if (append_path(&path, ref, err) != 0) {
        return -1;
    }
    if (query[0]) {
        buf_printf(&path, "?%s", query);
    }
    if (buf_failed(&path)) {
        return err_set(err, ERR_TERMINAL, "InvalidName", "the URL would be too long");
    }
    request->path = buf_text(&path);
    return api_perform(client, call, request, err);
}

/* --- reads ------------------------------------------------------------------------------------ */

int kube_get(struct kube_client *client, const struct call *call, const struct kube_ref *ref,
             struct buf *ret_body, struct err *err)
{
    struct api_request request = {.method = "GET", .is_repeatable = true, .ret_body = ret_body};
    return perform(client, call, ref, "", &request, err);
}

int kube_get_path(struct kube_client *client, const struct call *call, const char *path,
                  struct buf *ret_body, struct err *err)
{
    /* These pages are text for people, or JSON where the server has nothing else. */
    const struct api_request request = {.method = "GET",
                                        .path = path,
                                        .accept = "application/json, */*",
                                        .is_repeatable = true,
                                        .ret_body = ret_body};
    if (path[0] != '/') {
        return err_set(err, ERR_TERMINAL, "InvalidName", "\"%.300s\" is no path", path);
    }
    return api_perform(client, call, &request, err);
}

static const char *stream_accept(const struct kube_stream *stream)
{
    if (!stream->metadata_only) {
        return "application/json";
    }
    /* A watch delivers single objects, a list one object that holds all. */
    return strstr(stream->query, "watch=")
               ? "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
               : "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
}

int kube_stream(struct kube_client *client, const struct call *call,
                const struct kube_ref *collection, const struct kube_stream *stream,
                struct err *err)
{
    struct api_request request = {
        .method = "GET",
        .accept = stream_accept(stream),
        .timeout_ms = stream->timeout_ms,
        .idle_timeout_ms = stream->idle_timeout_ms,
        .on_data = stream->on_data,
        .on_data_context = stream->on_data_context,
    };
    return perform(client, call, collection, stream->query ? stream->query : "", &request, err);
}

/* --- writes ----------------------------------------------------------------------------------- */

int kube_create(struct kube_client *client, const struct call *call,
                const struct kube_ref *collection, struct str json, struct buf *ret_body,
                struct err *err)
{
    struct api_request request = {.method = "POST",
                                  .content_type = "application/json",
                                  .body = json,
                                  .is_write = true,
                                  .ret_body = ret_body};
    return perform(client, call, collection, "", &request, err);
}

int kube_replace(struct kube_client *client, const struct call *call, const struct kube_ref *ref,
                 struct str json, struct buf *ret_body, struct err *err)
{
    struct api_request request = {.method = "PUT",
                                  .content_type = "application/json",
                                  .body = json,
                                  .is_write = true,
                                  .ret_body = ret_body};
    return perform(client, call, ref, "", &request, err);
}

static int send_patch(struct kube_client *client, const struct call *call,
                      const struct kube_ref *ref, const char *manager, bool force,
                      struct api_request *request, struct err *err)
{
    AUTO(buf) struct buf query = BUF((size_t)QUERY_MAX_BYTES);
    if (!text_is_empty(manager)) {
        buf_append_text(&query, "fieldManager=");
        buf_append_percent(&query, str_from(manager));
    }
    if (force) {
        buf_append_text(&query, "&force=true");
    }
    request->method = "PATCH";
    request->is_write = true;
    return perform(client, call, ref, buf_text(&query), request, err);
}

int kube_apply(struct kube_client *client, const struct call *call, const struct kube_ref *ref,
               const char *manager, struct str json, struct buf *ret_body, struct err *err)
{
    /* JSON is YAML, and the server takes it under this type. */
    struct api_request request = {.content_type = "application/apply-patch+yaml",
                                  .body = json,
                                  .is_repeatable = true,
                                  .ret_body = ret_body};
    return send_patch(client, call, ref, manager, true, &request, err);
}

int kube_patch(struct kube_client *client, const struct call *call, const struct kube_ref *ref,
               enum kube_patch_type type, const char *manager, struct str json,
               struct buf *ret_body, struct err *err)
{
    struct api_request request = {.content_type = type == KUBE_PATCH_JSON
                                                      ? "application/json-patch+json"
                                                      : "application/merge-patch+json",
                                  .body = json,
                                  .is_json_patch = type == KUBE_PATCH_JSON,
                                  .is_repeatable = type == KUBE_PATCH_MERGE,
                                  .ret_body = ret_body};
    return send_patch(client, call, ref, manager, false, &request, err);
}

static void write_delete_options(struct buf *out, const char *uid, const char *resource_version)
{
    struct jsonw json;
    jsonw_init(&json, out);
    jsonw_object(&json, NULL);
    jsonw_text(&json, "kind", "DeleteOptions");
    jsonw_text(&json, "apiVersion", "v1");
    jsonw_text(&json, "propagationPolicy", "Background");
    if (uid || resource_version) {
        jsonw_object(&json, "preconditions");
        if (uid) {
            jsonw_text(&json, "uid", uid);
        }
        if (resource_version) {
            jsonw_text(&json, "resourceVersion", resource_version);
        }
        jsonw_end_object(&json);
    }
    jsonw_end_object(&json);
}

int kube_delete(struct kube_client *client, const struct call *call, const struct kube_ref *ref,
                const char *uid, const char *resource_version, struct err *err)
{
    AUTO(buf) struct buf options = BUF((size_t)OPTIONS_MAX_BYTES);
    if (text_is_empty(ref->name)) { /* or the whole collection would go */
        return err_set(err, ERR_TERMINAL, "InvalidName",
                       "only one object can be deleted at a time");
    }
    write_delete_options(&options, uid, resource_version);
    if (buf_failed(&options)) {
        return err_set(err, ERR_TERMINAL, "InvalidName", "the preconditions are too long");
    }
    struct api_request request = {.method = "DELETE",
                                  .content_type = "application/json",
                                  .body = buf_str(&options),
                                  .is_write = true,
                                  .is_repeatable = uid != NULL};
    if (perform(client, call, ref, "", &request, err) == 0 ||
        (err->cls == ERR_NOT_FOUND && err_has_reason(err, "NotFound"))) {
        return 0;
    }
    return -1;
}
