/* The status of a Tenant: computed purely, compared with what is there, patched once if anything
 * differs. */
#include "controller/base/jsonw.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/names.h"
#include "reconcilers/tenant/tenant_internal.h"

/* What the writer of one condition needs, again and again. */
struct draft {
    struct arena *arena;
    struct condition_set *set;
    int64_t generation;
    int64_t now_s;
};

static void put(const struct draft *draft, const char *type, bool is_true, const char *reason,
                const char *message)
{
    condition_put(draft->set, type, is_true ? CONDITION_TRUE : CONDITION_FALSE, reason, message,
                  draft->generation, draft->now_s);
}

static void put_while(const struct draft *draft, const char *type, bool holds, const char *reason,
                      const char *message)
{
    if (holds) {
        put(draft, type, true, reason, message);
    } else {
        condition_remove(draft->set, type);
    }
}

/* What a condition says when all its steps are done. */
static const char *done_words(const struct tenant_work *work,
                              const struct step_condition *condition, const char **ret_reason)
{
    *ret_reason = "AsSpecified";
    if (text_equal(condition->type, CONDITION_STORAGE) && work->bucket_count == 0) {
        return MESSAGE_STORAGE_NONE;
    }
    if (text_equal(condition->type, CONDITION_SANDBOXES) && work->sandboxes_asleep) {
        *ret_reason = "Asleep";
        return MESSAGE_SANDBOXES_ASLEEP;
    }
    return condition->done_message;
}

/* A condition that no run has decided yet is Unknown, so that every type is there from the first
 * write. */
static void put_step_conditions(const struct draft *draft, const struct tenant_work *work,
                                const struct step_result *results)
{
    for (size_t i = 0; i < tenant_condition_count; i++) {
        const struct step_condition *condition = &tenant_conditions[i];
        if (results) {
            struct step_summary summary = {
                .type = condition->type,
                .generation = draft->generation,
                .now_s = draft->now_s,
            };
            summary.done_message = done_words(work, condition, &summary.done_reason);
            steps_condition(draft->arena, draft->set, tenant_steps, results, tenant_step_count,
                            &summary);
        } else if (!condition_get(draft->set, condition->type)) {
            condition_put(draft->set, condition->type, CONDITION_UNKNOWN, "Waiting", "",
                          draft->generation, draft->now_s);
        }
    }
}

static bool is_move_pending(const struct tenant *tenant, const struct tenant_place *place)
{
    if (text_is_empty(place->server)) {
        return false;
    }
    return (tenant->isolation != ISOLATION_DEFAULT && tenant->isolation != place->isolation) ||
           (!text_is_empty(tenant->server) && !text_equal(tenant->server, place->server));
}

/* Before the registry was asked, a suspension for an overdue bill stands as it was last seen. */
static bool is_hold_unknown(const struct draft *draft, const struct tenant_work *work)
{
    const struct condition *condition = condition_get(draft->set, CONDITION_SUSPENDED);

    return work->billing_hold == BILLING_HOLD_UNKNOWN && condition &&
           text_equal(condition->reason, "BillingOverdue");
}

static void put_suspended(const struct draft *draft, const char *reason, const char *message)
{
    put(draft, CONDITION_SUSPENDED, true, reason, message);
    put(draft, CONDITION_SERVING, false, reason, message);
}

static void put_lifecycle(const struct draft *draft, const struct tenant_work *work)
{
    bool suspended = work->tenant->state == TENANT_SUSPENDED;
    bool stands = condition_is_true(draft->set, CONDITION_REGISTERED) &&
                  condition_is_true(draft->set, CONDITION_DATABASE) &&
                  condition_is_true(draft->set, CONDITION_SCHEMA);
    if (is_hold_unknown(draft, work) || work->billing_hold == BILLING_HOLD_OVERDUE) {
        put_suspended(draft, "BillingOverdue", MESSAGE_HELD);
    } else if (suspended) {
        put_suspended(draft, "Suspended", MESSAGE_SUSPENDED);
    } else {
        put(draft, CONDITION_SUSPENDED, false, "NotSuspended", MESSAGE_NOT_SUSPENDED);
        put(draft, CONDITION_SERVING, stands, stands ? "AsSpecified" : "Waiting",
            stands ? MESSAGE_SERVING : "The database is not ready.");
    }
}

/* Ready and kstatus' two words, from what decided the run. */
static void put_summary(const struct draft *draft, const struct err *failure)
{
    if (failure->cls == ERR_OK) {
        put(draft, CONDITION_READY, true, "AsSpecified", MESSAGE_READY);
    } else {
        put(draft, CONDITION_READY, false, failure->reason, failure->message);
    }
    put_while(draft, CONDITION_RECONCILING, err_is_reconciling(failure), failure->reason,
              failure->message);
    put_while(draft, CONDITION_STALLED, err_is_stalled(failure), failure->reason, failure->message);
}

static const char *first(const char *fresh, const char *old)
{
    return text_is_empty(fresh) ? old : fresh;
}

static void take_facts(const struct tenant_work *work, struct tenant_status *status)
{
    struct tenant_place *place = &status->place;
    status->subdomain = first(status->subdomain, work->tenant->subdomain);
    status->tenant_id = first(work->tenant_id, status->tenant_id);
    place->server = first(work->place.server, place->server);
    place->database = first(work->place.database, place->database);
    place->schema = first(work->place.schema, place->schema);
    if (work->place.isolation != ISOLATION_DEFAULT) {
        place->isolation = work->place.isolation;
    }
    status->database_secret_name = first(work->database_secret_name, status->database_secret_name);
    status->database_secret_namespace =
        first(work->database_secret_namespace, status->database_secret_namespace);
    status->namespace_ = first(work->database_secret_namespace, status->namespace_);
    if (!text_is_empty(work->login.user)) {
        status->login = work->login;
    }
    if (work->sandboxes) {
        status->sandboxes = work->sandboxes;
        status->sandbox_count = work->sandbox_count;
    }
    if (work->buckets_known) {
        status->buckets = work->buckets;
        status->bucket_count = work->bucket_count;
    }
    if (work->migration_last) {
        status->migration_count = work->migration_count;
        status->migration_last = work->migration_last;
    }
    if (work->schema_version > 0) {
        status->schema_version = work->schema_version;
    }
}

/* current_usage moves with every request to the tenant. Status shows it coarsely: as of the last
 * time that something else had to be written, so that use alone never causes a write
 * (tenant_status_equal). */
static void take_quotas(struct arena *arena, const struct tenant_work *work,
                        struct tenant_status *status)
{
    if (work->quota_count == 0) {
        return;
    }
    struct quota_use *quotas = ARENA_ARRAY(arena, struct quota_use, work->quota_count);
    for (size_t i = 0; i < work->quota_count; i++) {
        quotas[i] = (struct quota_use){work->quotas[i].resource, work->quotas[i].limit,
                                       work->quotas_used[i]};
    }
    status->quotas = quotas;
    status->quota_count = work->quota_count;
}

/* What is due moves with use as well, and is shown as coarsely. */
static void take_billing(const struct tenant_work *work, struct tenant_status *status)
{
    if (!text_is_empty(work->billing.period_start)) {
        status->billing = work->billing;
    }
}

/* An error of the run comes first; then what the spec asks for and cannot have: to be elsewhere
 * without a move, or more than the limits allow. */
static void decide(const struct tenant_work *work, const struct tenant_status *status,
                   const struct err *failure, struct err *ret)
{
    *ret = *failure;
    if (failure->cls != ERR_OK) {
        return;
    }
    if (is_move_pending(work->tenant, &status->place)) {
        (void)err_set(ret, ERR_TERMINAL, "MovePending",
                      "the tenant is on server \"%s\" with isolation %s; a TenantMove brings it to "
                      "where the spec wants it",
                      status->place.server, isolation_text(status->place.isolation));
    } else if (work->members_excess) {
        (void)err_set(ret, ERR_TERMINAL, "LimitsExceeded", "%s", work->members_excess);
    }
}

/* What is used above its limit, and what the spec asks for above it; NULL when nothing is. */
static const char *excess_of(struct arena *arena, const struct tenant_work *work)
{
    const char *const parts[] = {work->members_excess, work->sandbox_excess, work->quota_exceeded};
    const char *all = NULL;

    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        if (parts[i]) {
            all = all ? arena_printf(arena, "%s; %s", all, parts[i]) : parts[i];
        }
    }
    return all;
}

void tenant_status_next(struct arena *arena, const struct tenant_work *work,
                        const struct step_result *results, const struct err *failure,
                        const char *inputs_hash, int64_t now_s, struct tenant_status *ret)
{
    const struct tenant *tenant = work->tenant;
    const struct draft draft = {arena, &ret->conditions, tenant->generation, now_s};
    struct err *decided = ARENA_NEW(arena, struct err); /* its text is what conditions borrow */

    *ret = tenant->status;
    take_facts(work, ret);
    take_quotas(arena, work, ret);
    take_billing(work, ret);
    decide(work, ret, failure, decided);
    put_summary(&draft, decided);
    put_step_conditions(&draft, work, results);
    put_lifecycle(&draft, work);
    const char *excess = excess_of(arena, work);
    put_while(&draft, CONDITION_QUOTA_EXCEEDED, excess != NULL, "LimitsExceeded",
              excess ? excess : "");
    put_while(&draft, CONDITION_MOVE_PENDING, is_move_pending(tenant, &ret->place), "MovePending",
              decided->message);
    ret->observed_generation = tenant->generation;
    ret->handled_reconcile_at = tenant->reconcile_requested_at;
    ret->inputs_hash = decided->cls == ERR_OK ? inputs_hash : "";
}

static bool same_quota_limits(const struct tenant_status *a, const struct tenant_status *b)
{
    if (a->quota_count != b->quota_count) {
        return false;
    }
    for (size_t i = 0; i < a->quota_count; i++) {
        if (!text_equal(a->quotas[i].resource, b->quotas[i].resource) ||
            a->quotas[i].limit != b->quotas[i].limit) {
            return false;
        }
    }
    return true;
}

static bool same_login(const struct login_status *a, const struct login_status *b)
{
    return text_equal(a->user, b->user) && text_equal(a->issued_at, b->issued_at) &&
           text_equal(a->rotates_at, b->rotates_at) &&
           text_equal(a->retiring_user, b->retiring_user) &&
           text_equal(a->retiring_until, b->retiring_until) &&
           text_equal(a->handled_rotate_at, b->handled_rotate_at);
}

static bool same_sandboxes(const struct tenant_status *a, const struct tenant_status *b)
{
    if (a->sandbox_count != b->sandbox_count) {
        return false;
    }
    for (size_t i = 0; i < a->sandbox_count; i++) {
        if (!text_equal(a->sandboxes[i].name, b->sandboxes[i].name) ||
            a->sandboxes[i].ready != b->sandboxes[i].ready ||
            !text_equal(a->sandboxes[i].url, b->sandboxes[i].url)) {
            return false;
        }
    }
    return true;
}

static bool same_billing(const struct billing_status *a, const struct billing_status *b)
{
    return text_equal(a->period_start, b->period_start) &&
           text_equal(a->period_end, b->period_end) && text_equal(a->currency, b->currency) &&
           text_equal(a->status, b->status) && text_equal(a->overdue, b->overdue);
}

static bool same_buckets(const struct tenant_status *a, const struct tenant_status *b)
{
    if (a->bucket_count != b->bucket_count) {
        return false;
    }
    for (size_t i = 0; i < a->bucket_count; i++) {
        if (!text_equal(a->buckets[i].name, b->buckets[i].name) ||
            !text_equal(a->buckets[i].store, b->buckets[i].store)) {
            return false;
        }
    }
    return true;
}

bool tenant_status_equal(const struct tenant_status *a, const struct tenant_status *b)
{
    return a->observed_generation == b->observed_generation &&
           text_equal(a->inputs_hash, b->inputs_hash) && text_equal(a->subdomain, b->subdomain) &&
           text_equal(a->tenant_id, b->tenant_id) && text_equal(a->namespace_, b->namespace_) &&
           text_equal(a->handled_reconcile_at, b->handled_reconcile_at) &&
           text_equal(a->place.server, b->place.server) &&
           a->place.isolation == b->place.isolation &&
           text_equal(a->place.database, b->place.database) &&
           text_equal(a->place.schema, b->place.schema) && a->schema_version == b->schema_version &&
           text_equal(a->database_secret_namespace, b->database_secret_namespace) &&
           text_equal(a->database_secret_name, b->database_secret_name) &&
           a->migration_count == b->migration_count &&
           text_equal(a->migration_last, b->migration_last) && same_login(&a->login, &b->login) &&
           same_sandboxes(a, b) && same_quota_limits(a, b) && same_buckets(a, b) &&
           same_billing(&a->billing, &b->billing) &&
           condition_set_equal(&a->conditions, &b->conditions);
}

/* ---- as JSON ---- */

static void write_text(struct jsonw *writer, const char *name, const char *value)
{
    if (!text_is_empty(value)) {
        jsonw_text(writer, name, value);
    }
}

static void write_login(struct jsonw *writer, const struct login_status *login)
{
    if (text_is_empty(login->user)) {
        return;
    }
    jsonw_object(writer, "login");
    write_text(writer, "user", login->user);
    write_text(writer, "issuedAt", login->issued_at);
    write_text(writer, "rotatesAt", login->rotates_at);
    write_text(writer, "retiringUser", login->retiring_user);
    write_text(writer, "retiringUntil", login->retiring_until);
    jsonw_end_object(writer);
}

static void write_database(struct jsonw *writer, const struct tenant_status *status)
{
    if (text_is_empty(status->place.database)) {
        return;
    }
    jsonw_object(writer, "database");
    write_text(writer, "server", status->place.server);
    write_text(writer, "isolation", isolation_text(status->place.isolation));
    write_text(writer, "name", status->place.database);
    write_text(writer, "schema", status->place.schema);
    if (status->schema_version > 0) {
        jsonw_int(writer, "schemaVersion", status->schema_version);
    }
    if (!text_is_empty(status->database_secret_name)) {
        jsonw_object(writer, "secretRef");
        write_text(writer, "namespace", status->database_secret_namespace);
        write_text(writer, "name", status->database_secret_name);
        jsonw_end_object(writer);
    }
    write_login(writer, &status->login);
    if (!text_is_empty(status->migration_last)) {
        jsonw_object(writer, "migrations");
        jsonw_int(writer, "applied", status->migration_count);
        jsonw_text(writer, "last", status->migration_last);
        jsonw_end_object(writer);
    }
    jsonw_end_object(writer);
}

static void write_sandboxes(struct jsonw *writer, const struct tenant_status *status)
{
    if (status->sandbox_count == 0) {
        return;
    }
    jsonw_array(writer, "sandboxes");
    for (size_t i = 0; i < status->sandbox_count; i++) {
        jsonw_object(writer, NULL);
        jsonw_text(writer, "name", status->sandboxes[i].name);
        jsonw_bool(writer, "ready", status->sandboxes[i].ready);
        write_text(writer, "url", status->sandboxes[i].url);
        jsonw_end_object(writer);
    }
    jsonw_end_array(writer);
}

static void write_quotas(struct jsonw *writer, const struct tenant_status *status)
{
    if (status->quota_count == 0) {
        return;
    }
    jsonw_array(writer, "quotas");
    for (size_t i = 0; i < status->quota_count; i++) {
        jsonw_object(writer, NULL);
        jsonw_text(writer, "resource", status->quotas[i].resource);
        jsonw_int(writer, "limit", status->quotas[i].limit);
        jsonw_int(writer, "used", status->quotas[i].used);
        jsonw_end_object(writer);
    }
    jsonw_end_array(writer);
}

static void write_billing(struct jsonw *writer, const struct billing_status *billing)
{
    if (text_is_empty(billing->period_start)) {
        return;
    }
    jsonw_object(writer, "billing");
    write_text(writer, "periodStart", billing->period_start);
    write_text(writer, "periodEnd", billing->period_end);
    write_text(writer, "amountDue", billing->amount_due);
    write_text(writer, "currency", billing->currency);
    write_text(writer, "status", billing->status);
    write_text(writer, "overdue", billing->overdue);
    jsonw_end_object(writer);
}

static void write_buckets(struct jsonw *writer, const struct tenant_status *status)
{
    if (status->bucket_count == 0) {
        return;
    }
    jsonw_array(writer, "buckets");
    for (size_t i = 0; i < status->bucket_count; i++) {
        jsonw_object(writer, NULL);
        jsonw_text(writer, "name", status->buckets[i].name);
        jsonw_text(writer, "store", status->buckets[i].store);
        jsonw_end_object(writer);
    }
    jsonw_end_array(writer);
}

/* The full intent of NAME_STATUS_MANAGER. The UID makes the server refuse it for another object of
 * the name. */
static void write_status(struct buf *out, const struct tenant *tenant,
                         const struct tenant_status *status)
{
    struct jsonw writer;
    jsonw_init(&writer, out);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "apiVersion", "tenantry.dev/v1alpha1");
    jsonw_text(&writer, "kind", "Tenant");
    jsonw_object(&writer, "metadata");
    jsonw_text(&writer, "name", tenant->name);
    jsonw_text(&writer, "uid", tenant->uid);
    jsonw_end_object(&writer);
    jsonw_object(&writer, "status");
    jsonw_int(&writer, "observedGeneration", status->observed_generation);
    write_text(&writer, "inputsHash", status->inputs_hash);
    write_text(&writer, "subdomain", status->subdomain);
    write_text(&writer, "tenantID", status->tenant_id);
    write_text(&writer, "namespace", status->namespace_);
    write_text(&writer, "lastHandledReconcileAt", status->handled_reconcile_at);
    write_text(&writer, "lastHandledRotateAt", status->login.handled_rotate_at);
    write_database(&writer, status);
    write_sandboxes(&writer, status);
    write_buckets(&writer, status);
    write_quotas(&writer, status);
    write_billing(&writer, &status->billing);
    jsonw_array(&writer, "conditions");
    condition_set_write(&writer, &status->conditions);
    jsonw_end_array(&writer);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
}

int tenant_status_write(struct reconcile *rc, const struct services *services,
                        const struct tenant *tenant, const struct tenant_status *next,
                        struct err *err)
{
    if (tenant_status_equal(next, &tenant->status)) {
        return 0;
    }
    AUTO(buf) struct buf json = BUF(256UL << 10);
    AUTO(buf) struct buf answer = BUF(4UL << 20);
    const struct kube_ref ref = {&KUBE_TENANTS, NULL, tenant->name, "status"};
    write_status(&json, tenant, next);
    if (buf_failed(&json)) {
        return err_set(err, ERR_TERMINAL, "ResponseTooLarge", "the status has grown too large");
    }
    if (kube_apply(services->kube, &rc->call, &ref, NAME_STATUS_MANAGER, buf_str(&json), &answer,
                   err)) {
        return err_wrap(err, "status");
    }
    cache_store_written(services->tenants, buf_str(&answer));
    return 0;
}
