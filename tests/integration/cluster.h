/* The control plane that KUBECONFIG names, and a namespace in it for one test program. Failures end
 * the test. */
#ifndef TENANTRY_TESTS_INTEGRATION_CLUSTER_H
#define TENANTRY_TESTS_INTEGRATION_CLUSTER_H

#include "controller/base/buf.h"
#include "controller/base/js.h"
#include "controller/kube/api.h"

struct cluster {
    struct kube_config config;
    struct kube_client *client;
    char *namespace_;
};

/* For cmocka's group; *state is a struct cluster. */
int cluster_set_up(void **state);
int cluster_tear_down(void **state);

struct kube_client *cluster_client(struct cluster *cluster, const char *name);
/* A client of another server with the same credentials: a relay. Caller frees both. */
struct kube_client *cluster_client_at(struct cluster *cluster, int port,
                                      struct kube_config *ret_config);
int cluster_port(const struct cluster *cluster);

/* Create an object; the text is a format. In the namespace of the test if the kind has one. */
void cluster_create(struct cluster *cluster, const struct kube_resource *resource,
                    const char *format, ...) PRINTF_LIKE(3, 4);
void cluster_delete(struct cluster *cluster, const struct kube_resource *resource,
                    const char *name);
/* A merge patch. */
void cluster_patch(struct cluster *cluster, const struct kube_resource *resource, const char *name,
                   const char *format, ...) PRINTF_LIKE(4, 5);
/* The object, or with name NULL the list; NULL when it is not there. Caller decrefs. */
json_t *cluster_get(struct cluster *cluster, const struct kube_resource *resource,
                    const char *name);

/* The value that /metrics would show for `name{labels}`, 0 when there is none. */
double cluster_metric(const char *series);

void cluster_make_config_map(struct cluster *cluster, const char *name);

/* --- for tests of the client itself --- */

struct kube_client *cluster_connect(const struct kube_config *config, bool disable_http2);
/* Print into the buffer, whose earlier text goes; what is returned lies in it. */
struct str cluster_text(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
json_t *cluster_parse(const struct buf *body); /* caller decrefs */
/* In the test's namespace; with name NULL the collection. */
struct kube_ref cluster_config_map(const struct cluster *cluster, const char *name);
struct str cluster_config_map_json(struct buf *buf, const char *name, const char *value);
/* Make a ConfigMap; returns its tree, which the caller decrefs. */
json_t *cluster_add_config_map(const struct cluster *cluster, const char *name, const char *value);

#endif
