#include "controller/base/flags.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/log.h"
#include "controller/base/str.h"

static const struct flag *find(const struct flag *flags, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_equal_c(name, flags[i].name)) {
            return &flags[i];
        }
    }
    return NULL;
}

static bool in_range(const struct flag *flag, int64_t value)
{
    return value >= flag->lowest && value <= flag->highest;
}

static bool set_bool(const char *text, bool *slot)
{
    if (text_equal(text, "true") || text_equal(text, "false")) {
        *slot = text_equal(text, "true");
        return true;
    }
    return false;
}

static bool set_value(const struct flag *flag, const char *text, void *options)
{
    void *slot = (char *)options + flag->offset;
    switch (flag->kind) {
    case FLAG_TEXT:
        *(const char **)slot = text;
        return true;
    case FLAG_INT:
        return str_to_int64(str_from(text), slot) && in_range(flag, *(int64_t *)slot);
    case FLAG_DURATION:
        return clock_parse_duration_ms(str_from(text), slot) && in_range(flag, *(int64_t *)slot);
    case FLAG_BOOL:
        return set_bool(text, slot);
    case FLAG_LEVEL:
        return log_parse_level(text, slot);
    case FLAG_FORMAT:
        return log_parse_format(text, slot);
    }
    return false;
}

/* The flag at argv[*index]; moves *index to the last word of it. */
static int take(const struct flag *flags, size_t count, int argc, char **argv, int *index,
                void *options, struct err *err)
{
    const char *argument = text_equal(argv[*index], "-h") ? "--help" : argv[*index];
    struct str rest = str_from(argument);
    if (!str_starts_with(rest, STR("--"))) {
        return err_set(err, ERR_TERMINAL, "InvalidOption", "unexpected argument \"%s\"; see --help",
                       argument);
    }
    rest = (struct str){rest.ptr + 2, rest.len - 2};
    bool has_value = strchr(argument, '=') != NULL;
    const struct flag *flag = find(flags, count, str_cut(&rest, '='));
    if (!flag) {
        return err_set(err, ERR_TERMINAL, "InvalidOption", "unknown flag \"%s\"; see --help",
                       argument);
    }
    const char *value = has_value ? rest.ptr : "true";
    if (!has_value && flag->kind != FLAG_BOOL) {
        if (*index + 1 >= argc) {
            return err_set(err, ERR_TERMINAL, "InvalidOption", "--%s needs a value", flag->name);
        }
        value = argv[++*index];
    }
    if (!set_value(flag, value, options)) {
        return err_set(err, ERR_TERMINAL, "InvalidOption", "--%s cannot be \"%s\": %s", flag->name,
                       value, flag->help);
    }
    return 0;
}

int flags_parse(const struct flag *flags, size_t count, int argc, char **argv, void *options,
                struct err *err)
{
    for (int i = 1; i < argc; i++) {
        if (take(flags, count, argc, argv, &i, options, err)) {
            return -1;
        }
    }
    return 0;
}

void flags_print(const struct flag *flags, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)printf("  --%-24s %s\n", flags[i].name, flags[i].help);
    }
}
