/* The store is a folder here; the dump is made and read by the real programs. */
#include "tests/integration/snapshot_fixture.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/database/snapshot.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/drivers/process.h"
#include "reconcilers/registry/steps.h"
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/support/folder.h"

enum { PIECE_BYTES = 8192 };

struct file_store snapshot_file;
char *snapshot_folder;

/* ---- a store that is a file ---- */

static int file_write(void *context, const struct call *call, struct str piece, struct err *err)
{
    struct file_store *store = context;

    (void)call;
    if (store->during_write) {
        AUTO(free) char *more = xasprintf("dbname=%s", store->database);
        AUTO(sql_conn) struct sql_conn *conn = postgres_connect(more);
        postgres_run(conn, "%s", store->during_write);
        store->during_write = NULL;
    }
    if (!store->file) {
        AUTO(free) char *part = xasprintf("%s.part", store->path);
        store->file = fopen(part, "w");
        CHECK_NOT_NULL(store->file);
    }
    if (fwrite(piece.ptr, 1, piece.len, store->file) != piece.len) {
        return err_set(err, ERR_RETRY, "StorageUnreachable", "no room");
    }
    return 0;
}

static int file_finish(void *context, const struct call *call, struct err *err)
{
    struct file_store *store = context;
    AUTO(free) char *part = xasprintf("%s.part", store->path);

    (void)call;
    (void)err;
    CHECK_INT(fclose(store->file), 0);
    store->file = NULL;
    CHECK_INT(rename(part, store->path), 0);
    store->finished++;
    return 0;
}

static int file_holds(void *context, const struct call *call, int64_t size_bytes, bool *ret,
                      struct err *err)
{
    const struct file_store *store = context;
    struct stat file;

    (void)call;
    (void)err;
    *ret = stat(store->path, &file) == 0 && file.st_size == size_bytes;
    return 0;
}

static int file_read(void *context, const struct call *call, pg_dump_fn take, void *take_context,
                     struct err *err)
{
    struct file_store *store = context;
    char bytes[PIECE_BYTES];
    size_t got = 0;
    int result = 0;

    (void)call;
    if (store->cut_short) {
        store->cut_short = false;
        return err_set(err, ERR_CANCELED, "Canceled", "the program ends");
    }
    FILE *file = fopen(store->path, "r");
    CHECK_NOT_NULL(file);
    do {
        got = fread(bytes, 1, sizeof(bytes), file);
        CHECK_INT(ferror(file), 0);
        if (got == 0) {
            break;
        }
        if (store->damages) {
            bytes[got - 1] ^= 1;
        }
        result = take(take_context, (struct str){bytes, got}, err);
    } while (result == 0 && got == sizeof(bytes));
    CHECK_INT(fclose(file), 0);
    return result;
}

static void file_close(void *context)
{
    struct file_store *store = context;
    if (store->file) {
        AUTO(free) char *part = xasprintf("%s.part", store->path);
        (void)fclose(store->file);
        store->file = NULL;
        (void)unlink(part);
    }
}

static int file_open(void *context, struct reconcile *rc, const struct tenant_work *work,
                     int earlier, struct snapshot_sink *ret, struct err *err)
{
    struct file_store *store = context;

    (void)rc;
    (void)work;
    if (store->away) {
        return err_set(err, ERR_TERMINAL, "SnapshotNoStore", "there is none");
    }
    store->earlier = earlier;
    store->opened++;
    *ret = (struct snapshot_sink){
        .context = store,
        .location = "folder",
        .object = "the-dump",
        .write = file_write,
        .holds = file_holds,
        .finish = file_finish,
        .read = file_read,
        .close = file_close,
    };
    return 0;
}

struct fixture *snapshot_use_store(void **state, const char *database)
{
    struct fixture *fixture = *state;

    free(snapshot_file.path);
    snapshot_file = (struct file_store){
        .store = {.context = &snapshot_file, .open = file_open},
        .path = xasprintf("%s/dump", snapshot_folder),
        .database = database,
    };
    (void)unlink(snapshot_file.path);
    fixture->services.snapshots = &snapshot_file.store;
    fixture->services.postgres_tools = "";
    return fixture;
}

/* ---- a tenant and its end ---- */

void snapshot_make(struct run *run, const struct fixture *fixture, const struct tenant *tenant)
{
    run_provision(run, fixture, tenant);
    run_make_login(run, fixture, SNAPSHOT_PASSWORD);
}

void snapshot_begin_end(struct run *run, const struct fixture *fixture, const struct tenant *tenant)
{
    run_init(run, fixture, tenant);
    run->tenant.deleting = true;
    run->work.tier = NULL;
    run->work.deletion_policy = DELETION_SNAPSHOT;
    run->work.retain_reason = "";
}

/* One run of the steps that concern us, as the table orders them. */
int snapshot_end_once(struct run *run)
{
    if (snapshot_finalize(&run->rc, &run->work, &run->err) ||
        database_finalize(&run->rc, &run->work, &run->err)) {
        return -1;
    }
    return record_finalize(&run->rc, &run->work, &run->err);
}

/* Until it is done or fails; a run that ends by having taken the snapshot goes on. */
int snapshot_end(struct run *run, const struct fixture *fixture, const struct tenant *tenant)
{
    snapshot_begin_end(run, fixture, tenant);
    int result = snapshot_end_once(run);
    if (result && err_has_reason(&run->err, "Progressing")) {
        run_release(run);
        snapshot_begin_end(run, fixture, tenant);
        result = snapshot_end_once(run);
    }
    return result;
}

/* Restore the dump into an empty database and look. Roles are those of the tenant, gone by now. */
struct sql_conn *snapshot_restore(void)
{
    AUTO(secret) struct secret uri = {0};
    AUTO(process) struct process *process = NULL;
    struct call call = {0};
    struct err err = {0};

    postgres_run(NULL, "DROP DATABASE IF EXISTS snapshot_restored WITH (FORCE)");
    postgres_run(NULL, "CREATE DATABASE snapshot_restored TEMPLATE template0");
    postgres_uri(&uri, "dbname=snapshot_restored");
    const char *const arguments[] = {"pg_restore",       "--no-owner", "--no-privileges",
                                     "--exit-on-error",  "--dbname",   secret_bytes(&uri),
                                     snapshot_file.path, NULL};
    const struct process_config config = {.arguments = arguments,
                                          .environment = (const char *const *)environ};
    CHECK_OK(process_start(&config, &process, &err), &err);
    CHECK_OK(process_wait(process, &call, &err), &err);
    return postgres_connect("dbname=snapshot_restored");
}

void snapshot_drop_restored(struct sql_conn *conn)
{
    sql_close(conn);
    postgres_run(NULL, "DROP DATABASE snapshot_restored WITH (FORCE)");
}

int snapshot_set_up(void **state)
{
    (void)signal(SIGPIPE, SIG_IGN);
    snapshot_folder = folder_make();
    return fixture_set_up(state);
}

int snapshot_tear_down(void **state)
{
    free(snapshot_file.path);
    folder_remove(snapshot_folder);
    return fixture_tear_down(state);
}
