/* Running a credential plugin (client.authentication.k8s.io) and reading what it says; private to
 * kube/credentials. */
#ifndef TENANTRY_KUBE_EXEC_PLUGIN_H
#define TENANTRY_KUBE_EXEC_PLUGIN_H

#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "controller/base/str.h"
#include "controller/kube/config.h"

/* Zeroed = empty. */
struct exec_credential {
    struct secret token;   /* may be empty when there is a certificate */
    char *certificate_pem; /* NULL: none; with key */
    struct secret key_pem;
    int64_t expires_wall_us; /* INT64_MAX: never */
};
void exec_credential_release(struct exec_credential *credential);
static inline void auto_release_exec_credential(struct exec_credential *credential)
{
    exec_credential_release(credential);
}

enum { EXEC_PLUGIN_TIMEOUT_MS = 60 * 1000, EXEC_PLUGIN_OUTPUT_MAX_BYTES = 1024 * 1024 };

/* Run it, without a shell, with no input and a process group of its own, which is killed when the
 * time (timeout_ms, or the call's) is over or the call is canceled. Errors:
 * RETRY/CredentialsUnavailable, naming the plugin and what it said last; and those of call_check.
 */
MUST_CHECK int exec_plugin_run(const struct kube_config *config, const struct call *call,
                               int64_t timeout_ms, struct exec_credential *ret, struct err *err);

/* An ExecCredential object. Errors: RETRY/CredentialsUnavailable. */
MUST_CHECK int exec_plugin_parse(struct str json, const char *api_version,
                                 struct exec_credential *ret, struct err *err);

#endif
