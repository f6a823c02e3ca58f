#include "controller/runtime/condition.h"

#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/str.h"

static const char *const status_texts[] = {
    [CONDITION_UNKNOWN] = "Unknown",
    [CONDITION_FALSE] = "False",
    [CONDITION_TRUE] = "True",
};

const char *condition_status_text(enum condition_status status)
{
    return status_texts[status];
}

/* Condition sets are small enough for a walk to beat any index. */
static size_t find(const struct condition_set *set, const char *type)
{
    size_t i = 0;
    while (i < set->count && !text_equal(set->items[i].type, type)) {
        i++;
    }
    return i;
}

const struct condition *condition_get(const struct condition_set *set, const char *type)
{
    size_t i = find(set, type);
    return i < set->count ? &set->items[i] : NULL;
}

bool condition_is_true(const struct condition_set *set, const char *type)
{
    const struct condition *condition = condition_get(set, type);
    return condition && condition->status == CONDITION_TRUE;
}

void condition_put(struct condition_set *set, const char *type, enum condition_status status,
                   const char *reason, const char *message, int64_t observed_generation,
                   int64_t now_s)
{
    size_t i = find(set, type);
    bool known = i < set->count;
    if (!known) {
        /* Full only of types that somebody else wrote there: the last of those gives way. */
        i = set->count < CONDITIONS_MAX ? set->count++ : CONDITIONS_MAX - 1;
    }
    struct condition *condition = &set->items[i];
    int64_t transition_s = known && condition->status == status ? condition->transition_s : now_s;
    *condition = (struct condition){
        .type = type,
        .status = status,
        .reason = reason,
        .message = message,
        .observed_generation = observed_generation,
        .transition_s = transition_s,
    };
}

void condition_remove(struct condition_set *set, const char *type)
{
    size_t i = find(set, type);
    if (i < set->count) {
        set->count--;
        memmove(&set->items[i], &set->items[i + 1], (set->count - i) * sizeof(set->items[0]));
    }
}

/* The message as it is written, so that a long one that was cut on its way out is equal to itself
 * when it comes back. Otherwise each pass would find a difference, and write. */
static struct str shown_message(const struct condition *condition)
{
    struct str message = str_from(condition->message);
    message.len = str_utf8_prefix(message, CONDITION_MESSAGE_BYTES);
    return message;
}

bool condition_set_equal(const struct condition_set *a, const struct condition_set *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        const struct condition *x = &a->items[i];
        const struct condition *y = &b->items[i];
        if (!text_equal(x->type, y->type) || x->status != y->status ||
            !text_equal(x->reason, y->reason) || x->observed_generation != y->observed_generation ||
            !str_equal(shown_message(x), shown_message(y))) {
            return false;
        }
    }
    return true;
}

void condition_set_write(struct jsonw *writer, const struct condition_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct condition *condition = &set->items[i];
        char time[CLOCK_TEXT_BYTES];
        clock_format_s(condition->transition_s, time);

        jsonw_object(writer, NULL);
        jsonw_text(writer, "type", condition->type);
        jsonw_text(writer, "status", condition_status_text(condition->status));
        jsonw_text(writer, "reason", condition->reason);
        jsonw_str(writer, "message", shown_message(condition));
        jsonw_int(writer, "observedGeneration", condition->observed_generation);
        jsonw_text(writer, "lastTransitionTime", time);
        jsonw_end_object(writer);
    }
}

static enum condition_status parse_status(struct str raw)
{
    if (str_equal(raw, STR("True"))) {
        return CONDITION_TRUE;
    }
    return str_equal(raw, STR("False")) ? CONDITION_FALSE : CONDITION_UNKNOWN;
}

enum member { TRANSITION_TIME, MESSAGE, OBSERVED_GENERATION, REASON, STATUS, TYPE };
static const struct jsonr_name members[] = {
    [TRANSITION_TIME] = JSONR_NAME("lastTransitionTime"),
    [MESSAGE] = JSONR_NAME("message"),
    [OBSERVED_GENERATION] = JSONR_NAME("observedGeneration"),
    [REASON] = JSONR_NAME("reason"),
    [STATUS] = JSONR_NAME("status"),
    [TYPE] = JSONR_NAME("type"),
};

static void read_member(struct jsonr *reader, struct arena *arena, size_t member,
                        struct condition *ret)
{
    struct str raw = {NULL, 0};
    int64_t wall_us = 0;

    switch (member) {
    case TRANSITION_TIME:
        if (jsonr_raw_string(reader, &raw) && clock_parse(raw, &wall_us)) {
            ret->transition_s = wall_us / 1000000;
        }
        return;
    case MESSAGE:
        (void)jsonr_string(reader, arena, &ret->message);
        return;
    case OBSERVED_GENERATION:
        (void)jsonr_int64(reader, &ret->observed_generation);
        return;
    case REASON:
        (void)jsonr_string(reader, arena, &ret->reason);
        return;
    case STATUS:
        if (jsonr_raw_string(reader, &raw)) {
            ret->status = parse_status(raw);
        }
        return;
    case TYPE:
        (void)jsonr_string(reader, arena, &ret->type);
        return;
    default:
        (void)jsonr_skip(reader);
    }
}

bool condition_set_read(struct jsonr *reader, struct arena *arena, struct condition_set *ret)
{
    ret->count = 0;
    if (!jsonr_array_begin(reader)) {
        return false;
    }
    while (jsonr_element(reader)) {
        if (!jsonr_object_begin(reader)) {
            continue; /* no object: consumed */
        }
        struct condition condition = {.type = NULL, .reason = "", .message = ""};
        for (size_t i = 0; jsonr_member_among(reader, members, ARRAY_COUNT(members), &i); i++) {
            read_member(reader, arena, i, &condition);
        }
        if (condition.type && ret->count < CONDITIONS_MAX &&
            find(ret, condition.type) == ret->count) {
            ret->items[ret->count++] = condition;
        }
    }
    return !jsonr_failed(reader);
}
