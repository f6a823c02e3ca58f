/* Messages that were sent on behalf of a tenant, in tenant_mails, and how old a secret is. */
#ifndef TENANTRY_REGISTRY_MAILS_H
#define TENANTRY_REGISTRY_MAILS_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/registry/registry.h"

MUST_CHECK int registry_mail_is_sent(struct registry *registry, struct reconcile *rc,
                                     const char *tenant_id, const char *kind, const char *recipient,
                                     bool *ret, struct err *err);
MUST_CHECK int registry_mail_put(struct registry *registry, struct reconcile *rc,
                                 const char *tenant_id, const char *kind, const char *recipient,
                                 const char *message_id, struct err *err);

/* Seconds since the digest of this kind was written (registry_digest_put); 0 when there is none. */
MUST_CHECK int registry_digest_age(struct registry *registry, struct reconcile *rc,
                                   const char *tenant_id, const char *kind, int64_t *ret_s,
                                   struct err *err);

#endif
