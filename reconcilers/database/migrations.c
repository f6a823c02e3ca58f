/* The step Migrations: the user's own SQL files, from the ConfigMap that the spec names, each once
 * and in order.
 *
 * What was applied is noted in the tenant's own database, in the transaction that did it, so that a
 * crash leaves a file wholly done or not at all.
 * The one-use role is dropped at the end, and by the next run if this one does not come to it. A
 * file runs with the owner's rights, which could switch row-level security off: so the tenant
 * schema is compared again at once. */
#include "controller/base/js.h"
#include "controller/base/str.h"
#include "controller/kube/api.h"
#include "reconcilers/database/migrations_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/servers_internal.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/database/upgrade.h"
#include "reconcilers/registry/fleet.h"

enum { CONFIG_MAX_BYTES = 4 << 20, FILES_MAX = 1000, PASSWORD_CHARACTERS = 32 };

struct run {
    struct reconcile *rc;
    struct tenant_work *work;
    struct scope scope;
    const char *role;
    struct migration_file *files;
    size_t count;
    size_t applied;
    const char *target; /* of the fleet: what all who name this ConfigMap come to */
};

/* ---- the ConfigMap ---- */

static int take_files(struct run *run, const json_t *data, struct err *err)
{
    const char *name = NULL;
    const json_t *value = NULL;

    run->files = ARENA_ARRAY(run->rc->arena, struct migration_file, json_object_size(data) + 1);
    json_object_foreach((json_t *)data, name, value)
    {
        if (!str_ends_with(str_from(name), STR(".sql")) || !json_is_string(value)) {
            continue;
        }
        if (run->count == FILES_MAX) {
            return err_set(err, ERR_TERMINAL, "MigrationFailed", "there are more than %d files",
                           FILES_MAX);
        }
        struct migration_file *file = &run->files[run->count++];
        file->name = arena_strdup(run->rc->arena, name);
        file->text = arena_strdup(run->rc->arena, json_string_value(value));
        hash_sha256_text(str_from(file->text), file->checksum);
    }
    return 0;
}

static int fetch_files(struct run *run, struct err *err)
{
    AUTO(buf) struct buf body = BUF(CONFIG_MAX_BYTES);
    AUTO(json) json_t *tree = NULL;
    const struct tenant_work *work = run->work;
    const struct kube_ref ref = {.resource = &KUBE_CONFIG_MAPS,
                                 .namespace_ = work->services->system_namespace,
                                 .name = work->tenant->migrations};

    if (kube_get(work->services->kube, &run->rc->call, &ref, &body, err)) {
        return err->cls == ERR_NOT_FOUND
                   ? err_set(err, ERR_RETRY, "MigrationsNotFound",
                             "spec.database.migrationsRef names ConfigMap \"%s/%s\", which does "
                             "not exist",
                             ref.namespace_, ref.name)
                   : -1;
    }
    return js_parse(buf_str(&body), CONFIG_MAX_BYTES, &tree, err) ||
                   take_files(run, js_at(tree, "/data"), err)
               ? -1
               : 0;
}

/* ---- running them ---- */

static int apply_all(struct run *run, const struct secret *password, struct err *err)
{
    AUTO(server_credentials) struct server_credentials credentials = {0};
    AUTO(sql_conn) struct sql_conn *conn = NULL;
    struct reconcile *rc = run->rc;
    struct sql_target target;

    if (servers_target(run->work->services->servers, rc, run->scope.server, run->scope.database,
                       &credentials, &target, err)) {
        return -1;
    }
    target.user = run->role;
    target.password = password;
    if (sql_connect(&rc->call, &target, &conn, err)) {
        return -1;
    }
    for (; run->applied < run->count; run->applied++) {
        const struct migration_file *file = &run->files[run->applied];
        if (migrations_apply(conn, &rc->call, &run->scope, run->role, file, err)) {
            return -1;
        }
        work_event(run->work, EVENT_NORMAL, "MigrationApplied", "Migrate",
                   "applied migration \"%s\" in database \"%s\"", file->name, run->scope.database);
    }
    return 0;
}

static int drop_role(const struct run *run, struct sql_conn *conn, struct err *err)
{
    bool exists = false;

    return migrations_role_exists(conn, &run->rc->call, &run->scope, run->role, &exists, err) ||
                   (exists &&
                    migrations_drop_role(conn, &run->rc->call, &run->scope, run->role, err))
               ? -1
               : 0;
}

/* The role goes whatever came of the files; their error is the one that is told. */
static int apply_as_role(struct run *run, struct sql_conn *conn, struct err *err)
{
    AUTO(secret) struct secret password = {0};
    struct err of_drop;

    secret_init(&password);
    secret_generate(&password, PASSWORD_CHARACTERS);
    if (migrations_make_role(conn, &run->rc->call, &run->scope, run->role, &password, err)) {
        return -1;
    }
    int result = apply_all(run, &password, err);
    if (drop_role(run, conn, &of_drop) && result == 0) {
        *err = of_drop;
        return -1;
    }
    return result;
}

/* Its last file says what a tenant has: those before it can neither change nor be put between. */
static const char *name_target(const struct run *run)
{
    const struct migration_file *last = run->count > 0 ? &run->files[run->count - 1] : NULL;

    return last ? arena_printf(run->rc->arena, "migrations %s %s %.12s",
                               run->work->tenant->migrations, last->name, last->checksum)
                : "";
}

struct turn {
    struct run *run;
    struct sql_conn *conn;
};

static int apply_turn(void *context, struct err *err)
{
    struct turn *turn = context;
    return apply_as_role(turn->run, turn->conn, err);
}

static int migrate_on(struct run *run, struct sql_conn *conn, size_t *ret_before, struct err *err)
{
    const struct call *call = &run->rc->call;
    const struct migration_done *done = NULL;
    size_t done_count = 0;

    if (drop_role(run, conn, err) ||
        migrations_list_done(conn, call, run->rc->arena, &run->scope, &done, &done_count, err) ||
        migrations_plan(run->files, run->count, done, done_count, &run->applied, err)) {
        return -1;
    }
    *ret_before = run->applied;
    run->target = name_target(run);
    struct turn turn = {.run = run, .conn = conn};
    return run->applied < run->count
               ? upgrade_run(run->rc, run->work, run->target, apply_turn, &turn, err)
               : 0;
}

static int migrate(struct run *run, size_t *ret_before, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (servers_borrow(run->work->services->servers, run->rc, run->scope.server,
                       run->scope.database, &loan, err)) {
        return -1;
    }
    if (migrate_on(run, loan.conn, ret_before, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

/* Once the status says so too, there is nothing to write any more. */
static int note_version(const struct run *run, struct err *err)
{
    const struct tenant_work *work = run->work;
    const struct tenant_status *status = &work->tenant->status;

    if (run->count == 0 || (status->migration_count == work->migration_count &&
                            text_equal(status->migration_last, work->migration_last))) {
        return 0;
    }
    return fleet_put_migrations(work->services->registry, run->rc, work->tenant_id, run->target,
                                work->migration_count, err);
}

int migrations_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct run run = {.rc = rc, .work = work};
    size_t before = 0;
    struct err of_schema;

    if (text_is_empty(work->tenant->migrations) || work->tenant->state == TENANT_SUSPENDED) {
        return 0;
    }
    scope_init(&run.scope, rc->arena, work);
    if (run.scope.mode->rows_are_keyed) {
        return err_set(err, ERR_TERMINAL, "MigrationRefused",
                       "isolation Row has no migrations of a tenant's own, since its tables are "
                       "everybody's: remove spec.database.migrationsRef");
    }
    run.role = migrations_role(rc->arena, &run.scope);
    if (fetch_files(&run, err)) {
        return -1;
    }
    int result = migrate(&run, &before, err);
    work->migration_count = (int64_t)run.applied;
    work->migration_last = run.applied > 0 ? run.files[run.applied - 1].name : "";
    if (run.applied > before && schema_ensure(rc, subject, result ? &of_schema : err)) {
        return -1;
    }
    return result ? -1 : note_version(&run, err);
}

/* What a crash in the middle of a migration left, before the owner goes. */
int migrations_finalize(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct run run = {.rc = rc, .work = work};
    AUTO(server_loan) struct server_loan loan = {0};
    bool found = false;
    bool exists = false;

    if (scope_find(&run.scope, rc, work, &found, err)) {
        return -1;
    }
    if (!found || run.scope.mode->rows_are_keyed) {
        return 0;
    }
    run.role = migrations_role(rc->arena, &run.scope);
    if (servers_borrow(work->services->servers, rc, run.scope.server, NULL, &loan, err)) {
        return work->tenant->force_finalize ? 0 : -1;
    }
    if (migrations_role_exists(loan.conn, &rc->call, &run.scope, run.role, &exists, err)) {
        loan.failure = *err;
        return -1;
    }
    servers_return(&loan);
    if (!exists) {
        return 0;
    }
    if (servers_borrow(work->services->servers, rc, run.scope.server, run.scope.database, &loan,
                       err)) {
        return -1;
    }
    if (drop_role(&run, loan.conn, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}
