/* What is kept of logins: the newest, of few, for nobody else, and not for ever. */
#include "tests/check.h"

#include "reconcilers/model/login_keep.h"

static void fill(struct login *login, const char *user, const char *password, const char *database)
{
    secret_set(&login->user, str_from(user));
    secret_set(&login->password, str_from(password));
    secret_set(&login->database, str_from(database));
}

static void put(struct login_keep *keep, const char *uid, const char *user, const char *password)
{
    AUTO(login) struct login login = {0};
    fill(&login, user, password, "db");
    login_keep_put(keep, uid, LOGIN_DATABASE, &login);
}

static void check_kept(struct login_keep *keep, const char *uid, const char *user,
                       const char *password)
{
    AUTO(login) struct login login = {0};
    CHECK(login_keep_get(keep, uid, LOGIN_DATABASE, &login));
    CHECK_TEXT(secret_bytes(&login.user), user);
    CHECK_TEXT(secret_bytes(&login.password), password);
    CHECK_TEXT(secret_bytes(&login.database), "db");
}

static void check_absent(struct login_keep *keep, const char *uid, enum login_kind kind)
{
    AUTO(login) struct login login = {0};
    fill(&login, "what", "was", "there");
    CHECK(!login_keep_get(keep, uid, kind, &login));
    CHECK(secret_is_empty(&login.user));
    CHECK(secret_is_empty(&login.password));
    CHECK(secret_is_empty(&login.database));
}

static void the_newest_is_kept_by_tenant_and_kind(void **state)
{
    (void)state;
    struct login_keep *keep = login_keep_new(4);
    check_absent(keep, "1", LOGIN_DATABASE);
    put(keep, "1", "a", "old");
    put(keep, "2", "b", "other");
    put(keep, "1", "a", "new");
    check_kept(keep, "1", "a", "new");
    check_kept(keep, "2", "b", "other");
    check_absent(keep, "1", LOGIN_STORAGE);
    login_keep_free(keep);
}

static void who_may_be_late_replaces_nothing(void **state)
{
    (void)state;
    AUTO(login) struct login late = {0};
    struct login_keep *keep = login_keep_new(4);
    fill(&late, "a", "late", "db");
    put(keep, "1", "a", "new");
    login_keep_add(keep, "1", LOGIN_DATABASE, &late);
    check_kept(keep, "1", "a", "new");
    login_keep_drop(keep, "1", LOGIN_DATABASE);
    login_keep_add(keep, "1", LOGIN_DATABASE, &late);
    check_kept(keep, "1", "a", "late");
    login_keep_free(keep);
}

static void what_was_refused_or_is_gone_is_not_kept(void **state)
{
    (void)state;
    AUTO(login) struct login key = {0};
    struct login_keep *keep = login_keep_new(4);
    fill(&key, "id", "secret", "");
    put(keep, "1", "a", "x");
    login_keep_put(keep, "1", LOGIN_STORAGE, &key);
    login_keep_drop(keep, "1", LOGIN_DATABASE);
    check_absent(keep, "1", LOGIN_DATABASE);
    CHECK(login_keep_get(keep, "1", LOGIN_STORAGE, &key));
    login_keep_forget(keep, "1");
    check_absent(keep, "1", LOGIN_STORAGE);
    login_keep_forget(keep, "1");
    login_keep_drop(keep, "1", LOGIN_STORAGE);
    login_keep_free(keep);
}

static void it_is_bounded(void **state)
{
    (void)state;
    char large[LOGIN_KEEP_VALUE_MAX_BYTES + 2];
    struct login_keep *keep = login_keep_new(2);
    put(keep, "1", "a", "x");
    put(keep, "2", "b", "x");
    put(keep, "3", "c", "x");
    check_absent(keep, "3", LOGIN_DATABASE);
    put(keep, "2", "b", "y");
    check_kept(keep, "2", "b", "y");
    login_keep_forget(keep, "1");
    put(keep, "3", "c", "x");
    check_kept(keep, "3", "c", "x");

    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = '\0';
    put(keep, "3", "c", large);
    check_absent(keep, "3", LOGIN_DATABASE); /* not the old one either */
    large[sizeof(large) - 2] = '\0';
    put(keep, "3", "c", large);
    check_kept(keep, "3", "c", large);
    put(keep, "3", "", "x");
    check_absent(keep, "3", LOGIN_DATABASE);
    login_keep_free(keep);
}

static void none_keeps_nothing(void **state)
{
    (void)state;
    put(NULL, "1", "a", "x");
    login_keep_drop(NULL, "1", LOGIN_DATABASE);
    login_keep_forget(NULL, "1");
    check_absent(NULL, "1", LOGIN_DATABASE);
    login_keep_free(NULL);
}

static void logins_are_equal_in_all_or_not(void **state)
{
    (void)state;
    AUTO(login) struct login one = {0};
    AUTO(login) struct login other = {0};
    CHECK(login_equal(&one, &other));
    fill(&one, "a", "b", "c");
    CHECK(!login_equal(&one, &other));
    login_copy(&other, &one);
    CHECK(login_equal(&one, &other));
    fill(&other, "x", "b", "c");
    CHECK(!login_equal(&one, &other));
    fill(&other, "a", "x", "c");
    CHECK(!login_equal(&one, &other));
    fill(&other, "a", "b", "x");
    CHECK(!login_equal(&one, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_is_kept_by_tenant_and_kind),
        cmocka_unit_test(who_may_be_late_replaces_nothing),
        cmocka_unit_test(what_was_refused_or_is_gone_is_not_kept),
        cmocka_unit_test(it_is_bounded),
        cmocka_unit_test(none_keeps_nothing),
        cmocka_unit_test(logins_are_equal_in_all_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
