/* The live side of a kube_config: tokens, certificates and CAs that change while we run.
 *
 * Token files are read again when older than 50 s; certificate, key and CA files every 5 minutes,
 * and swapped in only when they parse and differ; exec plugins run again at expiry and after a 401,
 * once for all who wait, with a timeout of 60 s and 1 MiB of output. Thread-safe. Secrets never
 * reach a disk. */
#ifndef TENANTRY_KUBE_CREDENTIALS_H
#define TENANTRY_KUBE_CREDENTIALS_H

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "controller/kube/config.h"
#include "controller/net/http_client.h"

struct kube_credentials;

/* config is borrowed and must outlive the credentials. Reads every file once.
 * Errors: TERMINAL/InvalidCredentials naming the file or key. */
MUST_CHECK int kube_credentials_new(const struct kube_config *config, struct kube_credentials **ret,
                                    struct err *err);
void kube_credentials_free(struct kube_credentials *credentials);

/* Copy the bearer token to use now into *token (empty: none), refreshing it when it is due. A
 * refresh that fails while an older token is held keeps that one. Errors:
 * RETRY/CredentialsUnavailable. */
MUST_CHECK int kube_credentials_token(struct kube_credentials *credentials, const struct call *call,
                                      struct secret *token, struct err *err);

/* The server refused `token` (empty: the client certificate) with 401: get another one next time,
 * unless it was replaced meanwhile. */
void kube_credentials_refused(struct kube_credentials *credentials, const struct secret *token);

/* Trust and identity as they are now. tls points into the rest, so the struct is not to be copied.
 */
struct kube_tls {
    struct http_tls tls;
    struct secret key;
    char *owned;
};
/* *ret must be zeroed or released; the caller releases it. *ret_version, from 1, grows with each
 * change. Errors: RETRY/CredentialsUnavailable. */
MUST_CHECK int kube_credentials_tls(struct kube_credentials *credentials, const struct call *call,
                                    uint64_t *ret_version, struct kube_tls *ret, struct err *err);
void kube_tls_release(struct kube_tls *tls);

/* Read files again if due; true when kube_credentials_tls has a newer version than `version`.
 * Cheap. */
bool kube_credentials_tls_changed(struct kube_credentials *credentials, uint64_t version);

#endif
