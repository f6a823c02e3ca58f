/* What the registry says, kept up to date: the table of tenants, the servers, revocations, recalls
 * of quota. A thread with a connection of its own hears notifications, and asks several times a
 * second for a sign of life, so that a lost registry is known as such; after a loss everything is
 * read anew, for what was notified meanwhile is not known. */
#ifndef TENANTRY_GATEWAY_FEED_H
#define TENANTRY_GATEWAY_FEED_H

#include "controller/base/secret.h"
#include "gateway/gateway.h"

struct feed;
/* url: copied. Starts the thread. */
struct feed *feed_new(struct gateway *gateway, const struct secret *url);
/* Tells the registry that this gateway is gone, and ends. */
void feed_free(struct feed *feed);

/* Tell all gateways, this one included, that a token or a user's tokens are no longer good; from
 * another thread, sent by the feed's within some tens of milliseconds. */
void feed_revoke_key(struct feed *feed, const char *tenant_id, const char *key_hash);
void feed_revoke_user(struct feed *feed, const char *tenant_id, const char *user_id);

#endif
