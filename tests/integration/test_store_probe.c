/* What a store can do, found out on a real server, and on the same with features taken away. */
#include <stdlib.h>

#include "reconcilers/storage/store_probe.h"
#include "tests/check.h"
#include "tests/support/child.h"

static const struct call no_call = {0};

/* A store at endpoint, as the reconciler has it while it works. */
struct fixture {
    struct arena arena;
    struct http_client *http;
    struct s3 *s3;
    struct object_store store;
    struct store_loan loan;
};

static void open_store(struct fixture *fixture, const char *endpoint)
{
    AUTO(secret) struct secret secret = {0};
    char unique[UUID_TEXT_BYTES];
    struct err err;
    *fixture = (struct fixture){0};
    arena_init(&fixture->arena, 0);
    random_uuid(unique);
    secret_set(&secret, str_from(getenv("S3_SECRET_KEY")));
    CHECK_OK(s3_http_client_new("s3", NULL, &fixture->http, &err), &err);
    const struct s3_config config = {
        .endpoint = endpoint,
        .region = getenv("S3_REGION"),
        .path_style = true,
        .access_key = getenv("S3_ACCESS_KEY"),
        .secret_key = &secret,
    };
    CHECK_OK(s3_new(fixture->http, &config, &fixture->s3, &err), &err);
    fixture->store = (struct object_store){
        .name = "default", .prefix = "t-", .uid = arena_strdup(&fixture->arena, unique)};
    fixture->loan = (struct store_loan){.s3 = fixture->s3, .store = &fixture->store};
}

static void close_store(struct fixture *fixture)
{
    struct err err;
    CHECK_FAILS(s3_bucket_head(fixture->s3, &no_call,
                               store_probe_bucket(&fixture->arena, &fixture->store), &err),
                &err, ERR_NOT_FOUND, "NotFound");
    s3_free(fixture->s3);
    http_client_free(fixture->http);
    arena_release(&fixture->arena);
}

static struct store_capabilities probe(struct fixture *fixture)
{
    struct store_capabilities found;
    struct err err;
    CHECK_OK(store_check(&fixture->loan, &no_call, &fixture->arena, &err), &err);
    CHECK_OK(store_probe(&fixture->loan, &no_call, &fixture->arena, &found, &err), &err);
    return found;
}

static void finds_what_the_server_can_do(void **state)
{
    (void)state;
    struct fixture fixture;
    open_store(&fixture, getenv("S3_ENDPOINT"));
    struct store_capabilities found = probe(&fixture);
    CHECK(found.versioning && found.tags && found.policy && found.object_lock);
    CHECK(!found.lifecycle && !found.encryption && !found.public_access_block && !found.quota);
    close_store(&fixture);
}

static void takes_a_refusal_for_a_feature_that_is_missing(void **state)
{
    (void)state;
    struct fixture fixture;
    struct child filter;
    child_start(&filter,
                (const char *[]){"python3", TEST_S3_FILTER, getenv("S3_ENDPOINT"), "versioning=501",
                                 "tagging=405", "policy=403", "object-lock=501", NULL});
    AUTO(free) char *port = child_line(&filter);
    AUTO(free) char *endpoint = xasprintf("http://127.0.0.1:%s", port);
    open_store(&fixture, endpoint);
    struct store_capabilities found = probe(&fixture);
    CHECK(!found.versioning && !found.tags && !found.policy && !found.object_lock);
    CHECK(!found.lifecycle && !found.encryption && !found.public_access_block);
    close_store(&fixture);
    child_stop(&filter);
}

/* What an earlier try left behind is taken over, and removed. */
static void goes_on_after_a_crash(void **state)
{
    (void)state;
    struct fixture fixture;
    bool created = false;
    struct err err;
    open_store(&fixture, getenv("S3_ENDPOINT"));
    CHECK_OK(s3_bucket_create(fixture.s3, &no_call,
                              store_probe_bucket(&fixture.arena, &fixture.store), NULL, 0, &created,
                              &err),
             &err);
    CHECK(probe(&fixture).versioning);
    close_store(&fixture);
}

static void tells_a_store_that_is_away_from_one_that_cannot(void **state)
{
    (void)state;
    struct fixture fixture;
    struct store_capabilities found;
    struct err err;
    open_store(&fixture, "http://127.0.0.1:9");
    CHECK_FAILS(store_check(&fixture.loan, &no_call, &fixture.arena, &err), &err, ERR_RETRY,
                "StorageUnreachable");
    CHECK_FAILS(store_probe(&fixture.loan, &no_call, &fixture.arena, &found, &err), &err, ERR_RETRY,
                "StorageUnreachable");
    s3_free(fixture.s3);
    http_client_free(fixture.http);
    arena_release(&fixture.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_the_server_can_do),
        cmocka_unit_test(takes_a_refusal_for_a_feature_that_is_missing),
        cmocka_unit_test(goes_on_after_a_crash),
        cmocka_unit_test(tells_a_store_that_is_away_from_one_that_cannot),
    };
    http_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
