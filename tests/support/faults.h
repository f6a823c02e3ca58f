/* Steers the fault proxy (tests/faults) from a test program, and reads its log, the witness of what
 * went over the wire. The proxy stands before the API server that KUBECONFIG names. Failures end
 * the test. */
#ifndef TENANTRY_TESTS_SUPPORT_FAULTS_H
#define TENANTRY_TESTS_SUPPORT_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/js.h"
#include "controller/kube/api.h"

struct faults;

/* The proxy that TENANTRY_FAULTS_URL names, without any rule. */
struct faults *faults_open(void);
void faults_close(struct faults *faults);
/* The cluster as it is seen through the proxy; lives as long as faults. */
const char *faults_kubeconfig(const struct faults *faults);
const struct kube_config *faults_config(const struct faults *faults);
/* A client of its own through the proxy; the caller frees. */
struct kube_client *faults_client(struct faults *faults, const char *name);

/* A rule as tests/faults/README.md describes it: two JSON objects, which may say ' for ".
 * Returns its number. */
int faults_rule(struct faults *faults, const char *match, const char *action);
void faults_remove(struct faults *faults, int rule); /* 0: all */
/* Until the rule has struck so often. */
void faults_await(struct faults *faults, int rule, int fired);
int faults_fired(struct faults *faults, int rule);
void faults_reset_connections(struct faults *faults);
/* Show this certificate from now on; names of files. */
void faults_show_certificate(struct faults *faults, const char *certificate, const char *key);
/* How many TCP connections clients have to it now. */
size_t faults_connections(struct faults *faults);

/* Where the log is now: what comes later is what faults_log gives after it. */
int64_t faults_mark(struct faults *faults);
/* An array of the lines; the caller decrefs. */
json_t *faults_log(struct faults *faults, int64_t since);
/* How many requests after the mark have this verb ("": any), and these texts in path and query
 * (NULL: any). A watch counts once, when it opens. */
size_t faults_count(struct faults *faults, int64_t since, const char *verb, const char *path,
                    const char *query);

#endif
