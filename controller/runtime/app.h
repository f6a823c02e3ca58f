/* A whole controller for one kind, from the command line to its end: for programs that need no more
 * than that. docs/runtime.md shows one. What is wired here is what main.c wires by hand for several
 * kinds; every part can be had alone. */
#ifndef TENANTRY_RUNTIME_APP_H
#define TENANTRY_RUNTIME_APP_H

#include "controller/base/attributes.h"
#include "controller/runtime/manager.h"
#include "controller/runtime/object_type.h"

struct app;

struct app_config {
    const char *name;            /* of the program, its Lease and its field manager */
    const char *namespace_;      /* of the Lease */
    const char *metrics_address; /* "127.0.0.1:8080"; NULL: no pages */
    const struct object_type *type;
    const char *watch_namespace; /* NULL: all */
    const char *label_selector;  /* NULL: none */
    int workers;                 /* 0 = 4 */
    int64_t recheck_ms;          /* look again that often though nothing changed; 0 = never */
    /* Bring the world closer to what the object asks for. object is the kind's struct, in the
     * reconcile's arena. Idempotent; called for one object by one worker at a time, and again with
     * a growing pause when it fails. What it returns decides that alone (runtime/outcome.h). */
    int (*reconcile)(struct app *app, struct reconcile *rc, void *object, struct err *err);
};

/* Run until SIGTERM or SIGINT, or until the lease is lost; returns the exit status. The cluster is
 * found as kubectl finds it. Call it from main, before there are other threads. */
int app_run(const struct app_config *config);

struct kube_client *app_api(struct app *app);
struct event_recorder *app_events(struct app *app);

/* Set members of the object's status; status_json: a JSON object, merged into what is there. Call
 * it only when something differs. The cache knows the answer when this returns, so that the next
 * run sees it. Errors: those of the request; CONFLICT when another object bears the name by now. */
MUST_CHECK int app_patch_status(struct app *app, struct reconcile *rc, const struct object *object,
                                struct str status_json, struct err *err);

#endif
