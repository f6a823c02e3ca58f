/* Structured logging, one line a call, to standard error: text for people, JSON for machines.
 *
 *     log_info(log, "database created", KV("database", name), KV_INT("duration_ms", ms));
 *
 * A `struct log` is a context: fields that every line under it carries (tenant, controller,
 * reconcile id, concern). Contexts chain by parent and live on the stack. Field names are stable
 * (docs/logging.md). Only thread main loops, the outcome mapper and main.c log above debug;
 * everything else returns struct err. Thread-safe; a line is written with one write(2). Secrets
 * cannot be passed: there is no field kind for them. Values are escaped, so that no value can forge
 * a line or a field. */
#ifndef TENANTRY_BASE_LOG_H
#define TENANTRY_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

enum log_field_kind { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_BOOL, LOG_FIELD_ERR };

struct log_field {
    const char *name; /* lower_snake_case literal */
    enum log_field_kind kind;
    union {
        const char *text; /* NULL: the field is left out */
        int64_t integer;
        bool boolean;
        const struct err *err; /* becomes reason, code (if any) and error */
    } value;
};

struct log {
    const struct log *parent; /* NULL: the root */
    const struct log_field *fields;
    size_t field_count;
};

#define KV(field_name, field_text)                                                                 \
    ((struct log_field){.name = (field_name), .kind = LOG_FIELD_TEXT, .value.text = (field_text)})
#define KV_INT(field_name, field_integer)                                                          \
    ((struct log_field){                                                                           \
        .name = (field_name), .kind = LOG_FIELD_INT, .value.integer = (field_integer)})
#define KV_BOOL(field_name, field_boolean)                                                         \
    ((struct log_field){                                                                           \
        .name = (field_name), .kind = LOG_FIELD_BOOL, .value.boolean = (field_boolean)})
#define KV_ERR(field_err)                                                                          \
    ((struct log_field){.name = "error", .kind = LOG_FIELD_ERR, .value.err = (field_err)})

/* Set once before threads start. */
void log_configure(enum log_level lowest, enum log_format format);
MUST_CHECK bool log_parse_level(const char *text, enum log_level *ret);
MUST_CHECK bool log_parse_format(const char *text, enum log_format *ret);
bool log_enabled(enum log_level level);

/* log may be NULL: no context. */
void log_write(const struct log *log, enum log_level level, const char *message,
               const struct log_field *fields, size_t field_count);

/* The sentinel first element lets a call have no field at all in standard C. */
#define LOG_CALL(log_, level_, message_, ...)                                                      \
    do {                                                                                           \
        if (log_enabled(level_)) {                                                                 \
            const struct log_field log_fields_[] = {{0}, __VA_ARGS__};                             \
            log_write((log_), (level_), (message_), log_fields_ + 1,                               \
                      sizeof(log_fields_) / sizeof(log_fields_[0]) - 1);                           \
        }                                                                                          \
    } while (0)
#define log_debug(log_, message_, ...) LOG_CALL(log_, LOG_DEBUG, message_, __VA_ARGS__)
#define log_info(log_, message_, ...) LOG_CALL(log_, LOG_INFO, message_, __VA_ARGS__)
#define log_warn(log_, message_, ...) LOG_CALL(log_, LOG_WARN, message_, __VA_ARGS__)
#define log_error(log_, message_, ...) LOG_CALL(log_, LOG_ERROR, message_, __VA_ARGS__)

#endif
