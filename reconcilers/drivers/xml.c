#include "reconcilers/drivers/xml.h"

#include <expat.h>
#include <string.h>

enum { DEPTH_MAX = 16, PATH_MAX_BYTES = 1024, TEXT_MAX_BYTES = 64 * 1024 };

struct reading {
    XML_Parser parser;
    xml_end_fn on_end;
    void *context;
    struct err *err;
    bool failed; /* *err is filled */
    int depth;   /* of open elements; 1 = in the root */
    size_t path_lengths[DEPTH_MAX + 1];
    char path[PATH_MAX_BYTES];
    /* Of the innermost element. What stands before a child of it is dropped: in these formats an
     * element has children or text. */
    struct buf text;
};

static void fail(struct reading *reading, const char *what)
{
    if (!reading->failed) {
        (void)err_set(reading->err, ERR_RETRY, "StorageAnswer",
                      "the answer is no XML to be read: %s", what);
        reading->failed = true;
    }
    (void)XML_StopParser(reading->parser, XML_FALSE);
}

/* Names in answers of some servers bear a prefix. */
static const char *local_name(const char *name)
{
    const char *colon = strrchr(name, ':');
    return colon ? colon + 1 : name;
}

static void XMLCALL on_start(void *context, const char *name, const char **attributes)
{
    struct reading *reading = context;
    (void)attributes;
    size_t length = reading->path_lengths[reading->depth];

    if (reading->depth == DEPTH_MAX) {
        fail(reading, "elements stand too deep in each other");
        return;
    }
    if (reading->depth > 0) {
        name = local_name(name);
        int more = snprintf(reading->path + length, sizeof(reading->path) - length, "%s%s",
                            length > 0 ? "/" : "", name);
        if (more < 0 || length + (size_t)more >= sizeof(reading->path)) {
            fail(reading, "names are too long");
            return;
        }
        length += (size_t)more;
    }
    reading->depth++;
    reading->path_lengths[reading->depth] = length;
    buf_clear(&reading->text);
}

static void XMLCALL on_end(void *context, const char *name)
{
    struct reading *reading = context;
    (void)name;

    if (reading->failed) {
        return;
    }
    if (reading->on_end(reading->context, reading->path, buf_str(&reading->text), reading->err)) {
        reading->failed = true;
        (void)XML_StopParser(reading->parser, XML_FALSE);
        return;
    }
    reading->depth--;
    reading->path[reading->path_lengths[reading->depth]] = '\0';
    buf_clear(&reading->text);
}

static void XMLCALL on_text(void *context, const char *text, int length)
{
    struct reading *reading = context;
    if (!reading->failed && !buf_append(&reading->text, text, (size_t)length)) {
        fail(reading, "an element holds too much text");
    }
}

static void XMLCALL on_doctype(void *context, const char *name, const char *system_id,
                               const char *public_id, int has_internal_subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_internal_subset;
    fail(context, "it declares a document type");
}

int xml_read(struct str document, xml_end_fn on_end_element, void *context, struct err *err)
{
    struct reading reading = {
        .on_end = on_end_element, .context = context, .err = err, .text = BUF(TEXT_MAX_BYTES)};

    reading.parser = XML_ParserCreate(NULL);
    if (!reading.parser) {
        out_of_memory();
    }
    XML_SetUserData(reading.parser, &reading);
    XML_SetElementHandler(reading.parser, on_start, on_end);
    XML_SetCharacterDataHandler(reading.parser, on_text);
    XML_SetStartDoctypeDeclHandler(reading.parser, on_doctype);
    bool sized = document.len <= INT32_MAX;
    if (!sized || XML_Parse(reading.parser, document.ptr ? document.ptr : "", (int)document.len,
                            1) != XML_STATUS_OK) {
        enum XML_Error code = XML_GetErrorCode(reading.parser);
        if (code == XML_ERROR_NO_MEMORY) {
            out_of_memory();
        }
        fail(&reading, sized ? XML_ErrorString(code) : "it is too long");
    }
    XML_ParserFree(reading.parser);
    buf_release(&reading.text);
    return reading.failed ? -1 : 0;
}

bool xml_append(struct buf *out, struct str text)
{
    if (!str_is_utf8(text)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        bool noncharacter = byte == 0xef && text.len - i >= 3 &&
                            (unsigned char)text.ptr[i + 1] == 0xbf &&
                            (unsigned char)text.ptr[i + 2] >= 0xbe;
        if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || noncharacter) {
            return false;
        }
    }
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        if (strchr("<>&\"'\t\n\r", byte)) {
            (void)buf_printf(out, "&#%d;", byte);
        } else {
            (void)buf_append_char(out, byte);
        }
    }
    return true;
}
