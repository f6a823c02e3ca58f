#include "tests/integration/as_controller.h"

#include "tests/check.h"

static const struct kube_header_value headers[] = {
    {"Impersonate-User", "system:serviceaccount:tenantry-system:tenantry-controller"},
    {"Impersonate-Group", "system:serviceaccounts"},
    {"Impersonate-Group", "system:serviceaccounts:tenantry-system"},
    {"Impersonate-Group", "system:authenticated"},
};

void as_controller_init(struct as_controller *identity)
{
    const struct kube_client_config client_config = {.name = "controller"};
    struct err err = {0};

    *identity = (struct as_controller){0};
    CHECK_OK(kube_config_load(NULL, NULL, &identity->config, &err), &err);
    identity->config.impersonate = headers;
    identity->config.impersonate_count = ARRAY_COUNT(headers);
    CHECK_OK(kube_client_new(&identity->config, &client_config, &identity->client, &err), &err);
}

void as_controller_release(struct as_controller *identity)
{
    kube_client_free(identity->client);
    kube_config_release(&identity->config);
}
