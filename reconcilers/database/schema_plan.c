/* How drift of the tenant schema is found without keeping a description of it anywhere.
 *
 * In the very transaction that makes the schema, the server lists its catalog entries in words that
 * are the same for every tenant, and puts the hash of the list into the owner role's comment, which
 * the owner cannot write. A later look has the hash made again: equal, nothing to do. When it
 * differs, a fresh schema is made beside the old one, in a transaction, by the same migrations; the
 * two lists tell what differs, and what differs is copied. So the migrations are the only
 * definition of the schema there is, and a server that words its catalog otherwise after an upgrade
 * only costs one comparison. */
#include <string.h>

#include "controller/base/str.h"
#include "reconcilers/database/schema_internal.h"

/* 0 when the comment is none of ours. */
static int64_t marked_version(const char *comment)
{
    struct str rest = str_from(comment);
    int64_t version = 0;

    if (!str_starts_with(rest, STR(SCHEMA_MARK_START))) {
        return 0;
    }
    rest.ptr += strlen(SCHEMA_MARK_START);
    rest.len -= strlen(SCHEMA_MARK_START);
    if (!str_to_int64(str_cut(&rest, ' '), &version) || version < 1) {
        return 0;
    }
    return version;
}

/* Mapping and functions of a schema that tenants share are of no version: they are as this program
 * has them, or another one made them. */
static bool keyed_by_us(const struct scope *scope, const struct schema_seen *seen)
{
    char version[HASH128_TEXT_BYTES];
    const char *word = strstr(seen->comment, SCHEMA_KEYED_WORD);

    schema_keyed_version(version);
    return !scope->mode->rows_are_keyed ||
           (word && text_equal(word + strlen(SCHEMA_KEYED_WORD), version));
}

static bool hash_is_noted(const struct schema_seen *seen)
{
    struct mark mark;

    if (!mark_parse(seen->owner_comment, &mark) ||
        !str_starts_with(mark.rest, STR(SCHEMA_HASH_WORD))) {
        return false;
    }
    mark.rest.ptr += strlen(SCHEMA_HASH_WORD);
    mark.rest.len -= strlen(SCHEMA_HASH_WORD);
    return str_equal_c(mark.rest, seen->hash);
}

/* Every database begins with a schema public; any other has its owner role from the first moment,
 * or at least our mark. */
static bool is_foreign(const struct scope *scope, const struct schema_seen *seen, int64_t version)
{
    return seen->exists && !text_equal(scope->schema, "public") && version == 0 &&
           !text_equal(seen->owner, scope->roles[ROLE_OWNER]);
}

int schema_decide(const struct scope *scope, const struct schema_seen *seen, int64_t newest,
                  struct schema_decision *ret, struct err *err)
{
    int64_t version = marked_version(seen->comment);

    if (version > newest) {
        return err_set(err, ERR_TERMINAL, "MigrationMismatch",
                       "schema \"%s\" of database \"%s\" has version %lld, and this program knows "
                       "only %lld: run the newer program again",
                       scope->schema, scope->database, (long long)version, (long long)newest);
    }
    if (is_foreign(scope, seen, version)) {
        return err_set(
            err, ERR_TERMINAL, "NameConflict",
            "schema \"%s\" of database \"%s\" on server \"%s\" exists, belongs to \"%s\" "
            "and was not made for this tenant: rename or drop it",
            scope->schema, scope->database, scope->server, seen->owner);
    }
    *ret = (struct schema_decision){
        .version = version,
        .take_schema = !seen->exists || !text_equal(seen->owner, scope->roles[ROLE_OWNER]),
        .make_app =
            scope->mode->has_app_schema && !text_equal(seen->app_owner, scope->roles[ROLE_APP]),
    };
    if (!seen->has_tables && version == 0) {
        ret->action = SCHEMA_CREATE;
        return 0;
    }
    if (version > 0 && version < newest) {
        ret->action = SCHEMA_MIGRATE;
        return 0;
    }
    ret->upgrade = version > 0 && !keyed_by_us(scope, seen);
    bool same = version == newest && hash_is_noted(seen) && !ret->upgrade;
    ret->action = same && !ret->take_schema && !ret->make_app ? SCHEMA_KEEP : SCHEMA_COMPARE;
    return 0;
}

/* ---- comparing ---- */

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* What somebody may add without harm to ours: an index for a slow query, say. */
static bool may_be_extra(const char *item)
{
    return starts_with(item, "column ") || starts_with(item, "constraint ") ||
           starts_with(item, "index ");
}

static size_t put(struct schema_difference ret[SCHEMA_DIFFERENCES_MAX], size_t count,
                  enum schema_difference_kind kind, const char *item)
{
    if (count == SCHEMA_DIFFERENCES_MAX) {
        return count;
    }
    ret[count].kind = kind;
    ret[count].item = item;
    return count + 1;
}

size_t schema_diff(const struct schema_listing *wanted, const struct schema_listing *actual,
                   struct schema_difference ret[SCHEMA_DIFFERENCES_MAX])
{
    size_t w = 0;
    size_t a = 0;
    size_t count = 0;

    while (w < wanted->count || a < actual->count) {
        int order = w == wanted->count   ? 1
                    : a == actual->count ? -1
                                         : strcmp(wanted->lines[w].item, actual->lines[a].item);
        if (order < 0) {
            count = put(ret, count, SCHEMA_MISSING, wanted->lines[w++].item);
        } else if (order > 0) {
            if (!may_be_extra(actual->lines[a].item)) {
                count = put(ret, count, SCHEMA_EXTRA, actual->lines[a].item);
            }
            a++;
        } else {
            if (strcmp(wanted->lines[w].definition, actual->lines[a].definition) != 0) {
                count = put(ret, count, SCHEMA_DIFFERENT, wanted->lines[w].item);
            }
            w++;
            a++;
        }
    }
    return count;
}

void schema_describe(const struct schema_difference *differences, size_t count, struct buf *out)
{
    enum { DESCRIBED_MAX = 12 };
    static const char *const words[] = {[SCHEMA_MISSING] = "is missing",
                                        [SCHEMA_DIFFERENT] = "differs",
                                        [SCHEMA_EXTRA] = "is too much"};

    for (size_t i = 0; i < count && i < DESCRIBED_MAX; i++) {
        (void)buf_printf(out, "%s%s %s", i > 0 ? "; " : "", differences[i].item,
                         words[differences[i].kind]);
    }
    if (count > DESCRIBED_MAX) {
        (void)buf_printf(out, "; and %zu more", count - DESCRIBED_MAX);
    }
}
