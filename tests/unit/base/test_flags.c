/* A command line into a structure, and what is said of one that is wrong. */
#include "controller/base/flags.h"

#include <stdbool.h>
#include <string.h>

#include "controller/base/log.h"
#include "tests/check.h"

struct settings {
    const char *name;
    int64_t count;
    int64_t period_ms;
    bool loud;
    bool help;
    enum log_level level;
    enum log_format format;
};

#define AT(member) offsetof(struct settings, member)
static const struct flag rows[] = {
    {"name", FLAG_TEXT, AT(name), 0, 0, "a name"},
    {"count", FLAG_INT, AT(count), 1, 9, "1 to 9"},
    {"period", FLAG_DURATION, AT(period_ms), 1000, 60000, "1s to 1m"},
    {"loud", FLAG_BOOL, AT(loud), 0, 0, "whether"},
    {"log-level", FLAG_LEVEL, AT(level), 0, 0, "the level"},
    {"log-format", FLAG_FORMAT, AT(format), 0, 0, "the format"},
    {"help", FLAG_BOOL, AT(help), 0, 0, "print this"},
};

/* The words behind the program's name, up to a NULL. */
static int parse(const char *const words[], struct settings *ret, struct err *err)
{
    char *argv[16] = {(char[]){"program"}};
    int argc = 1;
    while (words[argc - 1]) {
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
        argc++;
    }
    *ret = (struct settings){.name = "default", .count = 5, .level = LOG_INFO};
    return flags_parse(rows, ARRAY_COUNT(rows), argc, argv, ret, err);
}

static void no_word_leaves_the_defaults(void **state)
{
    (void)state;
    struct settings settings;
    struct err err;
    CHECK_OK(parse((const char *[]){NULL}, &settings, &err), &err);
    CHECK_TEXT(settings.name, "default");
    CHECK_INT(settings.count, 5);
    CHECK(!settings.loud && !settings.help);
}

static void each_kind_has_its_forms(void **state)
{
    (void)state;
    struct settings settings;
    struct err err;
    const char *const words[] = {"--name=a=b", "--count",     "7",     "--period",          "30s",
                                 "--loud",     "--log-level", "debug", "--log-format=text", NULL};
    CHECK_OK(parse(words, &settings, &err), &err);
    CHECK_TEXT(settings.name, "a=b");
    CHECK_INT(settings.count, 7);
    CHECK_INT(settings.period_ms, 30000);
    CHECK(settings.loud);
    CHECK(settings.level == LOG_DEBUG && settings.format == LOG_TEXT);
}

static void last_one_counts_and_a_value_may_be_empty(void **state)
{
    (void)state;
    struct settings settings;
    struct err err;
    const char *const words[] = {"--loud", "--name=x", "--loud=false", "--name=", NULL};
    CHECK_OK(parse(words, &settings, &err), &err);
    CHECK(!settings.loud);
    CHECK_TEXT(settings.name, "");
}

static void a_word_after_a_boolean_is_not_its_value(void **state)
{
    (void)state;
    struct settings settings;
    struct err err;
    CHECK_FAILS(parse((const char *[]){"--loud", "false", NULL}, &settings, &err), &err,
                ERR_TERMINAL, "InvalidOption");
}

static void short_form_of_help_is_known(void **state)
{
    (void)state;
    struct settings settings;
    struct err err;
    CHECK_OK(parse((const char *[]){"-h", NULL}, &settings, &err), &err);
    CHECK(settings.help);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        const char *named;
    } cases[] = {
        {{"stray"}, "stray"},
        {{"-x"}, "-x"},
        {{"--"}, "--"},
        {{"--unknown"}, "--unknown"},
        {{"--nam=x"}, "--nam"},
        {{"--name"}, "--name needs a value"},
        {{"--count", "0"}, "--count cannot be \"0\": 1 to 9"},
        {{"--count", "10"}, "--count"},
        {{"--count=seven"}, "--count"},
        {{"--count="}, "--count"},
        {{"--period", "999ms"}, "--period"},
        {{"--period=1h"}, "--period"},
        {{"--period=5"}, "--period"},
        {{"--loud=maybe"}, "--loud"},
        {{"--log-level=shout"}, "--log-level"},
        {{"--log-format", "xml"}, "--log-format"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct settings settings;
        struct err err;
        CHECK_FAILS(parse(cases[i].words, &settings, &err), &err, ERR_TERMINAL, "InvalidOption");
        CHECK(strstr(err.message, cases[i].named));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_word_leaves_the_defaults),
        cmocka_unit_test(each_kind_has_its_forms),
        cmocka_unit_test(last_one_counts_and_a_value_may_be_empty),
        cmocka_unit_test(a_word_after_a_boolean_is_not_its_value),
        cmocka_unit_test(short_form_of_help_is_known),
        cmocka_unit_test(what_is_wrong_is_named),
    };
    return cmocka_run_group_tests_name("flags", tests, NULL, NULL);
}
