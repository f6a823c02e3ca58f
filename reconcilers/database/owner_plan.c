/* Which row of users is the owner's, and what of it differs. The spec's address decides: whoever
 * has it is the owner. Nobody has it: the row that we made takes it, so a renamed owner stays one
 * and the same user. When the address is another user's, that user is the owner from now on, and
 * the row that we made is a member's, unless the spec lists it as an owner too. */
#include <stdio.h>
#include <string.h>

#include "controller/base/str.h"
#include "reconcilers/database/owner_internal.h"

void owner_user_id(const char *tenant_id, char ret_text[UUID_TEXT_BYTES])
{
    unsigned char d[SHA256_BYTES];
    char text[128];
    int length = snprintf(text, sizeof(text), "tenantry owner of %s", tenant_id);

    hash_sha256((struct str){text, (size_t)length}, d);
    d[6] = (unsigned char)((d[6] & 0x0f) | 0x80); /* version 8: made by a rule of our own */
    d[8] = (unsigned char)((d[8] & 0x3f) | 0x80); /* variant of RFC 9562 */
    (void)snprintf(ret_text, UUID_TEXT_BYTES,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", d[0],
                   d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13],
                   d[14], d[15]);
}

static bool is_listed_owner(const struct tenant *tenant, const char *email)
{
    for (size_t i = 0; i < tenant->member_count; i++) {
        if (tenant->members[i].role == MEMBER_OWNER &&
            text_equal(tenant->members[i].email, email)) {
            return true;
        }
    }
    return false;
}

void owner_plan(const struct tenant *tenant, const char *user_id, const struct owner_row *rows,
                size_t count, struct owner_plan *ret)
{
    const struct person *owner = &tenant->owner;
    const struct owner_row *by_id = NULL;
    const struct owner_row *by_email = NULL;

    for (size_t i = 0; i < count; i++) {
        by_id = text_equal(rows[i].id, user_id) ? &rows[i] : by_id;
        by_email = text_equal(rows[i].email, owner->email) ? &rows[i] : by_email;
    }
    *ret = (struct owner_plan){.row = by_email ? by_email : by_id};
    if (!ret->row) {
        ret->insert = true;
        return;
    }
    ret->set_email = !text_equal(ret->row->email, owner->email);
    ret->set_name = !text_is_empty(owner->name) && !text_equal(ret->row->full_name, owner->name);
    ret->set_role = !text_equal(ret->row->role, "owner");
    if (by_id && by_email && by_id != by_email && text_equal(by_id->role, "owner") &&
        !is_listed_owner(tenant, by_id->email)) {
        ret->demote = by_id;
    }
}
