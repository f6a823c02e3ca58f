/* Any bytes as the output of a credential plugin. */
#include <string.h>

#include "controller/kube/exec_plugin.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct exec_credential credential = {0};
    const struct str text = {(const char *)data, size};
    if (exec_plugin_parse(text, "client.authentication.k8s.io/v1", &credential, &err) == 0) {
        bool has_token = !secret_is_empty(&credential.token);
        bool has_certificate = credential.certificate_pem != NULL;
        FUZZ_CHECK(has_token || has_certificate);
        FUZZ_CHECK(has_certificate == !secret_is_empty(&credential.key_pem));
    } else {
        FUZZ_CHECK(err.cls == ERR_RETRY && strcmp(err.reason, "CredentialsUnavailable") == 0);
        FUZZ_CHECK(secret_is_empty(&credential.token) && !credential.certificate_pem);
    }
    exec_credential_release(&credential);
    return 0;
}
