/* Things on a server that bear our mark and that no Tenant stands for: told, never dropped. */
#ifndef TENANTRY_DATABASE_SERVER_ORPHANS_H
#define TENANTRY_DATABASE_SERVER_ORPHANS_H

#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/err.h"
#include "reconcilers/model/work.h"

/* Databases and roles whose mark names a tenant id which is neither that of a Tenant that exists,
 * nor kept on purpose (tenant_retained). *ret_count: how many; words: those that fit, by id, and
 * what to do. Reads only; conn is to the server's maintenance database. Sets tenantry_orphans. */
MUST_CHECK int server_find_orphans(struct reconcile *rc, const struct services *services,
                                   const char *server, int64_t *ret_count, struct buf *words,
                                   struct err *err);
/* The server's object is gone: so is its metric. */
void server_forget_orphans(const char *server);

#endif
