/* What is known of credentials, and for how long. */
#include "gateway/auth.h"

#include "controller/base/clock.h"
#include "tests/check.h"

#define ACME "11111111-1111-1111-1111-111111111111"
#define OTHER "22222222-2222-2222-2222-222222222222"

static void digest_of(const char *token, unsigned char ret[SHA256_BYTES])
{
    hash_sha256(str_from(token), ret);
}

static enum auth_answer ask(struct auth *auth, const char *tenant, const char *token,
                            int64_t later_ms)
{
    unsigned char digest[SHA256_BYTES];
    struct principal principal;

    digest_of(token, digest);
    return auth_find(auth, tenant, digest, clock_monotonic_ms() + later_ms, &principal);
}

static void store(struct auth *auth, const char *tenant, const char *token,
                  const struct principal *principal)
{
    unsigned char digest[SHA256_BYTES];

    digest_of(token, digest);
    auth_store(auth, tenant, digest, principal, INT64_MAX, auth_epoch(auth));
}

static const struct principal alice = {.user_id = "alice", .role = "owner"};

static void the_digest_is_the_one_that_is_stored(void **state)
{
    unsigned char digest[SHA256_BYTES];
    unsigned char expected[SHA256_BYTES];
    struct auth_hasher *hasher = auth_hasher_new();

    (void)state;
    for (int i = 0; i < 2; i++) { /* a hasher serves again and again */
        auth_digest(hasher, STR("tk_secret"), digest);
        digest_of("tk_secret", expected);
        CHECK_INT(memcmp(digest, expected, sizeof(digest)), 0);
    }
    auth_hasher_free(hasher);
}

static void a_token_is_good_at_its_tenant_alone_and_for_some_seconds(void **state)
{
    struct auth *auth = auth_new();

    (void)state;
    CHECK_INT(ask(auth, ACME, "key", 0), AUTH_UNDECIDED);
    store(auth, ACME, "key", &alice);
    CHECK_INT(ask(auth, ACME, "key", 0), AUTH_KNOWN);
    CHECK_INT(ask(auth, OTHER, "key", 0), AUTH_UNDECIDED);
    CHECK_INT(ask(auth, ACME, "kez", 0), AUTH_UNDECIDED);
    CHECK_INT(ask(auth, ACME, "key", AUTH_KNOWN_MS + 1), AUTH_UNDECIDED);
    auth_free(auth);
}

static void one_caller_is_told_to_renew(void **state)
{
    struct auth *auth = auth_new();
    int64_t late_ms = AUTH_KNOWN_MS - AUTH_AGING_MS / 2;

    (void)state;
    store(auth, ACME, "key", &alice);
    CHECK_INT(ask(auth, ACME, "key", late_ms), AUTH_AGING);
    CHECK_INT(ask(auth, ACME, "key", late_ms), AUTH_KNOWN);
    store(auth, ACME, "key", &alice);
    CHECK_INT(ask(auth, ACME, "key", late_ms), AUTH_AGING);
    auth_free(auth);
}

static void what_is_nobodys_is_remembered_apart(void **state)
{
    struct auth *auth = auth_new();
    char token[32];

    (void)state;
    store(auth, ACME, "key", &alice);
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(token, sizeof(token), "guess %d", i);
        store(auth, ACME, token, NULL);
    }
    CHECK_INT(ask(auth, ACME, token, 0), AUTH_REFUSED);
    CHECK_INT(ask(auth, ACME, "key", 0), AUTH_KNOWN);
    CHECK_INT(ask(auth, ACME, token, AUTH_UNKNOWN_MS + 1), AUTH_UNDECIDED);
    store(auth, ACME, "key", NULL); /* it was deleted meanwhile */
    CHECK_INT(ask(auth, ACME, "key", 0), AUTH_REFUSED);
    auth_free(auth);
}

static void what_is_revoked_is_forgotten(void **state)
{
    struct auth *auth = auth_new();
    unsigned char digest[SHA256_BYTES];

    (void)state;
    store(auth, ACME, "key", &alice);
    digest_of("key", digest);
    auth_forget_digest(auth, OTHER, digest);
    CHECK_INT(ask(auth, ACME, "key", 0), AUTH_KNOWN);
    auth_forget_digest(auth, ACME, digest);
    CHECK_INT(ask(auth, ACME, "key", 0), AUTH_UNDECIDED);
    store(auth, ACME, "key", &alice);
    auth_forget_user(auth, ACME, "bob");
    CHECK_INT(ask(auth, ACME, "key", 0), AUTH_KNOWN);
    auth_forget_user(auth, ACME, "alice");
    CHECK_INT(ask(auth, ACME, "key", 0), AUTH_UNDECIDED);
    store(auth, ACME, "key", &alice);
    auth_forget_all(auth);
    CHECK_INT(ask(auth, ACME, "key", 0), AUTH_UNDECIDED);
    auth_free(auth);
}

static void a_look_up_that_a_revocation_overtook_does_not_last(void **state)
{
    struct auth *auth = auth_new();
    unsigned char digest[SHA256_BYTES];
    uint64_t epoch = auth_epoch(auth);

    (void)state;
    digest_of("key", digest);
    auth_forget_digest(auth, ACME, digest);
    auth_store(auth, ACME, digest, &alice, INT64_MAX, epoch);
    CHECK_INT(ask(auth, ACME, "key", 1000), AUTH_UNDECIDED);
    auth_free(auth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_digest_is_the_one_that_is_stored),
        cmocka_unit_test(a_token_is_good_at_its_tenant_alone_and_for_some_seconds),
        cmocka_unit_test(one_caller_is_told_to_renew),
        cmocka_unit_test(what_is_nobodys_is_remembered_apart),
        cmocka_unit_test(what_is_revoked_is_forgotten),
        cmocka_unit_test(a_look_up_that_a_revocation_overtook_does_not_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
