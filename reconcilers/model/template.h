/* SandboxTemplate: its codec, and which templates and sandboxes a tenant has. */
#ifndef TENANTRY_MODEL_TEMPLATE_H
#define TENANTRY_MODEL_TEMPLATE_H

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/kube/api.h"
#include "controller/runtime/cache.h"
#include "reconcilers/model/tenant.h"

extern const struct kube_resource KUBE_SANDBOX_TEMPLATES;
extern const struct codec sandbox_template_codec;

/* Strings in the arena. Errors: TERMINAL/InvalidObject. */
MUST_CHECK int sandbox_template_decode(struct str json, struct arena *arena,
                                       struct sandbox_template *ret, struct err *err);
void sandbox_template_unpack(const struct record *record, struct arena *arena,
                             struct sandbox_template *ret);
void sandbox_template_spec_pack(const struct sandbox_template *template_, struct buf *out);
/* NULL when there is none of that name. */
const struct sandbox_template *sandbox_template_find(struct cache *templates, struct arena *arena,
                                                     const char *name);

/* The tenant's own list, or its tier's; tier may be NULL. Borrowed. */
const struct sandbox *tenant_sandboxes(const struct tenant *tenant, const struct tier *tier,
                                       size_t *ret_count);
const char *sandbox_template_name(const struct sandbox *sandbox);

#endif
