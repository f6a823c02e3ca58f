/* One thing at a time, the cheapest first: finish what a crash left, then fill up, then drop what
 * is too many. What is not ours keeps its name, and another number is taken. */
#include <string.h>

#include "controller/base/str.h"
#include "reconcilers/database/spares.h"

static bool is_taken(const struct spare *seen, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (text_equal(seen[i].name, name)) {
            return true;
        }
    }
    return false;
}

static const char *free_name(struct arena *arena, const struct spare *seen, size_t count)
{
    for (int number = 1;; number++) {
        const char *name = arena_printf(arena, SPARE_PREFIX "%d", number);
        if (!is_taken(seen, count, name)) {
            return name;
        }
    }
}

static const char *last_unfinished(const struct spare *seen, size_t count, bool dropped)
{
    const char *name = NULL;
    for (size_t i = 0; i < count; i++) {
        if (seen[i].ours && seen[i].dropped == dropped && (dropped || !seen[i].marked)) {
            name = seen[i].name;
        }
    }
    return name;
}

static const char *last_ready(const struct spare *seen, size_t count)
{
    const char *name = NULL;
    for (size_t i = 0; i < count; i++) {
        name = spare_is_ready(&seen[i]) ? seen[i].name : name;
    }
    return name;
}

static void choose(struct arena *arena, const struct spare *seen, size_t count, int64_t wanted,
                   struct spares_plan *ret)
{
    const char *broken = last_unfinished(seen, count, true);
    const char *unmarked = last_unfinished(seen, count, false);

    if (broken) {
        ret->action = SPARES_DROP;
        ret->name = broken;
    } else if (unmarked) {
        ret->action = SPARES_MARK;
        ret->name = unmarked;
        ret->after++;
    } else if (ret->before < wanted) {
        ret->action = SPARES_CREATE;
        ret->name = free_name(arena, seen, count);
        ret->after++;
    } else if (ret->before > wanted) {
        ret->action = SPARES_DROP;
        ret->name = last_ready(seen, count);
        ret->after--;
    }
}

void spares_plan(struct arena *arena, const struct spare *seen, size_t count, int64_t wanted,
                 struct spares_plan *ret)
{
    size_t unfinished = 0;

    *ret = (struct spares_plan){.action = SPARES_KEEP};
    for (size_t i = 0; i < count; i++) {
        ret->before += spare_is_ready(&seen[i]) ? 1 : 0;
        unfinished += seen[i].ours && !spare_is_ready(&seen[i]) ? 1 : 0;
    }
    ret->after = ret->before;
    choose(arena, seen, count, wanted, ret);
    ret->more = unfinished > 1 || ret->after != wanted;
}

int64_t spares_wanted(const struct database_server *server, int64_t tenants)
{
    int64_t room = server->capacity_tenants - tenants;

    if (server->deleting || server->draining || !server->schedulable) {
        return 0;
    }
    if (server->capacity_tenants > 0 && server->spare_count > room) {
        return room > 0 ? room : 0;
    }
    return server->spare_count;
}
