/* Hashes of passwords, and what they tell of sessions. */
#include "gateway/password.h"

#include "tests/check.h"

static const unsigned char alice[SHA256_BYTES] = "alice's session", bob[SHA256_BYTES] = "bob's";

static void a_hash_fits_its_password_alone(void **state)
{
    AUTO(secret) struct secret hash = {0};

    (void)state;
    CHECK(password_hash("a good password", alice, &hash));
    CHECK_INT(strncmp(secret_bytes(&hash), "$2b$12$", strlen("$2b$12$")), 0);
    CHECK(password_fits("a good password", secret_bytes(&hash)));
    CHECK(!password_fits("a good passwore", secret_bytes(&hash)));
    CHECK(!password_fits("a good password", NULL));
    CHECK(!password_fits("", "!"));
}

static void a_hash_tells_who_set_it(void **state)
{
    AUTO(secret) struct secret hash = {0};

    (void)state;
    CHECK(password_hash("a good password", alice, &hash));
    CHECK(password_was_set_by(secret_bytes(&hash), alice));
    CHECK(!password_was_set_by(secret_bytes(&hash), bob));
    CHECK(!password_was_set_by("!", alice));
    CHECK(!password_was_set_by("", alice));
}

static void each_hash_has_a_mark_of_its_own(void **state)
{
    char one[PASSWORD_MARK_BYTES], two[PASSWORD_MARK_BYTES];

    (void)state;
    password_mark("$2b$12$abc", one);
    password_mark("$2b$12$abd", two);
    CHECK_INT(strlen(one), PASSWORD_MARK_BYTES - 1);
    CHECK(strcmp(one, two) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_fits_its_password_alone),
        cmocka_unit_test(a_hash_tells_who_set_it),
        cmocka_unit_test(each_hash_has_a_mark_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
