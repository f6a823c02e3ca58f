/* Any bytes as an answer of an S3 server: bounded, and what comes out can be written and read
 * again.
 */
#include <string.h>

#include "reconcilers/drivers/xml.h"
#include "tests/fuzz/fuzz.h"

enum { TEXT_MAX_BYTES = 64 * 1024, OUT_MAX_BYTES = 1024 * 1024, DEPTH_MAX = 15 };

struct echo {
    struct str wanted;
    bool found;
};

static int find(void *context, const char *path, struct str text, struct err *err)
{
    struct echo *echo = context;
    (void)err;
    echo->found |= text_is_empty(path) && str_equal(text, echo->wanted);
    return 0;
}

static int look(void *context, const char *path, struct str text, struct err *err)
{
    AUTO(buf) struct buf document = BUF(OUT_MAX_BYTES);
    struct echo echo = {.wanted = text};
    size_t *elements = context;
    int depth = 0;

    (*elements)++;
    FUZZ_CHECK(text.len <= TEXT_MAX_BYTES && str_is_utf8(text));
    for (const char *at = path; *at; at++) {
        depth += *at == '/' ? 1 : 0;
    }
    FUZZ_CHECK(depth < DEPTH_MAX);
    (void)buf_append_text(&document, "<r>");
    if (xml_append(&document, text)) {
        (void)buf_append_text(&document, "</r>");
        FUZZ_CHECK(xml_read(buf_str(&document), find, &echo, err) == 0 && echo.found);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    size_t elements = 0;

    if (xml_read((struct str){(const char *)data, size}, look, &elements, &err)) {
        FUZZ_CHECK(err.cls == ERR_RETRY && strcmp(err.reason, "StorageAnswer") == 0);
        FUZZ_CHECK(err.message[0] != '\0');
    } else {
        FUZZ_CHECK(elements > 0);
    }
    return 0;
}
