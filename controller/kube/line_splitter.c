#include "controller/kube/line_splitter.h"

void line_splitter_init(struct line_splitter *splitter, size_t line_max_bytes)
{
    buf_init(&splitter->carry, line_max_bytes);
}

void line_splitter_release(struct line_splitter *splitter)
{
    buf_release(&splitter->carry);
}

void line_splitter_reset(struct line_splitter *splitter)
{
    buf_clear(&splitter->carry);
}

static int too_long(const struct line_splitter *splitter, struct err *err)
{
    return err_set(err, ERR_RETRY, "LineTooLong", "a line is longer than %zu bytes",
                   splitter->carry.max_bytes);
}

/* A newline was found behind `part`; what is carried, if anything, stands in front of it. */
static int end_line(struct line_splitter *splitter, struct str part, line_fn on_line, void *context,
                    struct err *err)
{
    if (part.len > splitter->carry.max_bytes) {
        return too_long(splitter, err);
    }
    if (splitter->carry.len == 0) {
        return part.len == 0 ? 0 : on_line(context, part, err);
    }
    if (!buf_append_str(&splitter->carry, part)) {
        return too_long(splitter, err);
    }
    int result = on_line(context, buf_str(&splitter->carry), err);
    buf_clear(&splitter->carry);
    return result;
}

int line_splitter_feed(struct line_splitter *splitter, struct str data, line_fn on_line,
                       void *context, struct err *err)
{
    while (data.len > 0) {
        const char *newline = memchr(data.ptr, '\n', data.len);
        if (!newline) {
            return buf_append_str(&splitter->carry, data) ? 0 : too_long(splitter, err);
        }
        size_t length = (size_t)(newline - data.ptr);
        if (end_line(splitter, (struct str){data.ptr, length}, on_line, context, err) != 0) {
            return -1;
        }
        data.ptr += length + 1;
        data.len -= length + 1;
    }
    return 0;
}
