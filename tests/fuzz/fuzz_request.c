/* Request heads: whatever the bytes, the views lie within them, every shorter piece of a request
 * that is ready asks for more, and what was read means the same when it is written down plainly and
 * read again, so that nobody behind us can read it otherwise. */
#include "gateway/request.h"

#include <string.h>

#include "controller/base/buf.h"
#include "tests/fuzz/fuzz.h"

static void demand_inside(struct str bytes, struct str view)
{
    FUZZ_CHECK(view.len == 0 ||
               (view.ptr >= bytes.ptr && view.ptr + view.len <= bytes.ptr + bytes.len));
}

static void demand_the_same_when_written_anew(const struct request *request)
{
    AUTO(buf) struct buf text = BUF(2UL * REQUEST_HEAD_MAX_BYTES);
    struct request again;

    (void)buf_append_text(&text, "GET ");
    (void)buf_append_str(&text, request->path);
    (void)buf_append_text(&text, "?");
    (void)buf_append_str(&text, request->query);
    (void)buf_append_text(&text, " HTTP/1.1\r\nHost: ");
    (void)buf_append_str(&text, request->host);
    (void)buf_append_text(&text, "\r\nAuthorization: ");
    (void)buf_append_str(&text, request->authorization);
    (void)buf_printf(&text, "\r\nContent-Length: %lld\r\n\r\n", (long long)request->content_length);
    if (text.len >= REQUEST_HEAD_MAX_BYTES) {
        return;
    }
    FUZZ_CHECK(request_parse(buf_str(&text), &again) == REQUEST_READY);
    FUZZ_CHECK(str_equal(again.path, request->path) && str_equal(again.query, request->query) &&
               str_equal(again.host, request->host) &&
               str_equal(again.authorization, request->authorization) &&
               again.content_length == request->content_length && again.head_bytes == text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = {(const char *)data, size};
    struct request request;
    struct request shorter;

    if (request_parse(bytes, &request) != REQUEST_READY) {
        return 0;
    }
    FUZZ_CHECK(request.head_bytes <= size && request.head_bytes >= 4);
    FUZZ_CHECK(memcmp(bytes.ptr + request.head_bytes - 4, "\r\n\r\n", 4) == 0);
    FUZZ_CHECK(request.content_length >= 0 && request.content_length <= REQUEST_BODY_MAX_BYTES);
    FUZZ_CHECK(request.path.len > 0 && request.path.ptr[0] == '/');
    demand_inside(bytes, request.path);
    demand_inside(bytes, request.query);
    demand_inside(bytes, request.host);
    demand_inside(bytes, request.authorization);
    demand_inside(bytes, request.forwarded_host);
    demand_inside(bytes, request_bearer(request.authorization));
    for (size_t length = 0; length < request.head_bytes; length += 1 + length / 16) {
        FUZZ_CHECK(request_parse((struct str){bytes.ptr, length}, &shorter) == REQUEST_MORE);
    }
    demand_the_same_when_written_anew(&request);
    return 0;
}
