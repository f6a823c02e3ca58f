/* A watch on a thread of its own whose handler writes down all that it is told, for tests to wait
 * on. Waiting fails the test, with all that was told, when it takes too long. */
#ifndef TENANTRY_TESTS_SUPPORT_WATCH_RECORDER_H
#define TENANTRY_TESTS_SUPPORT_WATCH_RECORDER_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/kube/watch_internal.h"

struct watch_recorder;

/* timing NULL: the real one. config is borrowed. */
struct watch_recorder *recorder_start(struct kube_client *client, const struct watch_config *config,
                                      const struct watch_timing *timing);
/* The same, as if it had seen everything up to this version already. */
struct watch_recorder *recorder_start_at(struct kube_client *client,
                                         const struct watch_config *config,
                                         const struct watch_timing *timing,
                                         const char *resource_version);
/* Cancel the watch, and check that it ends within 2 s. */
void recorder_stop(struct watch_recorder *recorder);

struct watch *recorder_watch(struct watch_recorder *recorder);

/* The story so far, one word group a call, each ended by '\n':
 *   begin / object NAME RV / remove NAME RV / end RV / added NAME RV / modified NAME RV /
 *   deleted NAME RV / bookmark RV / healthy / trouble REASON / served / not served
 * The caller frees. */
char *recorder_story(struct watch_recorder *recorder);

/* Until the story contains the text. Returns how many times. */
size_t recorder_wait(struct watch_recorder *recorder, const char *text);
/* Until it contains it this often. */
void recorder_wait_times(struct watch_recorder *recorder, const char *text, size_t times);
size_t recorder_count(struct watch_recorder *recorder, const char *text);

/* What a cache fed by this watch would hold now. */
size_t recorder_view_size(struct watch_recorder *recorder);
bool recorder_view_has(struct watch_recorder *recorder, const char *name);

#endif
