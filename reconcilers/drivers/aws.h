/* One AWS-like service (S3, IAM) at one address: a signed request out, an answer or an error in.
 * For the drivers of the services; knows no operation. Thread-safe. */
#ifndef TENANTRY_DRIVERS_AWS_H
#define TENANTRY_DRIVERS_AWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/net/http_client.h"
#include "reconcilers/drivers/sigv4.h"

struct aws_service {
    struct http_client *http; /* borrowed */
    struct sigv4_signer *signer;
    char *scheme; /* "https" */
    char *host;   /* with the port, unless it is the scheme's own: the value of Host */
    char *path;   /* in front of every path; without a slash at the end */
};

/* Take an address apart. http is borrowed; the rest copied; *ret is zeroed.
 * Errors: TERMINAL/InvalidRequest when url is no plain http or https URL. */
MUST_CHECK int aws_service_init(struct aws_service *ret, struct http_client *http, const char *url,
                                const char *region, const char *service, const char *access_key,
                                const struct secret *secret_key, struct err *err);
/* Free what was copied; http stays. */
void aws_service_release(struct aws_service *service);

struct aws_request {
    const char *method;
    const char *host_prefix;        /* "bucket." or NULL */
    const char *path;               /* percent-encoded, begins with '/' */
    const struct sigv4_pair *query; /* plain */
    size_t query_count;
    const struct sigv4_pair *headers; /* names in lower case; they are signed */
    size_t header_count;
    const char *content_type; /* of a form; NULL = bytes, which go with a checksum */
    struct str body;
    http_data_fn on_data; /* as in http_client.h */
    void *on_data_context;
    size_t response_max_bytes; /* 0 = 8 MiB */
    int64_t timeout_ms;        /* of one try; 0 = 30 s */
    /* May be sent again when the outcome of the first is not known. */
    bool repeatable;
};

struct aws_answer {
    struct http_response http;
    char code[64];     /* of an error: "NoSuchBucket"; "" if the answer names none */
    char message[256]; /* of an error */
};
/* Free the answer's body and headers; the struct stays the caller's. */
void aws_answer_release(struct aws_answer *answer);
static inline void auto_release_aws_answer(struct aws_answer *answer)
{
    aws_answer_release(answer);
}

/* Do it, again if that may help and is allowed (at most three tries, with a pause). A write passes
 * the call's fence first. *ret is zeroed; it is filled as far as known on failure too. Blocks.
 * Errors, all but 2xx being one, by the code that the server gives (aws_error.c):
 * RETRY/StorageUnreachable, NOT_FOUND/NotFound, RETRY/StorageCredentials (key or signature
 * refused), RETRY/StorageForbidden, TERMINAL/StorageNotImplemented, RETRY/StorageBusy (the server
 * asks to slow down or failed inside), CONFLICT/Conflict, RETRY/StorageRefused (whatever else), and
 * those of http_client_perform. */
MUST_CHECK int aws_perform(const struct aws_service *service, const struct call *call,
                           const struct aws_request *request, struct aws_answer *ret,
                           struct err *err);

/* ---- aws_error.c ---- */

/* What a refusal means. Fills code and message of the answer, returns -1. */
int aws_explain(struct aws_answer *answer, struct err *err);
/* Whether trying again at once is worth it. */
bool aws_is_passing(const struct aws_answer *answer);
/* Whether the answer is the error of that name, as "NoSuchBucket". */
bool aws_has_code(const struct aws_answer *answer, const char *code);
/* Whether the other side could not be reached at all: what a backend counts. */
bool aws_err_unreachable(const struct err *err);
/* Whether it does not take this key, or not for this. */
bool aws_err_refuses_key(const struct err *err);

#endif
