/* The rules of ownership (docs/registry.md): a row belongs to the Tenant whose UID it bears; a
 * subdomain belongs to the live row that bears it, or, after a deletion that retained something, to
 * whoever adopts that or removes it. Nothing changes hands without being told to. */
#include "reconcilers/registry/record_plan.h"

#include <ctype.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "controller/base/buf.h"
#include "controller/base/jsonw.h"
#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/registry/billing_plan.h"
#include "reconcilers/registry/quotas_plan.h"

enum { DOCUMENT_MAX_BYTES = 1 << 20 };

const char *const record_columns[COLUMN_COUNT] = {
    [COLUMN_NAME] = "name",
    [COLUMN_SUBDOMAIN] = "subdomain",
    [COLUMN_TIER] = "tier",
    [COLUMN_STATUS] = "status",
    [COLUMN_MAX_SANDBOXES] = "max_sandboxes",
    [COLUMN_MAX_STORAGE_MB] = "max_storage_mb",
    [COLUMN_MAX_COMPUTE_HOURS] = "max_compute_hours",
    [COLUMN_MAX_USERS] = "max_users",
    [COLUMN_BILLING_PLAN] = "billing_plan",
    [COLUMN_BILLING_CYCLE] = "billing_cycle",
    [COLUMN_MRR] = "mrr",
    [COLUMN_TENANT_NAME] = "tenant_name",
    [COLUMN_TENANT_UID] = "tenant_uid",
    [COLUMN_SETTINGS] = "settings",
    [COLUMN_FEATURES] = "features",
    [COLUMN_GATEWAY] = "gateway",
    [COLUMN_PLAN] = "plan",
    [COLUMN_HELD] = "billing_held",
    [COLUMN_CANARY] = "canary",
    [COLUMN_DATABASE_NAME] = "database_name",
    [COLUMN_SERVER] = "server",
    [COLUMN_ISOLATION] = "isolation",
    [COLUMN_SCHEMA_NAME] = "schema_name",
};

/* ---- which row ---- */

static bool bears(const struct record_candidate *candidate, enum record_column column,
                  const char *text)
{
    return candidate->values.text[column] && text_equal(candidate->values.text[column], text);
}

static const struct record_candidate *find(const struct record_candidate *candidates, size_t count,
                                           bool deleted, enum record_column column,
                                           const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (candidates[i].deleted == deleted && bears(&candidates[i], column, text)) {
            return &candidates[i];
        }
    }
    return NULL;
}

static bool is_adopted(const struct tenant *tenant, const struct record_candidate *candidate)
{
    return strcasecmp(tenant->adopt, candidate->id) == 0;
}

/* A row made by another program has no Tenant that could come back for it. */
static bool has_tenant(const struct record_candidate *candidate)
{
    return !text_is_empty(candidate->values.text[COLUMN_TENANT_UID]);
}

/* The subdomain is another row's, which is in force. */
static int decide_taken(const struct tenant *tenant, bool adopt_orphans,
                        const struct record_candidate *row, struct record_decision *ret,
                        struct err *err)
{
    bool nobody = !has_tenant(row) || row->tenant_gone;

    if (nobody && (is_adopted(tenant, row) || (adopt_orphans && has_tenant(row)))) {
        *ret = (struct record_decision){RECORD_TAKE_BACK, row};
        return 0;
    }
    if (!nobody) {
        return err_set(err, ERR_TERMINAL, "NameConflict",
                       "subdomain \"%s\" belongs to Tenant \"%s\" (id %s): choose another "
                       "spec.subdomain, or delete that Tenant first",
                       tenant->subdomain, row->values.text[COLUMN_TENANT_NAME], row->id);
    }
    return err_set(err, ERR_TERMINAL, "NameConflict",
                   "subdomain \"%s\" belongs to registry id %s, %s: annotate this Tenant with "
                   "%s: %s to take over all that the id owns, or remove it: adopt it and delete "
                   "the Tenant with deletionPolicy Delete",
                   tenant->subdomain, row->id,
                   has_tenant(row) ? "whose Tenant is gone" : "which no Tenant made",
                   NAME_ANNOTATION_ADOPT, row->id);
}

/* An earlier tenant was deleted and left things that bear the name. */
static int refuse_retained(const struct tenant *tenant, const struct record_candidate *retained,
                           struct err *err)
{
    if (retained->purging) {
        return err_set(
            err, ERR_WAIT, "Purging",
            "what an earlier tenant left under the name \"%s\" (id %s) is being removed, "
            "since its days of grace are over: %s",
            tenant->subdomain, retained->id, retained->retained);
    }
    return err_set(err, ERR_TERMINAL, "NameConflict",
                   "an earlier tenant left things that bear the name \"%s\": %s. Annotate this "
                   "Tenant with %s: %s to take them back under that id, or remove them and their "
                   "rows in tenant_retained",
                   tenant->subdomain, retained->retained, NAME_ANNOTATION_ADOPT, retained->id);
}

/* The tenant asks for a row by its id. */
static int decide_adoption(const struct tenant *tenant, const struct record_candidate *row,
                           const struct record_candidate *retained, struct record_decision *ret,
                           struct err *err)
{
    if (!row) {
        return err_set(err, ERR_TERMINAL, "NameConflict",
                       "annotation %s names \"%s\", which is no id in the registry: correct the "
                       "annotation, or remove it to make a new tenant",
                       NAME_ANNOTATION_ADOPT, tenant->adopt);
    }
    if (!bears(row, COLUMN_SUBDOMAIN, tenant->subdomain)) {
        return err_set(err, ERR_TERMINAL, "NameConflict",
                       "annotation %s names id %s, which has subdomain \"%s\": correct the "
                       "annotation, or make the Tenant with that subdomain",
                       NAME_ANNOTATION_ADOPT, row->id, row->values.text[COLUMN_SUBDOMAIN]);
    }
    if (retained && (row->purging || text_is_empty(row->retained))) {
        return refuse_retained(tenant, retained, err); /* the name is somebody else's, or goes */
    }
    if (row->purging) {
        return err_set(
            err, ERR_TERMINAL, "NameConflict",
            "annotation %s names id %s, whose things were removed when its days of grace "
            "were over: remove the annotation to make a new tenant",
            NAME_ANNOTATION_ADOPT, row->id);
    }
    *ret = (struct record_decision){RECORD_TAKE_BACK, row};
    return 0;
}

static const struct record_candidate *find_id(const struct record_candidate *candidates,
                                              size_t count, const struct tenant *tenant)
{
    for (size_t i = 0; i < count; i++) {
        if (is_adopted(tenant, &candidates[i])) {
            return &candidates[i];
        }
    }
    return NULL;
}

static const struct record_candidate *find_retained(const struct record_candidate *candidates,
                                                    size_t count, const char *subdomain)
{
    for (size_t i = 0; i < count; i++) {
        if (!text_is_empty(candidates[i].retained) &&
            bears(&candidates[i], COLUMN_SUBDOMAIN, subdomain)) {
            return &candidates[i];
        }
    }
    return NULL;
}

int record_decide(const struct tenant *tenant, bool adopt_orphans,
                  const struct record_candidate *candidates, size_t count,
                  struct record_decision *ret, struct err *err)
{
    const struct record_candidate *own =
        find(candidates, count, false, COLUMN_TENANT_UID, tenant->uid);
    const struct record_candidate *taken =
        find(candidates, count, false, COLUMN_SUBDOMAIN, tenant->subdomain);
    const struct record_candidate *retained = find_retained(candidates, count, tenant->subdomain);

    if (own) {
        *ret = (struct record_decision){RECORD_KEEP, own};
        return 0;
    }
    if (taken) {
        return decide_taken(tenant, adopt_orphans, taken, ret, err);
    }
    own = find(candidates, count, true, COLUMN_TENANT_UID, tenant->uid);
    if (own && !own->purging) { /* somebody marked it deleted, though its Tenant stands */
        *ret = (struct record_decision){RECORD_KEEP, own};
        return 0;
    }
    if (!text_is_empty(tenant->adopt)) {
        return decide_adoption(tenant, find_id(candidates, count, tenant), retained, ret, err);
    }
    if (retained) {
        return refuse_retained(tenant, retained, err);
    }
    *ret = (struct record_decision){RECORD_CREATE, NULL};
    return 0;
}

/* ---- what it says ---- */

static const char *render_settings(struct arena *arena, const struct tenant *tenant)
{
    AUTO(buf) struct buf text = BUF(DOCUMENT_MAX_BYTES);
    struct jsonw writer;

    jsonw_init(&writer, &text);
    jsonw_object(&writer, NULL);
    for (size_t i = 0; i < tenant->setting_count; i++) {
        jsonw_text(&writer, tenant->settings[i].name, tenant->settings[i].value);
    }
    jsonw_end_object(&writer);
    return arena_strdup(arena, buf_text(&text));
}

static const char *render_features(struct arena *arena, const struct tier *tier)
{
    AUTO(buf) struct buf text = BUF(DOCUMENT_MAX_BYTES);
    struct jsonw writer;

    jsonw_init(&writer, &text);
    jsonw_array(&writer, NULL);
    for (size_t i = 0; i < tier->feature_count; i++) {
        jsonw_text(&writer, NULL, tier->features[i]);
    }
    jsonw_end_array(&writer);
    return arena_strdup(arena, buf_text(&text));
}

/* Only what differs from the defaults, so that a tier which says nothing writes nothing. */
static const char *render_gateway(struct arena *arena, const struct tier *tier)
{
    AUTO(buf) struct buf text = BUF(DOCUMENT_MAX_BYTES);
    struct jsonw writer;

    jsonw_init(&writer, &text);
    jsonw_object(&writer, NULL);
    if (tier->requests_per_second > 0) {
        jsonw_int(&writer, "requestsPerSecond", tier->requests_per_second);
        jsonw_int(&writer, "burst", tier->burst > 0 ? tier->burst : tier->requests_per_second);
    }
    if (tier->fail_mode != FAIL_CLOSED) {
        jsonw_text(&writer, "failMode", fail_mode_text(tier->fail_mode));
    }
    if (tier->idle_after_ms > 0) {
        jsonw_int(&writer, "idleSeconds", (tier->idle_after_ms + 999) / 1000);
    }
    if (tier->idle_wake != WAKE_HOLD) {
        jsonw_text(&writer, "wake", idle_wake_text(tier->idle_wake));
    }
    jsonw_end_object(&writer);
    return arena_strdup(arena, buf_text(&text));
}

void record_render(struct arena *arena, const struct tenant *tenant, const struct tier *tier,
                   struct record_documents *ret)
{
    *ret = (struct record_documents){
        .settings = render_settings(arena, tenant),
        .features = tier ? render_features(arena, tier) : NULL,
        .gateway = tier ? render_gateway(arena, tier) : NULL,
        .plan = tier ? billing_plan_render(arena, tier) : NULL,
    };
}

/* tenants.max_* are integers; a resource that nobody names is refused by the gateway, hence 0. */
static const char *column_limit(struct arena *arena, const struct quota *quotas, size_t count,
                                const char *resource)
{
    const struct quota *quota = quotas_find(quotas, count, resource);
    int64_t limit = quota ? quota_stored(quota->limit) : 0;

    return arena_printf(arena, "%d", limit < INT_MAX ? (int)limit : INT_MAX);
}

void record_wanted(struct arena *arena, const struct tenant *tenant, const struct tier *tier,
                   const struct record_documents *documents, struct record_values *ret)
{
    *ret = (struct record_values){0};
    ret->text[COLUMN_NAME] =
        text_is_empty(tenant->display_name) ? tenant->name : tenant->display_name;
    ret->text[COLUMN_SUBDOMAIN] = tenant->subdomain;
    ret->text[COLUMN_STATUS] = tenant->state == TENANT_SUSPENDED ? "suspended" : "active";
    ret->text[COLUMN_CANARY] = tenant->canary ? "true" : "false";
    ret->text[COLUMN_BILLING_CYCLE] = billing_cycle_text(tenant->billing_cycle);
    ret->text[COLUMN_TENANT_NAME] = tenant->name;
    ret->text[COLUMN_TENANT_UID] = tenant->uid;
    ret->text[COLUMN_SETTINGS] = documents->settings;
    ret->text[COLUMN_FEATURES] = documents->features;
    ret->text[COLUMN_GATEWAY] = documents->gateway;
    if (!tier) {
        return;
    }
    size_t count = 0;
    const struct quota *quotas = quotas_effective(arena, tier, tenant, &count);
    ret->text[COLUMN_TIER] = tier->name;
    ret->text[COLUMN_BILLING_PLAN] = tier->name;
    ret->text[COLUMN_PLAN] = documents->plan;
    ret->text[COLUMN_MAX_SANDBOXES] = column_limit(arena, quotas, count, "sandboxes");
    ret->text[COLUMN_MAX_STORAGE_MB] = column_limit(arena, quotas, count, "storage_mb");
    ret->text[COLUMN_MAX_COMPUTE_HOURS] = column_limit(arena, quotas, count, "compute_hours");
    ret->text[COLUMN_MAX_USERS] = column_limit(arena, quotas, count, "users");
}

size_t record_diff(const struct record_values *actual, const struct record_values *wanted,
                   enum record_column ret_columns[COLUMN_COUNT])
{
    size_t count = 0;

    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        bool place = i >= COLUMN_DATABASE_NAME;
        if (!wanted->text[i] || (place && actual->text[i])) {
            continue;
        }
        if (!actual->text[i] || strcmp(actual->text[i], wanted->text[i]) != 0) {
            ret_columns[count++] = (enum record_column)i;
        }
    }
    return count;
}

enum isolation record_isolation(const struct tenant *tenant, const struct tier *tier)
{
    if (tenant->isolation != ISOLATION_DEFAULT) {
        return tenant->isolation;
    }
    if (tier && tier->isolation != ISOLATION_DEFAULT) {
        return tier->isolation;
    }
    return ISOLATION_DATABASE;
}

bool record_is_uuid(const char *text)
{
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (strlen(text) != strlen(shape)) {
        return false;
    }
    for (size_t i = 0; shape[i]; i++) {
        if (shape[i] == '-' ? text[i] != '-' : !isxdigit((unsigned char)text[i])) {
            return false;
        }
    }
    return true;
}
