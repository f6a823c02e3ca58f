/* What pg_restore --data-only prints: comments, statements, and for each table "COPY schema.table
 * (columns) FROM stdin;", a line a row, and "\.". A row never holds a line break (COPY escapes it),
 * so that lines are rows; only the first line of a block, and its last, are looked at. */
#include "controller/base/buf.h"
#include "reconcilers/drivers/pg_tools.h"

enum { LINE_KEPT_BYTES = 1024 }; /* two quoted names of 63 bytes, each of which may be a quote */

void copy_scan_init(struct copy_scan *scan)
{
    map_init(&scan->rows);
    buf_init(&scan->line, LINE_KEPT_BYTES);
    scan->counting = NULL;
    scan->of_psql = false;
    scan->hash = hash_stream_new();
}

void copy_scan_sha256(struct copy_scan *scan, char ret_text[SHA256_TEXT_BYTES])
{
    hash_stream_end(TAKE(scan->hash), ret_text);
}

void copy_scan_release(struct copy_scan *scan)
{
    char unused[SHA256_TEXT_BYTES];
    size_t cursor = 0;
    struct str name;
    void *rows = NULL;

    while (map_next(&scan->rows, &cursor, &name, &rows)) {
        free(rows);
    }
    map_release(&scan->rows);
    buf_release(&scan->line);
    if (scan->hash) {
        copy_scan_sha256(scan, unused);
    }
}

/* One name of text, quoted or not, appended plainly and ended by a NUL, which no name holds. */
static bool take_name(struct str *text, struct buf *key)
{
    size_t at = 0;

    if (text->len > 0 && text->ptr[0] == '"') {
        for (at = 1; at < text->len; at++) {
            bool quote = text->ptr[at] == '"';
            if (quote && (at + 1 == text->len || text->ptr[at + 1] != '"')) {
                break;
            }
            at += quote ? 1 : 0;
            (void)buf_append_char(key, text->ptr[at]);
        }
        at++;
    } else {
        while (at < text->len && text->ptr[at] != '.' && text->ptr[at] != ' ') {
            (void)buf_append_char(key, text->ptr[at++]);
        }
    }
    if (at == 0 || at > text->len) {
        return false;
    }
    *text = (struct str){text->ptr + at, text->len - at};
    return buf_append_char(key, '\0');
}

static void begin_block(struct copy_scan *scan)
{
    AUTO(buf) struct buf key = BUF(LINE_KEPT_BYTES);
    struct str rest = buf_str(&scan->line);

    rest = (struct str){rest.ptr + strlen("COPY "), rest.len - strlen("COPY ")};
    if (!take_name(&rest, &key) || rest.len == 0 || rest.ptr[0] != '.') {
        return;
    }
    rest = (struct str){rest.ptr + 1, rest.len - 1};
    if (!take_name(&rest, &key)) {
        return;
    }
    scan->counting = map_get(&scan->rows, buf_str(&key));
    if (!scan->counting) {
        scan->counting = xcalloc(1, sizeof(*scan->counting));
        (void)map_put(&scan->rows, buf_str(&key), scan->counting);
    }
}

static void end_line(struct copy_scan *scan)
{
    struct str line = buf_str(&scan->line);

    if (!scan->counting) {
        if (str_starts_with(line, STR("COPY "))) {
            begin_block(scan);
        }
    } else if (str_equal(line, STR("\\."))) {
        scan->counting = NULL;
    } else {
        (*scan->counting)++;
    }
    buf_clear(&scan->line);
}

void copy_scan_feed(struct copy_scan *scan, struct str piece)
{
    while (piece.len > 0) {
        const char *end = memchr(piece.ptr, '\n', piece.len);
        size_t length = end ? (size_t)(end - piece.ptr) : piece.len;
        size_t room = LINE_KEPT_BYTES - 1 - scan->line.len;
        if (scan->line.len == 0) {
            scan->of_psql = !scan->counting && *piece.ptr == '\\';
        }
        if (!scan->of_psql) {
            hash_stream_add(scan->hash, (struct str){piece.ptr, length + (end ? 1 : 0)});
        }
        (void)buf_append(&scan->line, piece.ptr, length < room ? length : room);
        if (end) {
            end_line(scan);
        }
        piece.ptr += length + (end ? 1 : 0);
        piece.len -= length + (end ? 1 : 0);
    }
}

int64_t copy_scan_rows(const struct copy_scan *scan, const char *schema, const char *table)
{
    AUTO(buf) struct buf key = BUF(LINE_KEPT_BYTES);

    (void)buf_append(&key, schema, strlen(schema) + 1);
    (void)buf_append(&key, table, strlen(table) + 1);
    const int64_t *rows = map_get(&scan->rows, buf_str(&key));
    return rows ? *rows : -1;
}
