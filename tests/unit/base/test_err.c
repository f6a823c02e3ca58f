#include "controller/base/err.h"

#include "controller/base/str.h"
#include "tests/check.h"

#include <stdio.h>

static void set_fills_everything_and_returns_minus_one(void **state)
{
    struct err err;
    (void)state;

    memset(&err, 'x', sizeof(err)); /* nothing of an earlier error may shine through */
    CHECK_INT(err_set(&err, ERR_WAIT, "DatabaseBusy", "template \"%s\" in use", "t1"), -1);
    CHECK_INT(err.cls, ERR_WAIT);
    CHECK_TEXT(err.reason, "DatabaseBusy");
    CHECK_TEXT(err.code, "");
    CHECK_INT(err.retry_after_ms, 0);
    CHECK_TEXT(err.message, "template \"t1\" in use");
}

static void set_may_use_the_error_that_it_fills(void **state)
{
    struct err err;
    (void)state;

    err_set(&err, ERR_RETRY, "First", "cause");
    err_set(&err, ERR_TERMINAL, err.reason, "again: %s", err.message);
    CHECK_TEXT(err.reason, "First");
    CHECK_TEXT(err.message, "again: cause");
}

static void wrap_puts_contexts_in_front(void **state)
{
    struct err err;
    (void)state;

    err_set(&err, ERR_RETRY, "DatabaseUnreachable", "connection refused");
    err_code(&err, "08006");
    CHECK_INT(err_wrap(&err, "server \"%s\"", "eu-1"), -1);
    CHECK_INT(err_wrap(&err, "tenant \"%s\"", "acme"), -1);
    CHECK_TEXT(err.message, "tenant \"acme\": server \"eu-1\": connection refused");
    CHECK_TEXT(err.code, "08006");
    CHECK_INT(err.cls, ERR_RETRY);
}

static bool ends_with_ellipsis(const struct err *err)
{
    return str_ends_with(str_from(err->message), STR("…"));
}

/* Around the limit, with characters of every width lying across it at every offset. */
static void long_messages_are_cut_visibly_and_at_a_character(void **state)
{
    static const char *const characters[] = {"x", "é", "€", "𝄞"};
    (void)state;

    for (size_t c = 0; c < ARRAY_COUNT(characters); c++) {
        for (int lead = 0; lead < 4; lead++) {
            char text[3 * ERR_MESSAGE_BYTES] = "abcd";
            size_t length = (size_t)lead;
            while (length + 8 < sizeof(text)) {
                length +=
                    (size_t)snprintf(text + length, sizeof(text) - length, "%s", characters[c]);
            }
            struct err err;
            err_set(&err, ERR_RETRY, "Long", "%s", text);
            size_t got = strlen(err.message);
            CHECK(ends_with_ellipsis(&err));
            CHECK(str_is_utf8(str_from(err.message)));
            CHECK(got < ERR_MESSAGE_BYTES && got >= ERR_MESSAGE_BYTES - 1 - 3);
            CHECK(memcmp(err.message, text, got - 3) == 0);
        }
    }
}

static void a_message_that_just_fits_is_whole(void **state)
{
    char text[ERR_MESSAGE_BYTES + 1];
    struct err err;
    (void)state;

    memset(text, 'x', sizeof(text));
    text[ERR_MESSAGE_BYTES - 1] = '\0';
    err_set(&err, ERR_RETRY, "Fits", "%s", text);
    CHECK_TEXT(err.message, text);
    text[ERR_MESSAGE_BYTES - 1] = 'x';
    text[ERR_MESSAGE_BYTES] = '\0';
    err_set(&err, ERR_RETRY, "Not", "%s", text);
    CHECK(ends_with_ellipsis(&err));
}

static void wrapping_a_full_message_keeps_the_front(void **state)
{
    struct err err;
    (void)state;

    err_set(&err, ERR_RETRY, "Long", "%*s", ERR_MESSAGE_BYTES * 2, "é");
    for (int i = 0; i < 100; i++) {
        err_wrap(&err, "context %d ä", i);
        CHECK(str_starts_with(str_from(err.message), STR("context ")));
        CHECK(ends_with_ellipsis(&err));
        CHECK(str_is_utf8(str_from(err.message)));
    }
    err_wrap(&err, "%*s", ERR_MESSAGE_BYTES, "x");
    CHECK(ends_with_ellipsis(&err));
    CHECK_INT(err.message[0], ' ');
}

static void bytes_that_are_no_utf8_are_replaced(void **state)
{
    struct err err;
    (void)state;

    err_set(&err, ERR_RETRY, "Bytes", "%s", "a\xFF\xC3(\xE2\x82z\xC3\xA9\x80");
    CHECK_TEXT(err.message, "a?"
                            "?(?"
                            "?zé?");
}

static void words_are_cut_to_fit(void **state)
{
    char word[2 * ERR_REASON_BYTES];
    struct err err;
    (void)state;

    memset(word, 'R', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    err_set(&err, ERR_RETRY, word, "x");
    CHECK_INT(strlen(err.reason), ERR_REASON_BYTES - 1);
    err_code(&err, word);
    CHECK_INT(strlen(err.code), ERR_CODE_BYTES - 1);
    err_code(&err, NULL);
    CHECK_TEXT(err.code, "");
    err_set(&err, ERR_RETRY, NULL, "x");
    CHECK_TEXT(err.reason, "");
}

static void reclass_keeps_message_and_code(void **state)
{
    struct err err;
    (void)state;

    err_set(&err, ERR_RETRY, "Http", "no");
    err_code(&err, "404");
    CHECK_INT(err_reclass(&err, ERR_NOT_FOUND, "Gone"), -1);
    CHECK_INT(err.cls, ERR_NOT_FOUND);
    CHECK(err_has_reason(&err, "Gone") && !err_has_reason(&err, "Http"));
    CHECK(err_has_code(&err, "404") && !err_has_code(&err, "40"));
    CHECK_TEXT(err.message, "no");
}

static void every_class_has_a_name_of_its_own(void **state)
{
    (void)state;

    for (int a = ERR_OK; a <= ERR_CANCELED; a++) {
        CHECK(strcmp(err_class_name((enum err_class)a), "Unknown") != 0);
        for (int b = ERR_OK; b < a; b++) {
            CHECK(strcmp(err_class_name((enum err_class)a), err_class_name((enum err_class)b)) !=
                  0);
        }
    }
    CHECK_TEXT(err_class_name((enum err_class)99), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_everything_and_returns_minus_one),
        cmocka_unit_test(set_may_use_the_error_that_it_fills),
        cmocka_unit_test(wrap_puts_contexts_in_front),
        cmocka_unit_test(long_messages_are_cut_visibly_and_at_a_character),
        cmocka_unit_test(a_message_that_just_fits_is_whole),
        cmocka_unit_test(wrapping_a_full_message_keeps_the_front),
        cmocka_unit_test(bytes_that_are_no_utf8_are_replaced),
        cmocka_unit_test(words_are_cut_to_fit),
        cmocka_unit_test(reclass_keeps_message_and_code),
        cmocka_unit_test(every_class_has_a_name_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
