#include "controller/base/log.h"

#include "controller/base/buf.h"
#include "controller/base/clock.h"
#include "tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* Standard error goes into a file without a name while a test records. */
static int saved_stderr = -1;
static int record_fd = -1;

static void record_start(void)
{
    record_fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    saved_stderr = dup(STDERR_FILENO);
    if (record_fd < 0 || saved_stderr < 0 || dup2(record_fd, STDERR_FILENO) < 0) {
        abort();
    }
}

/* What was logged since record_start; caller frees. */
static char *record_stop(void)
{
    struct buf all = BUF((size_t)16 << 20);
    char piece[4096];
    ssize_t got = 0;
    off_t at = 0;

    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    while ((got = pread(record_fd, piece, sizeof(piece), at)) > 0) {
        CHECK(buf_append(&all, piece, (size_t)got));
        at += got;
    }
    close(record_fd);
    return buf_detach(&all);
}

enum { TIME_LENGTH = sizeof("2026-01-02T03:04:05.123Z") - 1 };

/* The line must start with a time, which is cut off. */
static const char *behind_time(const char *line)
{
    int64_t us = 0;

    CHECK(strlen(line) > TIME_LENGTH);
    CHECK(clock_parse((struct str){line, TIME_LENGTH}, &us));
    CHECK(us >= clock_wall_us() - INT64_C(60000000) && us <= clock_wall_us());
    return line + TIME_LENGTH;
}

static void text_lines_have_their_form(void **state)
{
    const struct log_field outer[] = {KV("tenant", "acme"), KV("namespace", NULL)};
    const struct log_field inner[] = {KV_INT("generation", 7)};
    const struct log root = {NULL, outer, 2};
    const struct log log = {&root, inner, 1};
    (void)state;

    log_configure(LOG_INFO, LOG_TEXT);
    record_start();
    log_info(&log, "database created", KV("database", "tenant_acme"), KV_INT("duration_ms", 12),
             KV_BOOL("dry", false));
    AUTO(free) char *line = record_stop();
    CHECK_TEXT(behind_time(line), " info  database created tenant=acme generation=7 "
                                  "database=tenant_acme duration_ms=12 dry=false\n");
}

static void levels_have_their_names(void **state)
{
    (void)state;

    log_configure(LOG_DEBUG, LOG_TEXT);
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
        static const char *const expected[] = {" debug m\n", " info  m\n", " warn  m\n",
                                               " error m\n"};
        record_start();
        log_write(NULL, (enum log_level)level, "m", NULL, 0);
        AUTO(free) char *line = record_stop();
        CHECK_TEXT(behind_time(line), expected[level]);
    }
}

static void lower_levels_are_silent_and_cost_no_evaluation(void **state)
{
    int evaluated = 0;
    (void)state;

    log_configure(LOG_WARN, LOG_TEXT);
    record_start();
    log_debug(NULL, "no");
    log_info(NULL, "no", KV_INT("n", ++evaluated));
    log_write(NULL, LOG_INFO, "no", NULL, 0);
    log_warn(NULL, "yes");
    log_error(NULL, "yes", KV_INT("n", ++evaluated));
    AUTO(free) char *lines = record_stop();
    CHECK_INT(evaluated, 1);
    CHECK_NULL(strstr(lines, "no"));
    CHECK_NOT_NULL(strstr(lines, " error yes n=1\n"));
    CHECK(!log_enabled(LOG_INFO) && log_enabled(LOG_WARN) && log_enabled(LOG_ERROR));
}

/* No value can forge a line or a field. */
static void text_values_are_quoted_only_when_needed(void **state)
{
    static const char *const cases[][2] = {
        {"plain", "v=plain"},
        {"a/b:c,d;e'f[g]{h}", "v=a/b:c,d;e'f[g]{h}"},
        {"", "v=\"\""},
        {"two words", "v=\"two words\""},
        {"a=b", "v=\"a=b\""},
        {"say \"hi\"", "v=\"say \\\"hi\\\"\""},
        {"back\\slash", "v=\"back\\\\slash\""},
        {"x\n2026-01-01T00:00:00.000Z info  forged",
         "v=\"x\\n2026-01-01T00:00:00.000Z info  forged\""},
        {"\x1B[31mred", "v=\"\\u001b[31mred\""},
        {"\xC2\x9B"
         "31m",
         "v=\"\\u009b31m\""},
        {"\x7F", "v=\"\\u007f\""},
        {"M\xC3\xBCnchen", "v=\"M\xC3\xBCnchen\""},
        {"\xFF", "v=\"\xEF\xBF\xBD\""},
    };
    (void)state;

    log_configure(LOG_INFO, LOG_TEXT);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(buf) struct buf expected = BUF(1000);
        record_start();
        log_info(NULL, "m", KV("v", cases[i][0]));
        AUTO(free) char *line = record_stop();
        buf_printf(&expected, " info  m %s\n", cases[i][1]);
        CHECK_TEXT(behind_time(line), buf_text(&expected));
    }
}

static void a_message_cannot_forge_either(void **state)
{
    (void)state;

    log_configure(LOG_INFO, LOG_TEXT);
    record_start();
    log_info(NULL, "x\ntenant=evil");
    AUTO(free) char *line = record_stop();
    CHECK_TEXT(behind_time(line), " info  \"x\\ntenant=evil\"\n");
}

static void errors_become_reason_code_and_error(void **state)
{
    struct err err;
    (void)state;

    log_configure(LOG_INFO, LOG_TEXT);
    err_set(&err, ERR_RETRY, "DatabaseUnreachable", "connection refused");
    record_start();
    log_warn(NULL, "step failed", KV_ERR(&err));
    AUTO(free) char *without = record_stop();
    CHECK_TEXT(behind_time(without),
               " warn  step failed reason=DatabaseUnreachable error=\"connection refused\"\n");
    err_code(&err, "08006");
    record_start();
    log_warn(NULL, "step failed", KV_ERR(&err), KV_INT("attempt", 2));
    AUTO(free) char *with = record_stop();
    CHECK_TEXT(behind_time(with), " warn  step failed reason=DatabaseUnreachable code=08006 "
                                  "error=\"connection refused\" attempt=2\n");
}

static void the_innermost_of_one_name_wins(void **state)
{
    const struct log_field outer[] = {KV("tenant", "outer"), KV("step", "a")};
    const struct log_field inner[] = {KV("step", "b")};
    const struct log root = {NULL, outer, 2};
    const struct log log = {&root, inner, 1};
    (void)state;

    log_configure(LOG_INFO, LOG_TEXT);
    record_start();
    log_info(&log, "m", KV("tenant", "call"));
    AUTO(free) char *line = record_stop();
    CHECK_TEXT(behind_time(line), " info  m step=b tenant=call\n");
}

static void json_lines_are_objects_with_stable_names(void **state)
{
    const struct log_field fields[] = {KV("tenant", "ac\"me\n"), KV("gone", NULL)};
    const struct log log = {NULL, fields, 2};
    struct err err;
    (void)state;

    log_configure(LOG_INFO, LOG_JSON);
    err_set(&err, ERR_RETRY, "Busy", "later");
    err_code(&err, "55006");
    record_start();
    log_error(&log, "step failed", KV_INT("duration_ms", -5), KV_BOOL("dry", true), KV_ERR(&err));
    AUTO(free) char *line = record_stop();
    CHECK(strncmp(line, "{\"time\":\"", 9) == 0);
    CHECK_TEXT(behind_time(line + 9),
               "\",\"level\":\"error\",\"msg\":\"step failed\",\"tenant\":\"ac\\\"me\\n\","
               "\"duration_ms\":-5,\"dry\":true,\"reason\":\"Busy\",\"code\":\"55006\","
               "\"error\":\"later\"}\n");
}

static void long_values_are_cut_visibly(void **state)
{
    static char text[20000];
    (void)state;

    for (size_t i = 0; i + 2 < sizeof(text); i += 2) {
        memcpy(text + i, "\xC3\xA9", 3);
    }
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_configure(LOG_INFO, (enum log_format)format);
        record_start();
        log_info(NULL, "m", KV("v", text), KV("w", "kept"));
        AUTO(free) char *line = record_stop();
        CHECK(str_is_utf8(str_from(line)));
        CHECK(strlen(line) > 4096 && strlen(line) < 4300);
        CHECK_NOT_NULL(strstr(line, "é…\""));
        CHECK_NOT_NULL(strstr(line, "kept"));
    }
    /* Bare text is cut as well. */
    memset(text, 'x', sizeof(text) - 1);
    log_configure(LOG_INFO, LOG_TEXT);
    record_start();
    log_info(NULL, "m", KV("v", text));
    AUTO(free) char *line = record_stop();
    CHECK(strlen(line) < 4300);
    CHECK_NOT_NULL(strstr(line, "x…\"\n"));
}

static void more_fields_than_a_line_takes_do_no_harm(void **state)
{
    struct log_field fields[100];
    char names[100][16];
    (void)state;

    for (int i = 0; i < 100; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "f%d", i);
        fields[i] = KV_INT(names[i], i);
    }
    log_configure(LOG_INFO, LOG_JSON);
    record_start();
    log_write(NULL, LOG_INFO, "m", fields, 100);
    AUTO(free) char *line = record_stop();
    json_t *parsed = json_loads(line, 0, NULL);
    CHECK_INT(json_object_size(parsed), 3 + 48);
    json_decref(parsed);
}

static void logging_keeps_errno(void **state)
{
    (void)state;

    log_configure(LOG_INFO, LOG_TEXT);
    record_start();
    errno = EXDEV;
    log_info(NULL, "m");
    int after = errno;
    AUTO(free) char *line = record_stop();
    CHECK_INT(after, EXDEV);
}

/* A log that cannot be written must not stop or spin the program. */
static void a_closed_standard_error_is_survived(void **state)
{
    int saved = dup(STDERR_FILENO);
    (void)state;

    if (saved < 0) {
        fail_msg("no descriptor to keep standard error in");
        return;
    }
    log_configure(LOG_INFO, LOG_TEXT);
    close(STDERR_FILENO);
    log_info(NULL, "m");
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static void *write_many(void *argument)
{
    const struct log_field fields[] = {KV_INT("thread", *(const int *)argument)};
    const struct log log = {NULL, fields, 1};

    for (int i = 0; i < 500; i++) {
        log_info(&log, "concurrent", KV_INT("i", i), KV("text", "with \"quotes\""));
    }
    return NULL;
}

static void lines_of_threads_stay_whole(void **state)
{
    pthread_t threads[4];
    static const int numbers[] = {0, 1, 2, 3};
    int counts[4] = {0};
    (void)state;

    log_configure(LOG_INFO, LOG_JSON);
    record_start();
    /* All share one file offset, as they share a container's log. */
    for (int i = 0; i < 4; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, write_many, (void *)(uintptr_t)&numbers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    AUTO(free) char *text = record_stop();
    struct str rest = str_from(text);
    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        json_t *parsed = json_loadb(line.ptr, line.len, 0, NULL);
        CHECK_NOT_NULL(parsed);
        int thread = (int)json_integer_value(json_object_get(parsed, "thread"));
        CHECK_INT(json_integer_value(json_object_get(parsed, "i")), counts[thread]);
        counts[thread]++;
        json_decref(parsed);
    }
    for (int i = 0; i < 4; i++) {
        CHECK_INT(counts[i], 500);
    }
}

static void names_of_levels_and_formats_are_parsed(void **state)
{
    enum log_level level = LOG_ERROR;
    enum log_format format = LOG_TEXT;
    (void)state;

    CHECK(log_parse_level("debug", &level) && level == LOG_DEBUG);
    CHECK(log_parse_level("info", &level) && level == LOG_INFO);
    CHECK(log_parse_level("warn", &level) && level == LOG_WARN);
    CHECK(log_parse_level("error", &level) && level == LOG_ERROR);
    CHECK(!log_parse_level("Info", &level) && !log_parse_level("", &level) &&
          !log_parse_level(NULL, &level) && level == LOG_ERROR);
    CHECK(log_parse_format("json", &format) && format == LOG_JSON);
    CHECK(log_parse_format("text", &format) && format == LOG_TEXT);
    CHECK(!log_parse_format("yaml", &format) && format == LOG_TEXT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines_have_their_form),
        cmocka_unit_test(levels_have_their_names),
        cmocka_unit_test(lower_levels_are_silent_and_cost_no_evaluation),
        cmocka_unit_test(text_values_are_quoted_only_when_needed),
        cmocka_unit_test(a_message_cannot_forge_either),
        cmocka_unit_test(errors_become_reason_code_and_error),
        cmocka_unit_test(the_innermost_of_one_name_wins),
        cmocka_unit_test(json_lines_are_objects_with_stable_names),
        cmocka_unit_test(long_values_are_cut_visibly),
        cmocka_unit_test(more_fields_than_a_line_takes_do_no_harm),
        cmocka_unit_test(logging_keeps_errno),
        cmocka_unit_test(a_closed_standard_error_is_survived),
        cmocka_unit_test(lines_of_threads_stay_whole),
        cmocka_unit_test(names_of_levels_and_formats_are_parsed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
