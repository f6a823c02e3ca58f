#include <stdio.h>

#include "controller/base/js.h"
#include "controller/kube/api_internal.h"
#include "tests/check.h"

static void status_and_code_decide_class_and_reason(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum err_class cls;
        const char *reason;
        const char *body;
    } cases[] = {
        {401, ERR_RETRY, "Unauthorized", "{\"kind\":\"Status\",\"message\":\"Unauthorized\"}"},
        {403, ERR_RETRY, "Forbidden", "{\"kind\":\"Status\",\"reason\":\"Forbidden\"}"},
        {404, ERR_NOT_FOUND, "NotFound",
         "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"details\":{\"name\":\"a\"}}"},
        {404, ERR_NOT_FOUND, "NotServed",
         "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"details\":{}}"},
        {404, ERR_NOT_FOUND, "NotServed", "404 page not found\n"},
        {409, ERR_CONFLICT, "Conflict", "{\"kind\":\"Status\",\"reason\":\"Conflict\"}"},
        {409, ERR_CONFLICT, "AlreadyExists", "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\"}"},
        {410, ERR_RETRY, "Expired", "{\"kind\":\"Status\",\"reason\":\"Expired\"}"},
        {400, ERR_TERMINAL, "Invalid", "{\"kind\":\"Status\",\"reason\":\"BadRequest\"}"},
        {422, ERR_TERMINAL, "Invalid", "{\"kind\":\"Status\",\"reason\":\"Invalid\"}"},
        {405, ERR_TERMINAL, "Invalid", ""},
        {413, ERR_TERMINAL, "Invalid", ""},
        {415, ERR_TERMINAL, "Invalid", ""},
        {408, ERR_RETRY, "ServerError", ""},
        {429, ERR_RETRY, "TooManyRequests", ""},
        {500, ERR_RETRY, "ServerError", "{\"kind\":\"Status\",\"reason\":\"InternalError\"}"},
        {502, ERR_RETRY, "ServerError", "<html>bad gateway</html>"},
        {504, ERR_RETRY, "ServerError", "{\"kind\":\"Status\",\"reason\":\"Timeout\"}"},
        {504, ERR_RETRY, "ResourceVersionTooLarge",
         "{\"kind\":\"Status\",\"reason\":\"Timeout\",\"details\":{\"causes\":["
         "{\"reason\":\"ResourceVersionTooLarge\",\"message\":\"Too large\"}],"
         "\"retryAfterSeconds\":1}}"},
        {301, ERR_RETRY, "ServerError", ""},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = {0};
        char code[8];
        CHECK_FAILS(kube_status_error(str_from(cases[i].body), cases[i].status, &err), &err,
                    cases[i].cls, cases[i].reason);
        snprintf(code, sizeof(code), "%d", cases[i].status);
        CHECK_TEXT(err.code, code);
        CHECK(err.message[0] != '\0');
    }
}

static void message_and_delay_are_the_servers(void **state)
{
    (void)state;
    struct err err = {0};
    CHECK_FAILS(kube_status_error(
                    STR("{\"kind\":\"Status\",\"code\":429,\"message\":\"too many, \\\"a\\\"\","
                        "\"details\":{\"retryAfterSeconds\":7}}"),
                    429, &err),
                &err, ERR_RETRY, "TooManyRequests");
    CHECK_TEXT(err.message, "too many, \"a\"");
    CHECK_INT(err.retry_after_ms, 7000);
    CHECK_FAILS(kube_status_error(STR("{\"kind\":\"Status\",\"details\":{"
                                      "\"retryAfterSeconds\":99999999999999}}"),
                                  503, &err),
                &err, ERR_RETRY, "ServerError");
    CHECK_INT(err.retry_after_ms, 3600 * 1000);
}

static void in_stream_error_carries_its_own_code(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        const char *reason;
        const char *code;
    } cases[] = {
        {"{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}", "Expired", "410"},
        {"{\"kind\":\"Status\",\"code\":410,\"reason\":\"Gone\"}", "Expired", "410"},
        {"{\"kind\":\"Status\",\"code\":500}", "ServerError", "500"},
        {"{\"kind\":\"Status\"}", "ServerError", "500"},
        {"{\"kind\":\"Status\",\"code\":-4}", "ServerError", "500"},
        {"{\"kind\":\"Status\",\"code\":123456789012}", "ServerError", "500"},
        {"{\"kind\":\"Status\",\"code\":\"410\"}", "ServerError", "500"},
        {"{\"kind\":\"Pod\",\"code\":410}", "ServerError", "500"},
        {"[]", "ServerError", "500"},
        {"", "ServerError", "500"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err err = {0};
        CHECK_FAILS(kube_status_error(str_from(cases[i].status), 0, &err), &err, ERR_RETRY,
                    cases[i].reason);
        CHECK_TEXT(err.code, cases[i].code);
    }
}

static void failed_test_of_a_json_patch_is_a_conflict(void **state)
{
    (void)state;
    static const char generic[] =
        "{\"kind\":\"Status\",\"reason\":\"Invalid\",\"details\":{},\"code\":422}";
    static const char named[] = "{\"kind\":\"Status\",\"reason\":\"Invalid\",\"details\":{"
                                "\"name\":\"a\",\"kind\":\"ConfigMap\"},\"code\":422}";
    struct err err = {0};
    CHECK_FAILS(api_status_error(str_from(generic), 422, true, &err), &err, ERR_CONFLICT,
                "Conflict");
    CHECK_FAILS(api_status_error(str_from(named), 422, true, &err), &err, ERR_TERMINAL, "Invalid");
    CHECK_FAILS(api_status_error(str_from(generic), 422, false, &err), &err, ERR_TERMINAL,
                "Invalid");
}

int main(void)
{
    js_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_and_code_decide_class_and_reason),
        cmocka_unit_test(message_and_delay_are_the_servers),
        cmocka_unit_test(in_stream_error_carries_its_own_code),
        cmocka_unit_test(failed_test_of_a_json_patch_is_a_conflict),
    };
    return cmocka_run_group_tests_name("api_status", tests, NULL, NULL);
}
