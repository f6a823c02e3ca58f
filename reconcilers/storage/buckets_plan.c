/* Which buckets a tenant is to have, and which of them are to be made. */
#include <string.h>

#include "controller/base/js.h"
#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/storage/storage_internal.h"

enum { LIST_MAX_BYTES = 64 * 1024 };

/* [{"name": …}, …] as the API has checked it. */
static const char *const *read_names(struct arena *arena, const char *json, size_t *ret_count)
{
    AUTO(json) json_t *list = NULL;
    struct err ignored;

    *ret_count = 0;
    if (text_is_empty(json) || js_parse(str_from(json), LIST_MAX_BYTES, &list, &ignored)) {
        return NULL;
    }
    size_t count = json_array_size(list);
    const char **names = ARENA_ARRAY(arena, const char *, count);
    for (size_t i = 0; i < count && *ret_count < BUCKETS_MAX; i++) {
        const char *name = js_text_or(json_array_get(list, i), "/name", "");
        if (*name) {
            names[(*ret_count)++] = arena_strdup(arena, name);
        }
    }
    return names;
}

void buckets_wanted(struct arena *arena, const struct tenant *tenant, const struct tier *tier,
                    const char *const **ret_names, size_t *ret_count, bool *ret_asked)
{
    *ret_asked = !text_is_empty(tenant->buckets);
    const char *json = *ret_asked ? tenant->buckets : tier ? tier->buckets : "";
    *ret_names = read_names(arena, json, ret_count);
    *ret_asked = *ret_asked && *ret_count > 0;
}

static struct bucket_row *find_row(const struct buckets_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (text_equal(plan->rows[i].name, name)) {
            return &plan->rows[i];
        }
    }
    return NULL;
}

static int add_row(struct arena *arena, const char *subdomain, const char *name,
                   const struct object_store *store, struct buckets_plan *plan, struct err *err)
{
    const char *bucket = name_bucket(arena, store->prefix, subdomain, name);

    if (strlen(bucket) > NAME_BUCKET_BYTES) {
        return err_set(err, ERR_TERMINAL, "InvalidName",
                       "the bucket \"%s\" would have a name of %zu characters, and %d are allowed: "
                       "give spec.buckets shorter names",
                       bucket, strlen(bucket), NAME_BUCKET_BYTES);
    }
    struct bucket_row row = {.name = name, .bucket = bucket, .store = store->name};
    plan->rows[plan->count++] = row;
    plan->fresh[plan->fresh_count++] = row;
    return 0;
}

int buckets_plan(struct arena *arena, const char *subdomain, const char *const *names,
                 size_t name_count, const struct bucket_row *rows, size_t row_count,
                 const struct object_store *store, struct buckets_plan *ret, struct err *err)
{
    *ret = (struct buckets_plan){
        .rows = ARENA_ARRAY(arena, struct bucket_row, row_count + name_count),
        .count = row_count,
        .fresh = ARENA_ARRAY(arena, struct bucket_row, name_count),
        .wanted = ARENA_ARRAY(arena, const struct bucket_row *, name_count),
    };
    if (row_count > 0) {
        memcpy(ret->rows, rows, row_count * sizeof(*rows));
    }
    for (size_t i = 0; i < name_count; i++) {
        if (!find_row(ret, names[i]) && add_row(arena, subdomain, names[i], store, ret, err)) {
            return -1;
        }
    }
    for (size_t i = 0; i < name_count; i++) {
        ret->wanted[ret->wanted_count++] = find_row(ret, names[i]);
    }
    return 0;
}

enum bucket_owner bucket_owner_of(const struct s3_tags *tags, const char *tenant_id)
{
    const char *id = s3_tags_get(tags, TAG_TENANT_ID);

    if (id) {
        return text_equal(id, tenant_id) ? BUCKET_OURS : BUCKET_FOREIGN;
    }
    return s3_tags_get(tags, TAG_TENANT_UID) ? BUCKET_FOREIGN : BUCKET_UNMARKED;
}
