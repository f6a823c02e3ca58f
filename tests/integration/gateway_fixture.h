/* Gateways as processes of their own, against the registry and the databases of database_fixture.h,
 * and a client that speaks plain HTTP/1.1 to them. Failures end the test. */
#ifndef TENANTRY_TESTS_INTEGRATION_GATEWAY_FIXTURE_H
#define TENANTRY_TESTS_INTEGRATION_GATEWAY_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/integration/database_fixture.h"

#define GATEWAY_PLATFORM_TOKEN "the-platforms-token-0123456789abcdef"

/* As fixture_set_up and fixture_tear_down, with the gateway's role, its row of the server, and a
 * folder of its files beside it. */
int gateway_set_up(void **state);
int gateway_tear_down(void **state);
/* A connection of the superuser's to the registry. */
struct sql_conn *gateway_registry(void);

struct gateway_process {
    pid_t pid;
    int port;
};
/* Returns when it is ready. It reads its clock's offset from a file, 0 at first. */
void gateway_start(struct gateway_process *gateway);
/* With more flags, NULL-ended; returns when it listens. */
void gateway_start_with(struct gateway_process *gateway, const char *const *more);
void gateway_wait_ready(const struct gateway_process *gateway);
void gateway_stop(struct gateway_process *gateway); /* SIGTERM, and an exit status of 0 */
void gateway_kill(struct gateway_process *gateway); /* SIGKILL */
void gateway_set_clock(int64_t offset_s);

/* A tenant with its database, a quota of `limit` api_requests, a user alice@NAME.com with password
 * "first password" that must be changed, and the API key "key-of-NAME" of his. Returns its id. */
char *gateway_tenant(const struct fixture *fixture, const char *name, int64_t limit);
/* The same in another mode. */
char *gateway_tenant_in(const struct fixture *fixture, enum isolation isolation, const char *name,
                        int64_t limit);
/* Alice's session; must succeed, with that must_change_password. */
char *gateway_log_in(const struct gateway_process *gateway, const char *tenant,
                     const char *password, bool must_change);
/* current_usage of api_requests. */
int64_t gateway_used(const char *tenant_id);

struct reply {
    int status;
    char head[4096];
    char body[8192];
};
int http_open(int port);
/* token and body may be NULL. False when the connection is lost. */
bool http_ask(int fd, const char *method, const char *tenant, const char *path, const char *token,
              const char *body, struct reply *ret);
/* On a connection of its own. */
void http_once(const struct gateway_process *gateway, const char *method, const char *tenant,
               const char *path, const char *token, const char *body, struct reply *ret);
/* Ask until the status is that; fails the test after limit_ms. */
void http_until(const struct gateway_process *gateway, const char *tenant, const char *token,
                int status, int64_t limit_ms);

#endif
