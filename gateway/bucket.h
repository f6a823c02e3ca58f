/* One quota of one tenant in one gateway: a lease that requests spend without asking anybody.
 *
 * How it can be that no request is admitted past the limit, however many gateways there are and
 * whenever one dies, and that none is refused below it:
 *
 * The registry has, a quota, `current_usage` U and `quota_limit` L, and a lease (spent, until) a
 * gateway that holds some. A gateway has for each quota a counter `spent` of what it admitted,
 * which only grows, and the bound `until`, and admits a request only by moving spent up to at most
 * until, in one atomic step. (1) Both sides count the same thing: until in the registry is what was
 * allowed to that counter, and U contains until - spent of every lease as if it were used already.
 * (2) quota_take runs under the row's lock: it settles the caller's old lease (takes what was left
 * of it out of U), grants g <= L - U, adds g to U, and answers until = spent + g. So U <= L is
 * kept, and U never less than what all gateways admitted plus what they may still admit. Hence
 * admitted <= L. (3) An answer that is lost leaves the gateway with a smaller until than the
 * registry has, which the next call settles, since it tells `spent` itself and not a difference. A
 * gateway that dies leaves its lease in U: what it had not spent is lost, and no more. (4) A
 * request is refused only after quota_take granted nothing and named no lease of another gateway.
 * If it names some, their gateways are called upon (NOTIFY recall), each answers with quota_give,
 * which returns what was not spent, and the taker asks again. So while all live, of M >= L requests
 * exactly L are admitted. (5) A count set by others stands as it was set: a trigger makes leases
 * void, or has them given back, and the counter goes on from where it is, which (1) allows for,
 * because until is always told anew. (6) The month belongs to the lease: the gateway stops spending
 * it at the month's end, by the seconds that the registry's clock told it at the taking, counted
 * from before the question was sent. What is settled later is taken out of the month that it came
 * from.
 *
 * This module is the arithmetic of one gateway: atomic for those who spend, otherwise owned by the
 * quota's thread. It does no I/O and reads no clock. */
#ifndef TENANTRY_GATEWAY_BUCKET_H
#define TENANTRY_GATEWAY_BUCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct bucket {
    /* Read and spent by the front threads. */
    _Atomic int64_t left;          /* until - spent; below zero once more was spent than allowed */
    _Atomic int64_t ends_ms;       /* monotonic: the lease is not to be spent from here on */
    _Atomic int64_t deny_until_ms; /* monotonic: the quota is known to be spent */
    _Atomic int64_t used;          /* as the registry last said, the lease included */
    _Atomic int64_t limit;         /* INT64_MAX: unlimited; -1: there is no such quota */
    _Atomic int64_t resets_ms;     /* monotonic; 0 = the resource has no months */
    _Atomic int64_t low;           /* ask for more when left falls to this */

    /* Set by whoever hears it, read by the quota thread. */
    _Atomic int64_t hurry_until_ms; /* another gateway is short: take no more than is asked for */

    /* The quota thread's own. */
    int64_t until;
    int64_t asked_spent; /* what the question under way told */
    int64_t asked_ms;
    int64_t rate_from_ms; /* what was spent since then gives the speed */
    int64_t rate_from_spent;
    int64_t seen_spent; /* at the last look for idle leases */
    int64_t seen_ms;
    int64_t granted; /* how much the last answer granted */
};

enum bucket_answer {
    BUCKET_ADMITTED,
    BUCKET_ADMITTED_LOW, /* and it is time to ask for more */
    BUCKET_DENIED,       /* the limit is reached */
    BUCKET_MISSING,      /* there is no such quota */
    BUCKET_EMPTY,        /* ask the registry */
};

void bucket_init(struct bucket *bucket);

/* Spend one. Any thread. */
enum bucket_answer bucket_spend(struct bucket *bucket, int64_t now_ms);

/* What was counted so far. */
int64_t bucket_spent(const struct bucket *bucket);
/* What is left of the quota as far as is known here, never negative. */
int64_t bucket_remaining(const struct bucket *bucket);

/* The question: how much to take for `waiting` requests that found it empty. */
struct bucket_question {
    int64_t spent;
    int64_t wanted;
};
struct bucket_question bucket_ask(struct bucket *bucket, int64_t waiting, int64_t now_ms);

/* The registry's answer; found false: no such quota. `others` is what other gateways hold;
 * seconds_left < 0: no months. With nothing granted and nothing held by others the quota is spent.
 */
struct bucket_grant {
    bool found;
    int64_t until;
    int64_t used;
    int64_t limit;
    int64_t others;
    double seconds_left;
};
void bucket_take(struct bucket *bucket, const struct bucket_grant *grant, int64_t life_ms,
                 int64_t now_ms);

/* Refuse until the month ends, or bucket_reopen. */
void bucket_deny(struct bucket *bucket);

/* Stop spending, to give back: what was spent in all. */
int64_t bucket_close(struct bucket *bucket);
/* Whether something is held that nobody spent from for a while, or whose time is over. */
bool bucket_is_idle(struct bucket *bucket, int64_t now_ms);
/* The world changed: ask again. Any thread. */
void bucket_reopen(struct bucket *bucket);
/* Others wait for what is held here. Any thread. */
void bucket_hurry(struct bucket *bucket, int64_t now_ms);

#endif
