#include "reconcilers/registry/quotas_plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int64_t quota_stored(int64_t limit)
{
    return limit < 0 ? INT64_MAX : limit;
}

const struct quota *quotas_find(const struct quota *quotas, size_t count, const char *resource)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(quotas[i].resource, resource) == 0) {
            return &quotas[i];
        }
    }
    return NULL;
}

static int by_resource(const void *a, const void *b)
{
    return strcmp(((const struct quota *)a)->resource, ((const struct quota *)b)->resource);
}

const struct quota *quotas_effective(struct arena *arena, const struct tier *tier,
                                     const struct tenant *tenant, size_t *ret_count)
{
    size_t tier_count = tier ? tier->quota_count : 0;
    struct quota *all = ARENA_ARRAY(arena, struct quota, tier_count + tenant->quota_count);
    size_t count = 0;

    for (size_t i = 0; i < tenant->quota_count; i++) {
        all[count++] = tenant->quotas[i];
    }
    for (size_t i = 0; i < tier_count; i++) {
        if (!quotas_find(tenant->quotas, tenant->quota_count, tier->quotas[i].resource)) {
            all[count++] = tier->quotas[i];
        }
    }
    qsort(all, count, sizeof(*all), by_resource);
    *ret_count = count;
    return all;
}

static const struct quota_row *find_row(const struct quota_row *rows, size_t count,
                                        const char *resource)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].resource, resource) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

void quotas_plan(struct arena *arena, const struct quota *wanted, size_t wanted_count,
                 const struct quota_row *rows, size_t row_count, struct quotas_plan *ret)
{
    *ret = (struct quotas_plan){
        .set = ARENA_ARRAY(arena, const struct quota *, wanted_count),
        .remove = ARENA_ARRAY(arena, const struct quota_row *, row_count),
    };
    for (size_t i = 0; i < wanted_count; i++) {
        const struct quota_row *row = find_row(rows, row_count, wanted[i].resource);
        if (!row || row->limit != quota_stored(wanted[i].limit)) {
            ret->set[ret->set_count++] = &wanted[i];
        }
    }
    for (size_t i = 0; i < row_count; i++) {
        if (!quotas_find(wanted, wanted_count, rows[i].resource)) {
            ret->remove[ret->remove_count++] = &rows[i];
        }
    }
}

static bool is_monthly(const char *resource)
{
    return strcmp(resource, "compute_hours") == 0 || strcmp(resource, "api_requests") == 0;
}

const char *quotas_excess(struct arena *arena, const struct quota *wanted, size_t wanted_count,
                          const struct quota_row *rows, size_t row_count)
{
    const char *text = NULL;

    for (size_t i = 0; i < wanted_count; i++) {
        const struct quota_row *row = find_row(rows, row_count, wanted[i].resource);
        int64_t limit = quota_stored(wanted[i].limit);
        if (row && row->used > limit && !is_monthly(row->resource)) {
            text = arena_printf(arena, "%s%s%s: %" PRId64 " used of %" PRId64, text ? text : "",
                                text ? "; " : "", row->resource, row->used, limit);
        }
    }
    return text;
}
