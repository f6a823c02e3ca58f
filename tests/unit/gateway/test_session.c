/* Session tokens: whose they are, how long they last, and that nothing about them can be changed.
 */
#include "gateway/session.h"

#include <stdio.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "tests/check.h"

#define ACME "11111111-1111-1111-1111-111111111111"
#define OTHER "22222222-2222-2222-2222-222222222222"
#define USER "33333333-3333-3333-3333-333333333333"
#define MARK "0123456789abcdef"
#define KEY_ONE "one-key-of-thirty-two-characters"
#define KEY_TWO "two-key-of-thirty-two-characters"

static char path[] = "/tmp/tenantry-session-XXXXXX";

static void write_keys(const char *text)
{
    FILE *file = fopen(path, "we");

    CHECK_NOT_NULL(file);
    CHECK(fputs(text, file) >= 0);
    CHECK_INT(fclose(file), 0);
}

static struct sessions *make(const char *keys)
{
    struct sessions *sessions = NULL;
    struct err err;

    write_keys(keys);
    CHECK_OK(sessions_new(path, 3600, &sessions, &err), &err);
    return sessions;
}

static void a_token_is_good_for_its_tenant_and_its_time(void **state)
{
    struct sessions *sessions = make(KEY_ONE "\n");
    AUTO(buf) struct buf token = BUF(SESSION_TOKEN_MAX_BYTES);
    struct session session;
    int64_t expires_s = 0;

    (void)state;
    sessions_issue(sessions, ACME, USER, MARK, &token, &expires_s);
    CHECK(session_is_token(buf_str(&token)));
    CHECK(sessions_check(sessions, buf_str(&token), ACME, &session));
    CHECK_TEXT(session.user_id, USER);
    CHECK_TEXT(session.mark, MARK);
    CHECK_INT(session.expires_s, expires_s);
    CHECK(!sessions_check(sessions, buf_str(&token), OTHER, &session));
    AUTO(buf) struct buf second = BUF(SESSION_TOKEN_MAX_BYTES);
    sessions_issue(sessions, ACME, USER, MARK, &second, &expires_s);
    CHECK(!str_equal(buf_str(&token), buf_str(&second)));
    clock_set_wall_offset_ms(3601000);
    CHECK(!sessions_check(sessions, buf_str(&token), ACME, &session));
    clock_set_wall_offset_ms(0);
    sessions_free(sessions);
}

static void no_byte_of_it_can_be_changed(void **state)
{
    struct sessions *sessions = make(KEY_ONE "\n");
    AUTO(buf) struct buf token = BUF(SESSION_TOKEN_MAX_BYTES);
    struct session session;
    int64_t expires_s = 0;

    (void)state;
    sessions_issue(sessions, ACME, USER, MARK, &token, &expires_s);
    /* The last characters of a signature hold bits that decode to nothing. */
    for (size_t i = 0; i + 3 < token.len; i++) {
        char was = token.ptr[i];
        token.ptr[i] = was == 'A' ? 'B' : 'A';
        CHECK(!sessions_check(sessions, buf_str(&token), ACME, &session));
        token.ptr[i] = was;
    }
    for (size_t length = 0; length < token.len; length++) {
        CHECK(!sessions_check(sessions, (struct str){token.ptr, length}, ACME, &session));
    }
    CHECK(sessions_check(sessions, buf_str(&token), ACME, &session));
    sessions_free(sessions);
}

static void keys_change_without_ending_sessions(void **state)
{
    struct sessions *sessions = make(KEY_ONE "\n");
    AUTO(buf) struct buf token = BUF(SESSION_TOKEN_MAX_BYTES);
    struct session session;
    struct err err;
    int64_t expires_s = 0;

    (void)state;
    sessions_issue(sessions, ACME, USER, MARK, &token, &expires_s);
    write_keys(KEY_TWO "\n" KEY_ONE "\n");
    CHECK_OK(sessions_reload(sessions, &err), &err);
    CHECK(sessions_check(sessions, buf_str(&token), ACME, &session));
    write_keys("short\n");
    CHECK_FAILS(sessions_reload(sessions, &err), &err, ERR_TERMINAL, "InvalidSessionKey");
    CHECK(sessions_check(sessions, buf_str(&token), ACME, &session));
    write_keys(KEY_TWO "\n");
    CHECK_OK(sessions_reload(sessions, &err), &err);
    CHECK(!sessions_check(sessions, buf_str(&token), ACME, &session));
    sessions_free(sessions);
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    return close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_good_for_its_tenant_and_its_time),
        cmocka_unit_test(no_byte_of_it_can_be_changed),
        cmocka_unit_test(keys_change_without_ending_sessions),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
