/* A TCP relay between a client and a server that tests can make misbehave: connections that stay
 * open and say nothing more (a cable that is out), that are reset, that are refused. It knows
 * nothing of what it carries. Runs in a thread; failures end the test. */
#ifndef TENANTRY_TESTS_SUPPORT_RELAY_H
#define TENANTRY_TESTS_SUPPORT_RELAY_H

#include <stddef.h>

struct relay;

/* Listen on a free port of 127.0.0.1 and connect to target_port there. */
struct relay *relay_start(int target_port);
void relay_stop(struct relay *relay);
int relay_port(const struct relay *relay);

/* From now on the connections of now carry nothing any more, in either direction. New ones work. */
void relay_freeze(struct relay *relay);
/* Reset the connections of now. */
void relay_reset(struct relay *relay);

/* How many connections were made since the start, and how many are open. */
size_t relay_accepted(struct relay *relay);
size_t relay_open(struct relay *relay);

#endif
