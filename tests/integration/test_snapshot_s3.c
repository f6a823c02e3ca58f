/* A snapshot in a bucket of a real S3 server: written as it comes, read back, and restored from
 * what the server has. */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include <signal.h>

#include "controller/net/http_client.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/registry/steps.h"
#include "reconcilers/storage/snapshot_sink.h"

#define KEY "snapshots/the.dump"

static const struct call no_call = {0};

struct bucket {
    struct http_client *http;
    struct s3 *s3;
    char *name;
};
static struct bucket bucket;

static int open_bucket(void *context, struct reconcile *rc, const struct tenant_work *work,
                       int earlier, struct snapshot_sink *ret, struct err *err)
{
    (void)context;
    (void)earlier;
    (void)rc;
    (void)work;
    (void)err;
    snapshot_sink_init(ret, bucket.s3, bucket.s3, bucket.name, KEY);
    return 0;
}

static const struct snapshot_store in_bucket = {.open = open_bucket};

static void make_bucket(void)
{
    AUTO(secret) struct secret secret = {0};
    char unique[UUID_TEXT_BYTES];
    bool created = false;
    struct err err = {0};

    secret_set(&secret, str_from(getenv("S3_SECRET_KEY")));
    const struct s3_config config = {
        .endpoint = getenv("S3_ENDPOINT"),
        .region = getenv("S3_REGION"),
        .path_style = true,
        .access_key = getenv("S3_ACCESS_KEY"),
        .secret_key = &secret,
    };
    CHECK_OK(s3_http_client_new("s3", NULL, &bucket.http, &err), &err);
    CHECK_OK(s3_new(bucket.http, &config, &bucket.s3, &err), &err);
    random_uuid(unique);
    bucket.name = xasprintf("t-%s", unique);
    CHECK_OK(s3_bucket_create(bucket.s3, &no_call, bucket.name, NULL, 0, &created, &err), &err);
}

static int end_once(struct run *run, const struct fixture *fixture, const struct tenant *tenant)
{
    run_init(run, fixture, tenant);
    run->tenant.deleting = true;
    run->work.tier = NULL;
    run->work.deletion_policy = DELETION_SNAPSHOT;
    run->work.retain_reason = "";
    if (snapshot_finalize(&run->rc, &run->work, &run->err) ||
        database_finalize(&run->rc, &run->work, &run->err)) {
        return -1;
    }
    return record_finalize(&run->rc, &run->work, &run->err);
}

static void a_snapshot_stands_in_the_bucket_before_anything_goes(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    struct fixture *fixture = *state;
    const struct tenant tenant = fixture_tenant("stored", "uid-stored");
    struct s3_object_info info;
    struct err err = {0};

    fixture->services.snapshots = &in_bucket;
    fixture->services.postgres_tools = "";
    run_provision(&run, fixture, &tenant);
    AUTO(sql_conn) struct sql_conn *admin = postgres_connect("dbname=tenant_stored");
    /* Random, so that it stays larger than one part of an upload when it is compressed. */
    postgres_run(admin,
                 "CREATE TABLE app.big AS SELECT n, (SELECT string_agg(encode(sha256((n::text "
                 "|| m)::bytea), 'base64'), '') FROM generate_series(1, 25) m) AS text "
                 "FROM generate_series(1, 22000) n; "
                 "ALTER TABLE app.big OWNER TO \"tenant_stored.app\"");
    sql_close(TAKE(admin));
    CHECK_FAILS(end_once(&first, fixture, &tenant), &first.err, ERR_WAIT, "Progressing");
    CHECK_OK(s3_head(bucket.s3, &no_call, bucket.name, KEY, &info, &err), &err);
    CHECK(info.size_bytes > 16 << 20);
    CHECK_OK(end_once(&second, fixture, &tenant), &second.err);
    CHECK_INT(
        postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname = 'tenant_stored'"), 0);
    AUTO(sql_conn) struct sql_conn *registry = postgres_connect("dbname=registry_of_database_test");
    CHECK_INT(postgres_int(registry, "SELECT size_bytes FROM public.tenant_snapshots WHERE "
                                     "tenant_uid = 'uid-stored' AND object = '" KEY "' AND "
                                     "row_counts->>'app.big' = '22000'"),
              info.size_bytes);
}

static int set_up(void **state)
{
    (void)signal(SIGPIPE, SIG_IGN);
    http_global_init();
    make_bucket();
    return fixture_set_up(state);
}

static int tear_down(void **state)
{
    struct err err = {0};

    CHECK_OK(s3_bucket_empty(bucket.s3, &no_call, bucket.name, NULL, &err), &err);
    CHECK_OK(s3_bucket_delete(bucket.s3, &no_call, bucket.name, &err), &err);
    s3_free(bucket.s3);
    http_client_free(bucket.http);
    free(bucket.name);
    return fixture_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_stands_in_the_bucket_before_anything_goes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
