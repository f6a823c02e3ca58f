/* When a login is replaced, and when the one before is closed.
 *
 * A client learns of a rotation when it sees the new Secret: at once if it watches, after a minute
 * and more if the kubelet mounts it. Until then it opens sessions as before. So the login before is
 * closed only when it has not been used for a while, or its time is over. Sessions are seen by
 * samples, which is why the while is long. Who asks for another rotation meanwhile needs the slot:
 * then a short quiet is enough, and a session that is there still keeps it open. */
#include "controller/base/str.h"
#include "reconcilers/database/login_internal.h"

enum { QUIET_S = 90, QUIET_ASKED_S = 5, LOOK_MIN_S = 1, LOOK_MAX_S = 15 };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t bounded(int64_t value, int64_t lowest, int64_t highest)
{
    return value < lowest ? lowest : least(value, highest);
}

static bool is_requested(const struct login_records *records, const struct rotation_wanted *wanted)
{
    return !text_is_empty(wanted->request) && !text_equal(wanted->request, records->request) &&
           *records->slots[records->current].digest;
}

static void plan_retiring(const struct login_records *records, const struct rotation_wanted *wanted,
                          const struct login_record *retiring, int64_t sessions,
                          struct rotation_plan *ret)
{
    int64_t quiet_s = least(QUIET_S, wanted->overlap_s / 4);
    int64_t now_s = records->now_s;

    if (is_requested(records, wanted)) {
        quiet_s = least(quiet_s, QUIET_ASKED_S);
    }
    bool quiet = sessions == 0 && now_s - retiring->seen_s >= quiet_s;
    if (!wanted->active || quiet || now_s >= retiring->retire_s) {
        ret->action = ROTATION_CLOSE;
        return;
    }
    int64_t sample_s = bounded(quiet_s / 4, LOOK_MIN_S, LOOK_MAX_S);
    if (sessions > 0 && now_s - retiring->seen_s >= sample_s) {
        ret->action = ROTATION_NOTICE;
    }
    int64_t left_s = bounded(retiring->retire_s - now_s, LOOK_MIN_S, LOOK_MAX_S);
    ret->again_ms = least(sample_s, left_s) * 1000;
}

void rotation_plan(const struct login_records *records, const struct rotation_wanted *wanted,
                   int64_t sessions, struct rotation_plan *ret)
{
    const struct login_record *current = &records->slots[records->current];
    const struct login_record *other = &records->slots[1 - records->current];

    *ret = (struct rotation_plan){.action = ROTATION_NONE};
    if (other->state == LOGIN_RETIRING) {
        plan_retiring(records, wanted, other, sessions, ret);
        return;
    }
    if (!wanted->active || !*current->digest) {
        return;
    }
    int64_t age_s = records->now_s - current->issued_s;
    bool old = wanted->period_s > 0 && age_s >= wanted->period_s;
    if (other->state == LOGIN_NEXT || old || is_requested(records, wanted)) {
        ret->action = ROTATION_BEGIN;
    } else if (wanted->period_s > 0) {
        ret->again_ms = (wanted->period_s - age_s) * 1000;
    }
}
