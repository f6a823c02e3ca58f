/* Requests to the Kubernetes API: the only place that knows its URLs.
 *
 * Calls block (net/http_client.h); a `struct call` carries cancellation, deadline and the fence,
 * which every write checks. Answers are kept as bytes; whoever wants a tree parses it with js.h.
 *
 * Repeated in place, for as long as the call's deadline leaves room: 429 and 5xx that say
 * Retry-After, at most 10 times; a 401, once, with new credentials; and when the connection was
 * lost (a restarted server, a GOAWAY), at most 3 times, what does no harm twice: reads, applies,
 * merge patches, deletions by uid. Of other writes whose fate is unknown the caller has to find
 * out, and streams are repeated only after a 401.
 *
 * Errors by class and reason, the message being the server's Status message cut to fit, the code
 * the HTTP status, retry_after_ms what the server asked for: NOT_FOUND/NotFound           404, the
 * server knows the kind but not the object NOT_FOUND/NotServed          404, the server does not
 * know the kind: its CRD is not installed CONFLICT/Conflict            409, and a JSON patch whose
 * "test" failed CONFLICT/AlreadyExists       409 TERMINAL/Invalid             400, 422 and other
 * 4xx: the request is wrong TERMINAL/InvalidName         a name or namespace that no URL can carry
 *   RETRY/Forbidden              403: rights may be granted
 *   RETRY/Unauthorized           401
 *   RETRY/Expired                410
 *   RETRY/TooManyRequests        429
 *   RETRY/ResourceVersionTooLarge  504 with that cause
 *   RETRY/ServerError            other 5xx
 *   RETRY/TLSVerificationFailed  certificates may be rotated
 * and those of http_client_perform and kube_credentials_token. */
#ifndef TENANTRY_KUBE_API_H
#define TENANTRY_KUBE_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/str.h"
#include "controller/kube/config.h"
#include "controller/net/http_client.h"

/* A resource of the API, static data. */
struct kube_resource {
    const char *group; /* "" = core */
    const char *version;
    const char *plural; /* "tenants" */
    const char *kind;   /* "Tenant" */
    bool namespaced;
};

extern const struct kube_resource KUBE_SECRETS, KUBE_NAMESPACES, KUBE_LEASES, KUBE_EVENTS,
    KUBE_CRDS, KUBE_ROLE_BINDINGS, KUBE_CONFIG_MAPS;

/* "v1", "tenantry.dev/v1alpha1": written to out (at least 160 bytes). */
enum { KUBE_API_VERSION_BYTES = 160 };
void kube_api_version(const struct kube_resource *resource, char out[KUBE_API_VERSION_BYTES]);

/* One object, or with name NULL the collection. */
struct kube_ref {
    const struct kube_resource *resource;
    const char *namespace_; /* NULL for cluster-scoped kinds */
    const char *name;
    const char *subresource; /* NULL, "status" */
};

struct kube_client;
struct kube_credentials;

struct kube_client_config {
    const char *name; /* "api", "watch", "lease": connections are not shared between clients */
    const char *user_agent; /* NULL: "tenantry-controller/<version>" */
    bool disable_http2;
    /* Borrowed, shared with other clients of the same config; NULL: the client has its own. */
    struct kube_credentials *credentials;
    /* The server refused a request with 403: rights may have been taken away. Called by the thread
     * that made the request; must not block. May be NULL. */
    void (*on_forbidden)(void *context);
    void *on_forbidden_context;
};

/* config is borrowed and must outlive the client. Starts a transport thread; connects lazily.
 * Errors: TERMINAL/InvalidCredentials, TERMINAL/InvalidTLS. */
MUST_CHECK int kube_client_new(const struct kube_config *config,
                               const struct kube_client_config *client_config,
                               struct kube_client **ret, struct err *err);
void kube_client_free(struct kube_client *client);

/* Reads. ret_body must be initialised; its maximum bounds the answer (TERMINAL/ResponseTooLarge).
 */
MUST_CHECK int kube_get(struct kube_client *client, const struct call *call,
                        const struct kube_ref *ref, struct buf *ret_body, struct err *err);

/* GET of any path below the server's root, "/version", "/livez". */
MUST_CHECK int kube_get_path(struct kube_client *client, const struct call *call, const char *path,
                             struct buf *ret_body, struct err *err);

/* Writes: each checks the fence first. ret_body (may be NULL) receives the object as it then
 * stands. */
MUST_CHECK int kube_create(struct kube_client *client, const struct call *call,
                           const struct kube_ref *collection, struct str json, struct buf *ret_body,
                           struct err *err);

/* Server-side apply with force: json is the full intent of `manager`, with apiVersion and kind. */
MUST_CHECK int kube_apply(struct kube_client *client, const struct call *call,
                          const struct kube_ref *ref, const char *manager, struct str json,
                          struct buf *ret_body, struct err *err);

enum kube_patch_type { KUBE_PATCH_JSON, KUBE_PATCH_MERGE };
MUST_CHECK int kube_patch(struct kube_client *client, const struct call *call,
                          const struct kube_ref *ref, enum kube_patch_type type,
                          const char *manager, struct str json, struct buf *ret_body,
                          struct err *err);

/* PUT: json carries metadata.resourceVersion. For Leases. */
MUST_CHECK int kube_replace(struct kube_client *client, const struct call *call,
                            const struct kube_ref *ref, struct str json, struct buf *ret_body,
                            struct err *err);

/* Delete with preconditions; uid and resource_version may be NULL. Background propagation. An
 * object that is not there is a success; one of another uid or version is CONFLICT/Conflict. */
MUST_CHECK int kube_delete(struct kube_client *client, const struct call *call,
                           const struct kube_ref *ref, const char *uid,
                           const char *resource_version, struct err *err);

/* A GET of a collection with this query ("limit=500&continue=..."), its body streamed to on_data on
 * the transport thread: lists and watches (kube/watch.h). idle_timeout_ms as in http_request.
 * timeout_ms -1 = none. */
struct kube_stream {
    const char *query;
    bool metadata_only; /* ask for PartialObjectMetadata instead of whole objects */
    int64_t timeout_ms;
    int64_t idle_timeout_ms;
    http_data_fn on_data;
    void *on_data_context;
};
MUST_CHECK int kube_stream(struct kube_client *client, const struct call *call,
                           const struct kube_ref *collection, const struct kube_stream *stream,
                           struct err *err);

/* Fill *err from a Status object's JSON and HTTP status; for in-stream watch errors, whose
 * http_status is 0: then the Status's own code counts. Returns -1. */
int kube_status_error(struct str status_json, int http_status, struct err *err);

#endif
