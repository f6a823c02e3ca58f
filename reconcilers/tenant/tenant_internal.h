/* What the files of this folder share; nobody else includes it, but for tests. */
#ifndef TENANTRY_TENANT_INTERNAL_H
#define TENANTRY_TENANT_INTERNAL_H

#include "controller/base/attributes.h"
#include "controller/base/hash.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/step.h"
#include "reconcilers/model/work.h"

/* ---- tenant_steps.c ---- */

extern const struct step tenant_steps[];
extern const size_t tenant_step_count;

/* The conditions that steps count towards, each with what it says when all is well. */
struct step_condition {
    const char *type;
    const char *done_message;
};
extern const struct step_condition tenant_conditions[];
extern const size_t tenant_condition_count;

/* ---- tenant_hash.c ---- */

/* Everything that decides what the tenant's world looks like: spec, tier, server, store, the
 * templates of its sandboxes, and a version of each step that is raised by hand when a step starts
 * to make something else. Equal hash and generation mean that nothing is to be done. tier and
 * server may be NULL. */
void tenant_inputs_hash(const struct services *services, const struct tenant *tenant,
                        const struct tier *tier, const struct database_server *server,
                        char ret_text[HASH128_TEXT_BYTES]);

/* ---- tenant_status.c ---- */

/* The status as this run leaves it, starting from the old one. Pure; texts are borrowed from work,
 * results and arena. results is NULL when no step ran. failure: what stopped the run or decided its
 * end; cls ERR_OK when all is well. */
void tenant_status_next(struct arena *arena, const struct tenant_work *work,
                        const struct step_result *results, const struct err *failure,
                        const char *inputs_hash, int64_t now_s, struct tenant_status *ret);

/* Patch the status if it differs from the last seen one; the answer goes into the cache. */
MUST_CHECK int tenant_status_write(struct reconcile *rc, const struct services *services,
                                   const struct tenant *tenant, const struct tenant_status *next,
                                   struct err *err);
bool tenant_status_equal(const struct tenant_status *a, const struct tenant_status *b);

/* ---- tenant_delete.c ---- */

/* Undo what the tenant had, as its policy says, and let go of the object. */
struct outcome tenant_delete(struct reconcile *rc, struct tenant_work *work);
/* Whether the kind itself is going or gone: then nothing may be destroyed. */
MUST_CHECK int tenant_kind_is_going(struct reconcile *rc, const struct services *services,
                                    bool *ret, struct err *err);

/* ---- tenant_reconcile.c ---- */

/* Count durations and failures of the steps in /metrics. */
void tenant_observe_steps(const struct step *steps, const struct step_result *results,
                          size_t count);

#endif
