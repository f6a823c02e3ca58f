#include "controller/kube/watch_state.h"

#include "controller/base/attributes.h"

const char *watch_outcome_name(enum watch_outcome outcome)
{
    static const char *const names[WATCH_OUTCOME_COUNT] = {
        [WATCH_SYNCED] = "synced",   [WATCH_ENDED] = "ended",
        [WATCH_HASTY] = "hasty",     [WATCH_SILENT] = "silent",
        [WATCH_REFUSED] = "refused", [WATCH_EXPIRED] = "expired",
        [WATCH_MISSING] = "missing", [WATCH_VERSION_TOO_LARGE] = "version_too_large",
        [WATCH_FAILED] = "failed",
    };

    return names[outcome];
}

const char *watch_state_name(enum watch_state state)
{
    static const char *const names[] = {
        [WATCH_LISTING] = "listing",
        [WATCH_PAGING] = "paging",
        [WATCH_LISTING_WHOLE] = "listing_whole",
        [WATCH_WATCHING] = "watching",
        [WATCH_CHECKING] = "checking",
        [WATCH_BACKING_OFF] = "backing_off",
        [WATCH_WAITING_FOR_KIND] = "waiting_for_kind",
    };

    return names[state];
}

enum watch_outcome watch_outcome_of(const struct err *err, bool is_open)
{
    if (err_has_reason(err, "Expired")) {
        return WATCH_EXPIRED;
    }
    if (err_has_reason(err, "ResourceVersionTooLarge")) {
        return WATCH_VERSION_TOO_LARGE;
    }
    if (err_has_reason(err, "Invalid")) {
        return WATCH_REFUSED;
    }
    if (err->cls == ERR_NOT_FOUND) {
        return WATCH_MISSING;
    }
    /* A server that never answered at all is unreachable, not silent. */
    if (err_has_reason(err, "ConnectionSilent") && is_open) {
        return WATCH_SILENT;
    }
    return WATCH_FAILED;
}

/* Where a view is begun anew. */
static enum watch_state start_state(bool lists_only)
{
    return lists_only ? WATCH_PAGING : WATCH_LISTING;
}

static struct watch_step go(enum watch_state state)
{
    return (struct watch_step){.state = state};
}

static struct watch_step back_off(enum watch_state resume, bool is_trouble)
{
    return (struct watch_step){
        .state = WATCH_BACKING_OFF, .resume = resume, .is_trouble = is_trouble};
}

/* The view was complete, and changes were streaming: only what puts the version in doubt costs a
 * new list, everything else goes on where the stream broke. */
static struct watch_step after_watching(const struct watch_facts *facts)
{
    enum watch_state start = start_state(facts->lists_only);
    struct watch_step step = go(facts->is_mute ? WATCH_CHECKING : WATCH_WATCHING);

    switch (facts->outcome) {
    case WATCH_SYNCED:
    case WATCH_ENDED:
    case WATCH_SILENT:
        return step;
    case WATCH_EXPIRED:
    case WATCH_VERSION_TOO_LARGE:
        /* Not at once: a server whose history is too short would have us list in a circle. */
        return back_off(start, false);
    case WATCH_REFUSED:
        return back_off(start, true);
    case WATCH_HASTY:
    case WATCH_MISSING:
    case WATCH_FAILED:
    default:
        return back_off(WATCH_WATCHING, true);
    }
}

static struct watch_step after_checking(const struct watch_facts *facts)
{
    if (facts->outcome == WATCH_SYNCED) {
        return go(WATCH_WATCHING);
    }
    if (facts->outcome == WATCH_VERSION_TOO_LARGE || facts->outcome == WATCH_EXPIRED) {
        return back_off(start_state(facts->lists_only), false);
    }
    return back_off(WATCH_CHECKING, true);
}

static struct watch_step after_listing(const struct watch_facts *facts)
{
    struct watch_step step = back_off(start_state(facts->lists_only), true);

    if (facts->outcome == WATCH_REFUSED ||
        (facts->outcome == WATCH_SILENT && facts->has_partial_stream)) {
        /* It does not know watch-list; the second kind ignored the question and just watches. */
        step = go(WATCH_PAGING);
        step.lists_only = true;
    }
    return step;
}

static struct watch_step after_paging(const struct watch_facts *facts)
{
    if (facts->outcome == WATCH_SYNCED) {
        return go(WATCH_WATCHING);
    }
    if (facts->outcome == WATCH_EXPIRED && facts->state == WATCH_PAGING && facts->is_later_page) {
        return go(WATCH_LISTING_WHOLE);
    }
    return back_off(start_state(facts->lists_only), true);
}

struct watch_step watch_decide(const struct watch_facts *facts)
{
    struct watch_step step = back_off(start_state(facts->lists_only), true);

    if (facts->outcome == WATCH_MISSING) {
        /* Whatever comes back under this name later is another collection: it is listed anew. */
        step = go(WATCH_WAITING_FOR_KIND);
        step.is_trouble = true;
    } else if (facts->state == WATCH_WATCHING) {
        step = after_watching(facts);
    } else if (facts->state == WATCH_CHECKING) {
        step = after_checking(facts);
    } else if (facts->state == WATCH_LISTING) {
        step = after_listing(facts);
    } else if (facts->state == WATCH_PAGING || facts->state == WATCH_LISTING_WHOLE) {
        step = after_paging(facts);
    }
    step.lists_only |= facts->lists_only;
    return step;
}
