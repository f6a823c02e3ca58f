/* An API client that acts as the controller's ServiceAccount: with its rights, under the policies
 * that bind it. Failures end the test. */
#ifndef TENANTRY_TESTS_INTEGRATION_AS_CONTROLLER_H
#define TENANTRY_TESTS_INTEGRATION_AS_CONTROLLER_H

#include "controller/kube/api.h"

struct as_controller {
    struct kube_config config;
    struct kube_client *client;
};
void as_controller_init(struct as_controller *identity);
void as_controller_release(struct as_controller *identity);

#endif
