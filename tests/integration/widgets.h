/* A kind that tests define and take away again, while watches look. Failures end the test. */
#ifndef TENANTRY_TESTS_INTEGRATION_WIDGETS_H
#define TENANTRY_TESTS_INTEGRATION_WIDGETS_H

#include "tests/integration/cluster.h"

extern const struct kube_resource WIDGETS; /* cluster-scoped */

/* Create the CustomResourceDefinition: the kind is served a moment later. */
void widgets_define(struct cluster *cluster);
/* Until the definition is gone, and every widget with it; fine if it was not there. */
void widgets_remove(struct cluster *cluster);
/* Make one, once the kind is served. */
void widgets_make(struct cluster *cluster, const char *name);

#endif
