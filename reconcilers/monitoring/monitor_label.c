/* --monitor-label, checked as the API server will check the label: a name that it refuses would
 * keep every tenant from being Ready, long after the flag was given. The rules: Kubernetes, "Labels
 * and Selectors", syntax and character set. */
#include <ctype.h>
#include <string.h>

#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/monitoring/monitor.h"

enum { PREFIX_BYTES_MAX = 253, PART_BYTES_MAX = 63 };

/* Letters, digits and, between such, characters of `inner`; one of at least. */
static bool is_word(struct str text, const char *inner, size_t most)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!isalnum((unsigned char)text.ptr[i]) &&
            (text.ptr[i] == '\0' || !strchr(inner, text.ptr[i]))) {
            return false;
        }
    }
    return text.len > 0 && text.len <= most && isalnum((unsigned char)text.ptr[0]) &&
           isalnum((unsigned char)text.ptr[text.len - 1]);
}

static bool is_lower(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (isupper((unsigned char)text.ptr[i])) {
            return false;
        }
    }
    return true;
}

/* A DNS subdomain: labels between dots, each a word of its own. */
static bool is_prefix(struct str text)
{
    if (text.len > PREFIX_BYTES_MAX || !is_lower(text)) {
        return false;
    }
    for (;;) {
        const char *dot = memchr(text.ptr, '.', text.len);
        size_t length = dot ? (size_t)(dot - text.ptr) : text.len;
        if (!is_word((struct str){text.ptr, length}, "-", PREFIX_BYTES_MAX)) {
            return false;
        }
        if (!dot) {
            return true;
        }
        text = (struct str){dot + 1, text.len - length - 1};
    }
}

static bool is_name(struct str text)
{
    const char *slash = memchr(text.ptr, '/', text.len);

    if (slash) {
        size_t length = (size_t)(slash - text.ptr);
        if (!is_prefix((struct str){text.ptr, length})) {
            return false;
        }
        text = (struct str){slash + 1, text.len - length - 1};
    }
    return is_word(text, "-_.", PART_BYTES_MAX);
}

static int refuse(const char *label, const char *why, struct err *err)
{
    return err_set(err, ERR_TERMINAL, "InvalidOption", "--monitor-label \"%s\": %s", label, why);
}

int monitor_label_check(const char *label, struct err *err)
{
    struct str value = str_from(label);
    struct str name = str_cut(&value, '=');

    if (text_is_empty(label)) {
        return 0;
    }
    if (!strchr(label, '=')) {
        return refuse(label, "it has to be NAME=VALUE", err);
    }
    if (!is_name(name)) {
        return refuse(label,
                      "Kubernetes takes no label of that name: at most 63 letters, digits, '-', "
                      "'_' and '.', a letter or digit first and last, and before it, if anything, "
                      "a DNS name in lower case and one '/'",
                      err);
    }
    if (value.len > 0 && !is_word(value, "-_.", PART_BYTES_MAX)) {
        return refuse(label,
                      "Kubernetes takes no label with that value: at most 63 letters, digits, "
                      "'-', '_' and '.', a letter or digit first and last",
                      err);
    }
    if (str_equal_c(name, NAME_LABEL_MANAGED_BY) || str_starts_with(name, STR("tenantry.dev/"))) {
        return refuse(label, "that label is the controller's own", err);
    }
    return 0;
}
