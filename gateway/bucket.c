#include "gateway/bucket.h"

#include <stdint.h>

enum {
    IDLE_MS = 300,     /* a lease not spent from for so long goes back */
    HURRY_MS = 1000,   /* after a recall, take only what is asked for */
    EDGE_MS = 20,      /* end this much before the month does */
    RATE_MS = 1000,    /* rates are measured over at least a part of this */
    SHARE_PERCENT = 1, /* of what remains, at most so much is held ahead */
    REFILL_MIN = 8,    /* smaller leases are not asked for in good time */
    RISE = 4,          /* a lease that ran dry is followed by one so much larger, if that is more */
};

/* Slower than this, each request asks for itself, so that what the registry shows is exact. */
static const int64_t slow_per_second = 200;

void bucket_init(struct bucket *bucket)
{
    *bucket = (struct bucket){.used = 0};
}

int64_t bucket_spent(const struct bucket *bucket)
{
    return bucket->until - atomic_load(&bucket->left);
}

int64_t bucket_remaining(const struct bucket *bucket)
{
    int64_t limit = atomic_load_explicit(&bucket->limit, memory_order_relaxed);
    int64_t used = atomic_load_explicit(&bucket->used, memory_order_relaxed);
    int64_t left = atomic_load_explicit(&bucket->left, memory_order_relaxed);
    int64_t rest = limit > used ? limit - used : 0;

    if (left > 0 && rest > INT64_MAX - left) {
        return INT64_MAX;
    }
    return left > 0 ? rest + left : rest;
}

enum bucket_answer bucket_spend(struct bucket *bucket, int64_t now_ms)
{
    int64_t left = atomic_load_explicit(&bucket->left, memory_order_relaxed);

    if (left > 0 && now_ms < atomic_load_explicit(&bucket->ends_ms, memory_order_relaxed)) {
        while (left > 0) {
            if (atomic_compare_exchange_weak(&bucket->left, &left, left - 1)) {
                int64_t low = atomic_load_explicit(&bucket->low, memory_order_relaxed);
                return left - 1 == low && low > 0 ? BUCKET_ADMITTED_LOW : BUCKET_ADMITTED;
            }
        }
    }
    if (now_ms < atomic_load_explicit(&bucket->deny_until_ms, memory_order_relaxed)) {
        return atomic_load(&bucket->limit) < 0 ? BUCKET_MISSING : BUCKET_DENIED;
    }
    return BUCKET_EMPTY;
}

/* ---- asking ---- */

/* Requests a second since the rate was last looked at; the look-out moves on with time. */
static int64_t measure(struct bucket *bucket, int64_t spent, int64_t waiting, int64_t now_ms)
{
    int64_t passed_ms = now_ms - bucket->rate_from_ms;
    int64_t count = spent - bucket->rate_from_spent + waiting;

    if (passed_ms > 4 * (int64_t)RATE_MS || count < 0) {
        count = waiting;
        passed_ms = RATE_MS;
        bucket->rate_from_ms = now_ms - RATE_MS;
        bucket->rate_from_spent = spent;
    }
    int64_t base_ms = passed_ms < RATE_MS / 4 ? RATE_MS / 4 : passed_ms;
    int64_t rate = count * 1000 / base_ms;
    if (passed_ms > RATE_MS) {
        bucket->rate_from_ms = now_ms;
        bucket->rate_from_spent = spent;
    }
    return rate;
}

/* How much to hold beyond what is asked for just now: a second's traffic. What is measured while
 * requests wait is the registry's speed and not theirs, hence the rise. */
static int64_t ahead(struct bucket *bucket, int64_t rate, int64_t waiting, int64_t now_ms)
{
    int64_t share = bucket_remaining(bucket) / (100 / SHARE_PERCENT);
    int64_t traffic = waiting > 0 && bucket->granted * RISE > rate ? bucket->granted * RISE : rate;

    if (rate < slow_per_second || now_ms < atomic_load(&bucket->hurry_until_ms)) {
        return 0;
    }
    return traffic < share ? traffic : share;
}

struct bucket_question bucket_ask(struct bucket *bucket, int64_t waiting, int64_t now_ms)
{
    struct bucket_question question = {.spent = bucket_spent(bucket)};
    int64_t left = bucket->until - question.spent;
    int64_t rate = measure(bucket, question.spent, waiting, now_ms);
    int64_t want = ahead(bucket, rate, waiting, now_ms) + waiting - (left > 0 ? left : 0);

    question.wanted = want > 0 ? want : 0;
    bucket->asked_spent = question.spent;
    bucket->asked_ms = now_ms;
    return question;
}

void bucket_deny(struct bucket *bucket)
{
    int64_t resets_ms = atomic_load(&bucket->resets_ms);

    atomic_store(&bucket->deny_until_ms, resets_ms > 0 ? resets_ms : INT64_MAX);
}

void bucket_take(struct bucket *bucket, const struct bucket_grant *grant, int64_t life_ms,
                 int64_t now_ms)
{
    int64_t ends_ms = bucket->asked_ms + life_ms;

    if (!grant->found) {
        atomic_store(&bucket->limit, -1);
        atomic_store(&bucket->deny_until_ms, INT64_MAX);
        return;
    }
    if (grant->seconds_left >= 0) {
        int64_t resets_ms = bucket->asked_ms + (int64_t)(grant->seconds_left * 1000);
        atomic_store(&bucket->resets_ms, resets_ms);
        ends_ms = resets_ms - EDGE_MS < ends_ms ? resets_ms - EDGE_MS : ends_ms;
    } else {
        atomic_store(&bucket->resets_ms, 0);
    }
    int64_t granted = grant->until - bucket->asked_spent;
    atomic_store(&bucket->used, grant->used);
    atomic_store(&bucket->limit, grant->limit);
    atomic_store(&bucket->low, granted >= REFILL_MIN ? granted / 2 : 0);
    bucket->granted = granted;
    atomic_store(&bucket->ends_ms, ends_ms);
    if (granted > 0 || grant->others > 0) {
        atomic_store(&bucket->deny_until_ms, 0);
    } else {
        bucket_deny(bucket);
    }
    /* Last, since it is what lets requests in. What was spent while the question was under way is
     * in `left` already. */
    int64_t change = grant->until - bucket->until;
    bucket->until = grant->until;
    (void)atomic_fetch_add(&bucket->left, change);
    bucket->seen_ms = now_ms;
}

/* ---- giving ---- */

int64_t bucket_close(struct bucket *bucket)
{
    int64_t left = atomic_load(&bucket->left);

    while (left > 0 && !atomic_compare_exchange_weak(&bucket->left, &left, 0)) {
    }
    if (left > 0) {
        bucket->until -= left;
    }
    return bucket_spent(bucket);
}

bool bucket_is_idle(struct bucket *bucket, int64_t now_ms)
{
    int64_t spent = bucket_spent(bucket);

    if (bucket->until - spent <= 0) {
        return false;
    }
    if (spent != bucket->seen_spent) {
        bucket->seen_spent = spent;
        bucket->seen_ms = now_ms;
    }
    return now_ms - bucket->seen_ms >= IDLE_MS || now_ms >= atomic_load(&bucket->ends_ms);
}

void bucket_reopen(struct bucket *bucket)
{
    atomic_store(&bucket->deny_until_ms, 0);
}

void bucket_hurry(struct bucket *bucket, int64_t now_ms)
{
    atomic_store(&bucket->hurry_until_ms, now_ms + HURRY_MS);
}
