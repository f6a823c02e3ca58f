/* An IAM client (AWS Query API, version 2010-05-08): users, their keys, their inline policies. For
 * AWS, Ceph RGW and VersityGW's IAM service. Errors are those of aws_perform: NOT_FOUND/NotFound
 * when the user, key or policy is not there. All but iam_key_create may be repeated safely.
 * Thread-safe, blocking. */
#ifndef TENANTRY_DRIVERS_IAM_H
#define TENANTRY_DRIVERS_IAM_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "controller/net/http_client.h"

struct iam;

/* http is borrowed (s3_http_client_new makes one that fits). Errors: TERMINAL/InvalidRequest. */
MUST_CHECK int iam_new(struct http_client *http, const char *endpoint, const char *region,
                       const char *access_key, const struct secret *secret_key, struct iam **ret,
                       struct err *err);
void iam_free(struct iam *iam);
AUTO_DEFINE(iam, struct iam *, iam_free)

enum {
    IAM_TAG_BYTES = 257,
    IAM_KEY_BYTES = 129,
    IAM_KEYS_MAX = 2,
    IAM_POLICY_MAX_BYTES = 64 * 1024
};

/* *ret_created: false when a user of the name was there already, whoever's. */
MUST_CHECK int iam_user_create(struct iam *iam, const struct call *call, const char *user,
                               const char *tag_key, const char *tag_value, bool *ret_created,
                               struct err *err);
/* The value of one tag of the user's, "" if it has none. */
MUST_CHECK int iam_user_tag(struct iam *iam, const struct call *call, const char *user,
                            const char *tag_key, char ret_value[IAM_TAG_BYTES], struct err *err);
MUST_CHECK int iam_user_set_tag(struct iam *iam, const struct call *call, const char *user,
                                const char *tag_key, const char *tag_value, struct err *err);
/* A user without keys and policies; gone already is success. */
MUST_CHECK int iam_user_delete(struct iam *iam, const struct call *call, const char *user,
                               struct err *err);

struct iam_key {
    char id[IAM_KEY_BYTES];
    bool active;
};
/* Servers allow two keys a user; more than IAM_KEYS_MAX are RETRY/StorageAnswer. */
MUST_CHECK int iam_key_list(struct iam *iam, const struct call *call, const char *user,
                            struct iam_key ret[IAM_KEYS_MAX], size_t *ret_count, struct err *err);
/* Sent once only. After an error there may be a key that nobody knows the secret of: list, and
 * delete what is not known. *ret_secret is initialised. */
MUST_CHECK int iam_key_create(struct iam *iam, const struct call *call, const char *user,
                              char ret_id[IAM_KEY_BYTES], struct secret *ret_secret,
                              struct err *err);
MUST_CHECK int iam_key_set_active(struct iam *iam, const struct call *call, const char *user,
                                  const char *id, bool active, struct err *err);
/* Gone already is success. */
MUST_CHECK int iam_key_delete(struct iam *iam, const struct call *call, const char *user,
                              const char *id, struct err *err);

/* The JSON document of an inline policy. */
MUST_CHECK int iam_policy(struct iam *iam, const struct call *call, const char *user,
                          const char *policy, struct buf *ret, struct err *err);
MUST_CHECK int iam_policy_put(struct iam *iam, const struct call *call, const char *user,
                              const char *policy, const char *document, struct err *err);
/* Gone already is success. */
MUST_CHECK int iam_policy_delete(struct iam *iam, const struct call *call, const char *user,
                                 const char *policy, struct err *err);

#endif
