/* kubeconfig files, read and merged; private to kube/config.
 *
 * The merge is client-go's: files in the order of $KUBECONFIG, and of each cluster, user, context
 * and of the current context the first file that has it wins, an entry being taken as a whole. */
#ifndef TENANTRY_KUBE_KUBECONFIG_H
#define TENANTRY_KUBE_KUBECONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"

enum kubeconfig_kind {
    KUBECONFIG_CLUSTER,
    KUBECONFIG_USER,
    KUBECONFIG_CONTEXT,
    KUBECONFIG_KINDS,
};

struct kubeconfig {
    /* By kind: objects from an entry's name to {"entry": what stands there, of known fields alone,
     * "folder": absolute, of the file that holds it}. */
    json_t *entries[KUBECONFIG_KINDS];
    json_t *preferences; /* NULL: none */
    json_t *extensions;  /* object by name; NULL: none */
    char *current_context;
    char *looked_at; /* the files, for messages */
    bool empty;      /* none of them held anything */
};

/* path alone when given, else $KUBECONFIG, else ~/.kube/config; files that are missing or empty are
 * skipped, but for `path`. *ret must be zeroed. Errors: TERMINAL/InvalidKubeconfig. */
MUST_CHECK int kubeconfig_read(const char *path, struct kubeconfig *ret, struct err *err);
/* Wipes what may be secret. */
void kubeconfig_release(struct kubeconfig *kubeconfig);
static inline void auto_release_kubeconfig(struct kubeconfig *kubeconfig)
{
    kubeconfig_release(kubeconfig);
}

/* NULL when there is none of that name. */
const json_t *kubeconfig_entry(const struct kubeconfig *kubeconfig, enum kubeconfig_kind kind,
                               const char *name, const char **ret_folder);

/* As `kubectl config view --raw -o json` prints it. Caller frees. */
char *kubeconfig_print(const struct kubeconfig *kubeconfig);

#endif
