/* For tests of the manager: a namespace, and example_controller as processes that the test starts,
 * looks at, stops and suspends. Failures end the test. */
#ifndef TENANTRY_TESTS_INTEGRATION_MANAGER_FIXTURE_H
#define TENANTRY_TESTS_INTEGRATION_MANAGER_FIXTURE_H

#include <sys/types.h>

#include "controller/base/buf.h"
#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/kube/api.h"
#include "controller/kube/config.h"
#include "controller/net/http_client.h"

enum { BODY_MAX_BYTES = 4 << 20, WAIT_MS = 60000 };

/* One namespace, an administrator's client there, and a client for the processes' pages. */
struct fixture {
    struct kube_config config;
    struct kube_client *client;
    struct http_client *pages;
    char namespace_[32];
    char folder[64];
    pid_t running[4]; /* what a failed test leaves to be killed */
};

/* For cmocka, each test its own. */
int fixture_set_up(void **state);
int fixture_tear_down(void **state);

void fixture_pass_ms(int64_t duration_ms);

#define EVENTUALLY(condition)                                                                      \
    do {                                                                                           \
        int64_t eventually_end_ms_ = clock_monotonic_ms() + WAIT_MS;                               \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ms() > eventually_end_ms_) {                                       \
                fail_msg("%s did not come true within %d ms", #condition, WAIT_MS);                \
            }                                                                                      \
            fixture_pass_ms(20);                                                                   \
        }                                                                                          \
    } while (0)

/* ---- objects ---- */

void fixture_create(struct fixture *fixture, const struct kube_ref *collection, const char *format,
                    ...) PRINTF_LIKE(3, 4);
struct kube_ref fixture_config_map(const struct fixture *fixture, const char *name);
/* One that the controller takes care of. data: JSON members. */
void fixture_create_map(struct fixture *fixture, const char *name, const char *data);
/* A merge patch. */
void fixture_patch_map(struct fixture *fixture, const char *name, const char *json);
/* The object as a tree that the caller decrefs; NULL when it is not there. */
json_t *fixture_fetch(struct fixture *fixture, const struct kube_ref *ref);
bool fixture_map_has(struct fixture *fixture, const char *name, const char *path,
                     const char *value);
bool fixture_map_is_gone(struct fixture *fixture, const char *name);
bool fixture_lease_is_free(struct fixture *fixture);

/* ---- processes ---- */

struct process {
    pid_t pid;
    int port; /* of its pages */
};

struct process_options {
    int port;                  /* 0: a free one */
    const char *prepared_file; /* NULL: nothing to prepare */
    const char *kubeconfig;    /* NULL: the test's own */
    bool no_election;
};

/* name: what it writes into data.by. */
struct process process_start(struct fixture *fixture, const char *name);
struct process process_start_with(struct fixture *fixture, const char *name,
                                  const struct process_options *options);
void process_signal(const struct process *process, int signal_number);
/* Wait for the end; returns the exit status, or 128 + the signal that ended it. */
int process_end(struct fixture *fixture, struct process *process);
/* SIGTERM, and a good end. */
void process_stop(struct fixture *fixture, struct process *process);

/* A page of the process: its status, 0 when nobody listens (yet). */
int process_page(struct fixture *fixture, const struct process *process, const char *path,
                 struct buf *ret_body);
bool process_page_says(struct fixture *fixture, const struct process *process, const char *path,
                       int status, const char *part);
bool process_is_ready(struct fixture *fixture, const struct process *process);
bool process_leads(struct fixture *fixture, const struct process *process);

#endif
