/* Query text that cannot be injected: the only ways in are literals of our source, embedded files,
 * identifiers and constants quoted here, and numbers. Quoting is done here and not by libpq, so
 * that a query can be built without a connection; it is safe for any server setting because
 * everything that enters must be valid UTF-8, the client encoding is fixed to UTF8, and constants
 * with a backslash are written in the E'' form, whose meaning no setting changes. */
#include "reconcilers/drivers/sql.h"

#include <inttypes.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/drivers/embedded.h"
#include "reconcilers/drivers/sql_internal.h"

enum { STATEMENT_MAX_BYTES = 1 << 20 };

void sql_init(struct sql *query)
{
    *query = (struct sql){0};
    buf_init(&query->text, STATEMENT_MAX_BYTES);
    arena_init(&query->arena, 0);
}

/* Verifiers and digests pass through query texts; they shall not stay behind in freed memory. */
static void wipe(struct sql *query)
{
    if (query->text.ptr) {
        explicit_bzero(query->text.ptr, query->text.capacity);
    }
}

void sql_clear(struct sql *query)
{
    wipe(query);
    buf_clear(&query->text);
    arena_clear(&query->arena);
    query->parameter_count = 0;
    query->failed = false;
}

void sql_release(struct sql *query)
{
    wipe(query);
    buf_release(&query->text);
    arena_release(&query->arena);
    query->parameter_count = 0;
}

static void append(struct sql *query, const char *bytes, size_t length)
{
    if (!buf_append(&query->text, bytes, length)) {
        query->failed = true;
    }
}

void sql_append_literal(struct sql *query, const char *text, size_t length)
{
    append(query, text, length);
}

void sql_append_file(struct sql *query, const struct embedded_file *file)
{
    if (!str_is_utf8((struct str){file->bytes, file->size})) {
        query->failed = true;
        return;
    }
    append(query, file->bytes, file->size);
}

void sql_append_uncommented(struct sql *query, const struct embedded_file *file,
                            const char *comment, size_t length)
{
    enum { DELIMITER = 2 };
    const char *from = file->bytes;

    if (!str_is_utf8((struct str){file->bytes, file->size})) {
        query->failed = true;
        return;
    }
    for (const char *at; (at = strstr(from, comment)); from = at + length) {
        append(query, from, (size_t)(at - from));
        append(query, comment + DELIMITER, length - 2UL * DELIMITER);
    }
    append(query, from, strlen(from));
}

/* Append bytes between two `quote`s, with each one inside doubled, and backslashes too if asked. */
static void append_quoted(struct sql *query, struct str value, char quote, bool escape_backslash)
{
    append(query, &quote, 1);
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == quote || (escape_backslash && value.ptr[i] == '\\')) {
            append(query, &value.ptr[i], 1);
        }
        append(query, &value.ptr[i], 1);
    }
    append(query, &quote, 1);
}

void sql_ident(struct sql *query, const char *name)
{
    struct str value = str_from(name);

    /* The server would cut a longer name silently, and two names could become one. */
    if (value.len == 0 || value.len > SQL_IDENTIFIER_BYTES || !str_is_utf8(value)) {
        query->failed = true;
        return;
    }
    append_quoted(query, value, '"', false);
}

void sql_ident2(struct sql *query, const char *schema, const char *name)
{
    sql_ident(query, schema);
    SQL(query, ".");
    sql_ident(query, name);
}

static void append_constant(struct sql *query, struct str value)
{
    if (!str_is_utf8(value)) {
        query->failed = true;
        return;
    }
    bool has_backslash = value.len > 0 && memchr(value.ptr, '\\', value.len);
    if (has_backslash) {
        /* The blank keeps E from joining a word before it. */
        SQL(query, " E");
    }
    append_quoted(query, value, '\'', has_backslash);
}

void sql_literal(struct sql *query, const char *value)
{
    append_constant(query, str_from(value));
}

void sql_literal_secret(struct sql *query, const struct secret *value)
{
    append_constant(query, (struct str){secret_bytes(value), secret_length(value)});
}

void sql_integer(struct sql *query, int64_t value)
{
    /* In brackets when negative, since "a-" before "-1" would begin a comment. */
    const char *text = value < 0 ? arena_printf(&query->arena, "(%" PRId64 ")", value)
                                 : arena_printf(&query->arena, "%" PRId64, value);

    append(query, text, strlen(text));
}

void sql_param(struct sql *query, const char *value)
{
    if (query->parameter_count >= SQL_PARAMETERS_MAX) {
        query->failed = true;
        return;
    }
    query->parameters[query->parameter_count++] = value;
    SQL(query, "$");
    sql_integer(query, query->parameter_count);
}

void sql_param_int(struct sql *query, int64_t value)
{
    sql_param(query, arena_printf(&query->arena, "%" PRId64, value));
}

void sql_now(struct sql *query)
{
    SQL(query, "(now() + ");
    sql_param_int(query, clock_wall_offset_ms());
    SQL(query, "::bigint * interval '1 millisecond')");
}

int sql_check_built(const struct sql *query, struct err *err)
{
    if (query->failed || buf_failed(&query->text)) {
        return err_set(err, ERR_TERMINAL, "InvalidStatement",
                       "a statement could not be built: a name in it is empty, longer than %d "
                       "bytes or no valid UTF-8, or it is too long",
                       SQL_IDENTIFIER_BYTES);
    }
    return 0;
}
