/* AWS Signature Version 4, by which S3 and IAM servers know who asks (IAM user guide, "Create a
 * signed AWS API request"). Pure but for the signer's cache: the signing key of the day costs four
 * of the five HMACs and is made once a day. Thread-safe. */
#ifndef TENANTRY_DRIVERS_SIGV4_H
#define TENANTRY_DRIVERS_SIGV4_H

#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/hash.h"
#include "controller/base/secret.h"
#include "controller/base/str.h"

/* One key for one service in one region. */
struct sigv4_signer;

/* Texts and secret are copied. Caller frees. */
struct sigv4_signer *sigv4_signer_new(const char *access_key, const struct secret *secret_key,
                                      const char *region, const char *service);
void sigv4_signer_free(struct sigv4_signer *signer);
const char *sigv4_access_key(const struct sigv4_signer *signer);

struct sigv4_pair {
    const char *name; /* of a header: in lower case */
    const char *value;
};
enum { SIGV4_PAIRS_MAX = 16 };

/* The query in canonical form (sorted, percent-encoded), which is also the one to send; nothing
 * when there are no pairs. count is at most SIGV4_PAIRS_MAX. */
void sigv4_query(const struct sigv4_pair *pairs, size_t count, struct buf *out);

enum { SIGV4_TIME_BYTES = 17 };
struct sigv4_request {
    const char *method;
    const char *path;                 /* percent-encoded as it is sent; "" counts as "/" */
    const char *query;                /* from sigv4_query */
    const struct sigv4_pair *headers; /* all that are to be signed: host and x-amz-date at least */
    size_t header_count;              /* at most SIGV4_PAIRS_MAX */
    const char *payload_hash;         /* SHA-256 in hex, or UNSIGNED-PAYLOAD */
    int64_t time_s;                   /* the one that x-amz-date says */
};
/* "20150830T123600Z", the value of x-amz-date. */
void sigv4_time(int64_t time_s, char ret_text[SIGV4_TIME_BYTES]);
/* The value of the Authorization header. */
void sigv4_sign(struct sigv4_signer *signer, const struct sigv4_request *request, struct buf *out);

/* The text whose hash is signed. For tests. */
void sigv4_canonical_request(const struct sigv4_request *request, struct buf *out);

#endif
