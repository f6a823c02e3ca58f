#include "tests/integration/tenant_life.h"

#include <crypt.h>
#include <unistd.h>

#include "controller/base/metrics.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/children.h"
#include "reconcilers/registry/steps.h"
#include "reconcilers/sandbox/steps.h"
#include "tests/check.h"
#include "tests/integration/postgres.h"

/* No watch runs here that would tell what others do to objects: each run knows as little as the
 * first behind a restart, and looks. */
static void forget_objects(struct world *world)
{
    struct services *services = &world->fixture->services;

    children_free(services->children);
    services->children = children_new("tenantry-system");
}

int life_set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof(*world));
    void *part = NULL;

    cluster_set_up(&part);
    world->cluster = part;
    fixture_set_up(&part);
    world->fixture = part;
    as_controller_init(&world->identity);
    world->fixture->services.kube = world->identity.client;
    forget_objects(world);
    (void)snprintf(world->suffix, sizeof(world->suffix), "%d", (int)getpid());
    *state = world;
    return 0;
}

int life_tear_down(void **state)
{
    struct world *world = *state;
    void *part = world->fixture;

    children_free(world->fixture->services.children);
    fixture_tear_down(&part);
    as_controller_release(&world->identity);
    part = world->cluster;
    cluster_tear_down(&part);
    free(world);
    return 0;
}

void life_init(struct life *life, void *state, const char *name)
{
    *life = (struct life){.world = state};
    life->name = xasprintf("%s-%s", name, life->world->suffix);
    life->uid = xasprintf("uid-%s", life->name);
    life->tenant = fixture_tenant(life->name, life->uid);
    run_init(&life->run, life->world->fixture, &life->tenant);
}

void auto_release_life(struct life *life)
{
    run_release(&life->run);
    free(life->name);
    free(life->uid);
}

int life_run(struct life *life, bool complete, bool drift_check)
{
    struct reconcile *rc = &life->run.rc;
    struct tenant_work *work = &life->run.work;
    struct err *err = &life->run.err;

    forget_objects(life->world);
    run_release(&life->run);
    run_init(&life->run, life->world->fixture, &life->tenant);
    life->run.tenant.status.schema_version = complete ? 1 : 0;
    work->tier = life->tier ? life->tier : work->tier;
    rc->drift_check = drift_check;
    return record_ensure(rc, work, err) || database_ensure(rc, work, err) ||
                   owner_credential_ensure(rc, work, err) || namespace_ensure(rc, work, err) ||
                   schema_ensure(rc, work, err) || database_login_ensure(rc, work, err) ||
                   owner_ensure(rc, work, err) || members_ensure(rc, work, err)
               ? -1
               : 0;
}

void life_make(struct life *life)
{
    CHECK_OK(life_run(life, false, false), &life->run.err);
}

void life_drift_check(struct life *life)
{
    CHECK_OK(life_run(life, true, true), &life->run.err);
}

void life_end(struct life *life, enum deletion_policy policy)
{
    struct tenant_work *work = &life->run.work;
    struct reconcile *rc = &life->run.rc;
    struct err *err = &life->run.err;

    run_release(&life->run);
    run_init(&life->run, life->world->fixture, &life->tenant);
    life->run.tenant.deleting = true;
    work->deletion_policy = policy;
    work->retain_reason = "";
    CHECK_OK(database_login_finalize(rc, work, err), err);
    CHECK_OK(namespace_finalize(rc, work, err), err);
    CHECK_OK(owner_credential_finalize(rc, work, err), err);
    CHECK_OK(database_finalize(rc, work, err), err);
    CHECK_OK(record_finalize(rc, work, err), err);
}

const char *life_namespace(const struct life *life)
{
    return name_namespace((struct arena *)&life->run.arena, life->name);
}

bool life_find_secret(const struct life *life, const char *namespace_, const char *name,
                      struct kube_secret *ret)
{
    struct err err = {0};

    kube_secret_release(ret);
    if (kube_secret_fetch(life->world->cluster->client, NULL, namespace_, name,
                          NAME_LABEL_TENANT_UID, ret, &err)) {
        CHECK_INT(err.cls, ERR_NOT_FOUND);
        return false;
    }
    return true;
}

void life_connection(const struct life *life, struct kube_secret *ret)
{
    AUTO(free) char *name = xasprintf("%s-database", life->name);
    CHECK(life_find_secret(life, life_namespace(life), name, ret));
}

bool life_find_owner(const struct life *life, struct kube_secret *ret)
{
    AUTO(free) char *name = xasprintf("%s-owner", life->name);
    return life_find_secret(life, "tenantry-system", name, ret);
}

const char *life_entry(const struct kube_secret *secret, const char *name)
{
    const struct secret *value = kube_secret_get(secret, name);
    CHECK_NOT_NULL(value);
    return secret_bytes(value);
}

struct sql_conn *life_login(const struct life *life, const struct kube_secret *secret,
                            struct err *err)
{
    return fixture_connect_as(life->world->fixture, life_entry(secret, "dbname"),
                              life_entry(secret, "user"), life_entry(secret, "password"), err);
}

void life_check_login(const struct life *life)
{
    AUTO(kube_secret) struct kube_secret secret = {0};
    struct err err = {0};

    life_connection(life, &secret);
    AUTO(sql_conn) struct sql_conn *conn = life_login(life, &secret, &err);
    if (!conn) {
        fail_msg("the Secret does not open the database: %s", err.message);
    }
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM %s.users WHERE role = 'owner'",
                           life_entry(&secret, "schema")),
              1);
}

struct sql_conn *life_database(const struct life *life)
{
    AUTO(free) char *more = xasprintf("dbname=%s", life->run.work.place.database);
    return postgres_connect(more);
}

bool life_owner_fits(const struct life *life)
{
    AUTO(kube_secret) struct kube_secret secret = {0};
    AUTO(sql_conn) struct sql_conn *conn = life_database(life);
    AUTO(free)
    char *hash = postgres_text(conn, "SELECT password_hash FROM public.users WHERE role = 'owner'");
    AUTO(free) struct crypt_data *data = xcalloc(1, sizeof(*data));

    CHECK(life_find_owner(life, &secret));
    const char *again = crypt_rn(life_entry(&secret, "password"), hash, data, sizeof(*data));
    return again && text_equal(again, hash) && strncmp(hash, "$2b$12$", 7) == 0;
}

double life_write_requests(void)
{
    static const char *const verbs[] = {"POST", "PATCH", "PUT", "DELETE"};
    AUTO(buf) struct buf page = BUF(16 << 20);
    double count = 0;

    CHECK(metrics_render(&page));
    struct str rest = buf_str(&page);
    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        AUTO(free) char *text = xmemdup0(line.ptr, line.len);
        for (size_t i = 0; i < ARRAY_COUNT(verbs); i++) {
            AUTO(free) char *label = xasprintf("method=\"%s\"", verbs[i]);
            if (str_starts_with(line, STR("rest_client_requests_total{")) && strstr(text, label)) {
                count += strtod(strrchr(text, ' '), NULL);
            }
        }
    }
    return count;
}
