/* Which keys a tenant's user is to have. */
#include "controller/base/str.h"
#include "reconcilers/storage/storage_internal.h"

static const struct iam_key *find(const struct iam_key *seen, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++) {
        if (!text_is_empty(id) && text_equal(seen[i].id, id)) {
            return &seen[i];
        }
    }
    return NULL;
}

void keys_plan(const struct keys_known *known, const struct iam_key *seen, size_t seen_count,
               bool active, const char *rotate_requested_at, int64_t now_s, struct keys_plan *ret)
{
    const struct iam_key *current = known->has_secret ? find(seen, seen_count, known->id) : NULL;
    const struct iam_key *previous =
        now_s < known->previous_until_s ? find(seen, seen_count, known->previous_id) : NULL;
    bool rotate = current && !text_is_empty(rotate_requested_at) &&
                  !text_equal(known->rotation, rotate_requested_at);

    *ret =
        (struct keys_plan){.create = !current || rotate,
                           .previous_id = previous ? previous->id : "",
                           .previous_until_s = previous ? known->previous_until_s : 0,
                           .rotation = current && !rotate ? known->rotation : rotate_requested_at};
    if (current && rotate) {
        /* The new one takes the place of the one before the current one. */
        previous = NULL;
        ret->previous_id = current->id;
        ret->previous_until_s = now_s + KEY_GRACE_S;
    }
    for (size_t i = 0; seen && i < seen_count; i++) {
        if (&seen[i] != current && &seen[i] != previous) {
            ret->remove[ret->remove_count++] = seen[i].id;
        } else if (seen[i].active != active) {
            ret->set[ret->set_count++] = seen[i].id;
        }
    }
}
