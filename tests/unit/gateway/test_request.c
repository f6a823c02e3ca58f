/* What is a request, and what is refused: the forms by which one request is smuggled behind
 * another, above all. */
#include "gateway/request.h"

#include "tests/check.h"

static enum request_state parse(const char *text, struct request *ret)
{
    return request_parse(str_from(text), ret);
}

static void a_whole_request_is_taken_apart(void **state)
{
    static const char text[] = "POST /api/login?x=1&y HTTP/1.1\r\n"
                               "Host: acme.example.com:8080\r\n"
                               "X-Long: 0123456789 \t abcdefghijklmnopqrstuvwxyz \xc3\xa4\r\n"
                               "content-LENGTH:  3 \r\n"
                               "AUTHORIZATION: Bearer abc.def~+/=\r\n"
                               "X-Forwarded-Host: other.example.com\r\n"
                               "Expect: 100-Continue\r\n"
                               "\r\nabc";
    struct request request;

    (void)state;
    CHECK_INT(parse(text, &request), REQUEST_READY);
    CHECK_INT(request.method, METHOD_POST);
    CHECK(str_equal_c(request.path, "/api/login"));
    CHECK(str_equal_c(request.query, "x=1&y"));
    CHECK(str_equal_c(request.host, "acme.example.com:8080"));
    CHECK(str_equal_c(request.forwarded_host, "other.example.com"));
    CHECK(str_equal_c(request_bearer(request.authorization), "abc.def~+/="));
    CHECK_INT(request.content_length, 3);
    CHECK_INT(request.head_bytes, sizeof(text) - 1 - 3);
    CHECK(request.keep_alive);
    CHECK(request.expects_continue);
}

static void every_shorter_piece_asks_for_more(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX: y z\r\n\r\n";
    struct request request;

    (void)state;
    for (size_t length = 0; length < sizeof(text) - 1; length++) {
        CHECK_INT(request_parse((struct str){text, length}, &request), REQUEST_MORE);
    }
    CHECK_INT(parse(text, &request), REQUEST_READY);
}

static void what_has_two_readings_is_refused(void **state)
{
    static const struct {
        const char *text;
        int refusal;
    } rows[] = {
        /* Which length counts? */
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
         400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
         "Transfer-Encoding: identity\r\n\r\n",
         400},
        {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        /* Where does a line end? */
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\rX: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n\tX: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n", 400},
        {"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        /* What is a name? */
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length\x01: 1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400},
        /* Whose is it? */
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nAuthorization: y\r\n\r\n", 400},
        /* Characters that nobody may send. */
        {"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: 0123456789\x1f\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: 01234567\x0b\r\n\r\n", 400},
        {"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        /* Lines of another shape. */
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 505},
        {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413},
    };
    struct request request;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        enum request_state result = parse(rows[i].text, &request);
        if (rows[i].refusal == 0) { /* the text ends at its NUL: not complete */
            CHECK_INT(result, REQUEST_MORE);
        } else if (result != REQUEST_BAD || request.refusal != rows[i].refusal) {
            fail_msg("row %zu: state %d, refusal %d, not %d: %s", i, (int)result, request.refusal,
                     rows[i].refusal, rows[i].text);
        }
    }
}

static void a_nul_is_refused(void **state)
{
    static const char in_value[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
    static const char in_target[] = "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n";
    struct request request;

    (void)state;
    CHECK_INT(request_parse((struct str){in_value, sizeof(in_value) - 1}, &request), REQUEST_BAD);
    CHECK_INT(request_parse((struct str){in_target, sizeof(in_target) - 1}, &request), REQUEST_BAD);
}

/* At every place in a value, so that no step of eight bytes has a blind spot. */
static void control_characters_are_found_anywhere(void **state)
{
    struct request request;

    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        for (size_t place = 0; place < 40; place++) {
            char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX: 0123456789012345678901234567890123456789"
                          "\r\n\r\n";
            text[28 + place] = (char)byte;
            bool good = (byte >= ' ' && byte != 0x7f) || byte == '\t';
            enum request_state result =
                request_parse((struct str){text, sizeof(text) - 1}, &request);
            if (result != (good ? REQUEST_READY : REQUEST_BAD)) {
                fail_msg("byte %d at %zu: %d", byte, place, (int)result);
            }
        }
    }
}

static void there_is_an_end_to_what_is_read(void **state)
{
    static char text[REQUEST_HEAD_MAX_BYTES + 64];
    struct request request;
    size_t length = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nX: ");

    (void)state;
    memset(text + length, 'x', sizeof(text) - length);
    CHECK_INT(request_parse((struct str){text, REQUEST_HEAD_MAX_BYTES - 1}, &request),
              REQUEST_MORE);
    CHECK_INT(request_parse((struct str){text, REQUEST_HEAD_MAX_BYTES}, &request), REQUEST_BAD);
    CHECK_INT(request.refusal, 431);
    length = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < REQUEST_HEADERS_MAX; i++) {
        length += (size_t)snprintf(text + length, sizeof(text) - length, "a:b\r\n");
    }
    CHECK_INT(request_parse((struct str){text, length}, &request), REQUEST_BAD);
    CHECK_INT(request.refusal, 431);
}

static void connections_go_on_as_asked(void **state)
{
    static const struct {
        const char *text;
        bool keep_alive;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive, Close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
    };
    struct request request;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        CHECK_INT(parse(rows[i].text, &request), REQUEST_READY);
        CHECK_INT(request.keep_alive, rows[i].keep_alive);
    }
}

static void only_a_bearer_token_is_one(void **state)
{
    static const struct {
        const char *field;
        const char *token;
    } rows[] = {
        {"Bearer abc", "abc"}, {"bearer abc", "abc"},  {"Bearer   abc ", "abc"}, {"Basic abc", ""},
        {"Bearer", ""},        {"Bearer a b", ""},     {"Bearer a,b", ""},       {"", ""},
        {"abc", ""},           {"Bearer \"abc\"", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct str token = request_bearer(str_from(rows[i].field));
        if (!str_equal_c(token, rows[i].token)) {
            fail_msg("\"%s\" gave \"%.*s\"", rows[i].field, (int)token.len, token.ptr);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_request_is_taken_apart),
        cmocka_unit_test(every_shorter_piece_asks_for_more),
        cmocka_unit_test(what_has_two_readings_is_refused),
        cmocka_unit_test(a_nul_is_refused),
        cmocka_unit_test(control_characters_are_found_anywhere),
        cmocka_unit_test(there_is_an_end_to_what_is_read),
        cmocka_unit_test(connections_go_on_as_asked),
        cmocka_unit_test(only_a_bearer_token_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
