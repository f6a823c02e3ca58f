#include "reconcilers/drivers/xml.h"
#include "tests/check.h"

static int note(void *context, const char *path, struct str text, struct err *err)
{
    struct buf *out = context;
    (void)err;
    (void)buf_printf(out, "[%s=%.*s]", path, (int)text.len, text.len > 0 ? text.ptr : "");
    return 0;
}

static int refuse(void *context, const char *path, struct str text, struct err *err)
{
    (void)context;
    (void)text;
    return err_set(err, ERR_TERMINAL, "Invalid", "at \"%s\"", path);
}

static void check_reads(const char *document, const char *expected)
{
    AUTO(buf) struct buf out = BUF(1 << 20);
    struct err err;
    CHECK_OK(xml_read(str_from(document), note, &out, &err), &err);
    CHECK_TEXT(buf_text(&out), expected);
}

static void check_refuses(const char *document)
{
    AUTO(buf) struct buf out = BUF(1 << 20);
    struct err err;
    CHECK_FAILS(xml_read(str_from(document), note, &out, &err), &err, ERR_RETRY, "StorageAnswer");
}

static void tells_paths_and_text(void **state)
{
    (void)state;
    check_reads("<Error><Code>NoSuchKey</Code><Message>a &lt; b &#x26; c</Message></Error>",
                "[Code=NoSuchKey][Message=a < b & c][=]");
    check_reads("<?xml version=\"1.0\"?>\n<r xmlns:x='u'><x:a><x:b/> <b>2</b></x:a></r>",
                "[a/b=][a/b=2][a=][=]");
    check_reads("<r><a><![CDATA[<&>]]></a></r>", "[a=<&>][=]");
}

static void refuses_what_is_no_xml(void **state)
{
    (void)state;
    static const char *const documents[] = {"",         "text",       "<a>",         "<a></b>",
                                            "<a/><b/>", "<a>&x;</a>", "<a>\x01</a>", "<a>\xff</a>"};
    for (size_t i = 0; i < ARRAY_COUNT(documents); i++) {
        check_refuses(documents[i]);
    }
}

/* A document type could define entities that grow without bound, or read files. */
static void refuses_document_types(void **state)
{
    (void)state;
    check_refuses("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>");
    check_refuses("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>");
}

static void bounds_depth_names_and_text(void **state)
{
    (void)state;
    AUTO(buf) struct buf document = BUF(1 << 20);
    for (int i = 0; i < 17; i++) {
        (void)buf_append_text(&document, "<a>");
    }
    check_refuses(buf_text(&document));
    buf_clear(&document);
    (void)buf_append_text(&document, "<a><");
    for (int i = 0; i < 1100; i++) {
        (void)buf_append_char(&document, 'b');
    }
    (void)buf_append_text(&document, "/></a>");
    check_refuses(buf_text(&document));
    buf_clear(&document);
    (void)buf_append_text(&document, "<a>");
    for (int i = 0; i < 64 * 1024 + 1; i++) {
        (void)buf_append_char(&document, 'b');
    }
    (void)buf_append_text(&document, "</a>");
    check_refuses(buf_text(&document));
}

static void ends_when_the_reader_fails(void **state)
{
    (void)state;
    struct err err;
    CHECK_FAILS(xml_read(STR("<a><b/><c/></a>"), refuse, NULL, &err), &err, ERR_TERMINAL,
                "Invalid");
    CHECK_TEXT(err.message, "at \"b\"");
}

static void escapes_what_is_reserved(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(4096);
    CHECK(xml_append(&out, STR("a<b>&\"'\n\tü")));
    CHECK_TEXT(buf_text(&out), "a&#60;b&#62;&#38;&#34;&#39;&#10;&#9;ü");
    CHECK(!xml_append(&out, STR("\x01")));
    CHECK(!xml_append(&out, STR("\xff")));
    CHECK(!xml_append(&out, STR("\xef\xbf\xbf")));
    CHECK_TEXT(buf_text(&out), "a&#60;b&#62;&#38;&#34;&#39;&#10;&#9;ü");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_paths_and_text),       cmocka_unit_test(refuses_what_is_no_xml),
        cmocka_unit_test(refuses_document_types),     cmocka_unit_test(bounds_depth_names_and_text),
        cmocka_unit_test(ends_when_the_reader_fails), cmocka_unit_test(escapes_what_is_reserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
