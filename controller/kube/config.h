/* Where the API server is and who we are there: kubeconfig files merged as kubectl does, or the
 * in-cluster service account. Rules C8-C14 of the runtime's checklist (docs/runtime.md). */
#ifndef TENANTRY_KUBE_CONFIG_H
#define TENANTRY_KUBE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"

struct kube_exec_env {
    const char *name;
    const char *value;
};

/* An exec credential plugin (client.authentication.k8s.io/v1, v1beta1). */
struct kube_exec {
    const char *api_version;
    const char *command; /* path resolved against the file that names it when it holds a '/' */
    const char *const *arguments;
    size_t argument_count;
    const struct kube_exec_env *env;
    size_t env_count;
    bool provide_cluster_info;
    const char *cluster_config_json; /* the cluster's own settings for plugins; NULL: none */
    const char *install_hint;        /* "" if none */
};

struct kube_header_value {
    const char *name;
    const char *value;
};

/* Everything is allocated in `arena`, which the struct owns, but for the secrets. Immutable after
 * load. */
struct kube_config {
    struct arena arena;
    const char *server;          /* "https://host:port[/prefix]", no final '/' */
    const char *tls_server_name; /* NULL: the host */
    const char *proxy_url;       /* NULL: none */
    bool insecure_skip_tls_verify;
    bool disable_compression;
    const char *ca_file; /* absolute; NULL when inline or absent */
    struct str ca_pem;   /* inline */
    const char *certificate_file;
    const char *key_file;
    struct str certificate_pem;
    struct secret key_pem;
    struct secret token;
    const char *token_file; /* the refresh source, also when token is given */
    const char *username;
    struct secret password;
    const struct kube_exec *exec; /* NULL: none */
    const struct kube_header_value
        *impersonate; /* Impersonate-User, -Uid, -Group, -Extra-* headers */
    size_t impersonate_count;
    const char *namespace_; /* of the context or the service account; "default" */
    const char *context;    /* the context's name; "in-cluster" */
};

/* Load as kubectl does: `path` alone when given (must exist), else $KUBECONFIG's list, else
 * ~/.kube/config; `context` NULL = current-context. When there is nothing in these and the process
 * runs in a pod, the service account. Caller releases. Errors: TERMINAL/InvalidKubeconfig (which
 * file, which key), TERMINAL/NoCluster (what was looked for). */
MUST_CHECK int kube_config_load(const char *path, const char *context, struct kube_config *ret,
                                struct err *err);

/* KUBERNETES_SERVICE_HOST/PORT and /var/run/secrets/kubernetes.io/serviceaccount (or `directory`
 * for tests; NULL = the default). Errors: TERMINAL/NotInCluster. */
MUST_CHECK int kube_config_in_cluster(const char *directory, struct kube_config *ret,
                                      struct err *err);

/* The merged files as JSON in the shape of `kubectl config view --raw -o json`, keys included, so
 * not for logs. Caller frees. */
MUST_CHECK int kube_config_view(const char *path, char **ret_json, struct err *err);

void kube_config_release(struct kube_config *config);

#endif
