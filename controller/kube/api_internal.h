/* One request to the API server, below the verbs of kube/api.h; private to kube/api*.c. */
#ifndef TENANTRY_KUBE_API_INTERNAL_H
#define TENANTRY_KUBE_API_INTERNAL_H

#include "controller/kube/api.h"

struct api_request {
    const char *method;
    const char *path; /* encoded, from "/", with the query */
    const char *accept;
    const char *content_type;
    struct str body;
    int64_t timeout_ms; /* these two as in http_request */
    int64_t idle_timeout_ms;
    http_data_fn on_data; /* not NULL: a stream */
    void *on_data_context;
    bool is_write;
    bool is_repeatable; /* also when nobody knows whether it took effect */
    bool is_json_patch;
    struct buf *ret_body; /* NULL: dropped */
};

/* Send it and judge the answer, repeating as kube/api.h says. */
MUST_CHECK int api_perform(struct kube_client *client, const struct call *call,
                           const struct api_request *request, struct err *err);

/* What an answer that is no success means. is_json_patch: a failed "test" comes as 422. */
int api_status_error(struct str body, int http_status, bool is_json_patch, struct err *err);

#endif
