/* Names are derived here and nowhere else. Lengths cannot pass PostgreSQL's 63 bytes: "tenant_"
 * (7), a subdomain of at most 48, "." and a suffix of at most 5. */
#include "reconcilers/model/names.h"

#include <string.h>

#include "controller/base/str.h"

static const char *const reserved_prefixes[] = {"xn--", "sthree-", "amzn-s3-demo-"};

/* The CRD refuses the same words when a Tenant is made (crds/tenants.yaml; a test compares the
 * two). */
static const char *const reserved_words[] = {
    "www",       "api",        "app",        "admin",     "administrator", "root",
    "system",    "tenantry",   "public",     "localhost", "postgres",      "postgresql",
    "template0", "template1",  "mail",       "webmail",   "smtp",          "imap",
    "pop",       "pop3",       "mx",         "ftp",       "sftp",          "ssh",
    "ns",        "ns1",        "ns2",        "dns",       "autoconfig",    "autodiscover",
    "wpad",      "isatap",     "mta-sts",    "auth",      "login",         "oauth",
    "sso",       "hostmaster", "postmaster", "webmaster", "security",
};

/* The platform's own words, separated by commas; set once at start. */
static const char *platform_words = "";

void name_reserve(const char *comma_separated)
{
    platform_words = comma_separated;
}

static bool is_reserved(const char *subdomain)
{
    for (size_t i = 0; i < ARRAY_COUNT(reserved_words); i++) {
        if (strcmp(subdomain, reserved_words[i]) == 0) {
            return true;
        }
    }
    struct str rest = str_from(platform_words);
    while (rest.len > 0) {
        if (str_equal_c(str_trim(str_cut(&rest, ',')), subdomain)) {
            return true;
        }
    }
    return false;
}

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_dns_label(const char *text, size_t length)
{
    if (length == 0 || !is_lower_or_digit(text[0]) || !is_lower_or_digit(text[length - 1])) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_lower_or_digit(text[i]) && text[i] != '-') {
            return false;
        }
    }
    return true;
}

int name_check_subdomain(const char *subdomain, struct err *err)
{
    size_t length = strlen(subdomain);
    if (length > NAME_SUBDOMAIN_BYTES) {
        return err_set(err, ERR_TERMINAL, "InvalidSubdomain",
                       "subdomain is %zu characters long, at most %d are allowed", length,
                       NAME_SUBDOMAIN_BYTES);
    }
    if (!is_dns_label(subdomain, length)) {
        return err_set(err, ERR_TERMINAL, "InvalidSubdomain",
                       "subdomain \"%s\" is no DNS label of lower-case letters, digits and '-'",
                       subdomain);
    }
    for (size_t i = 0; i < ARRAY_COUNT(reserved_prefixes); i++) {
        if (str_starts_with(str_from(subdomain), str_from(reserved_prefixes[i]))) {
            return err_set(err, ERR_TERMINAL, "InvalidSubdomain",
                           "subdomain \"%s\" begins with the reserved prefix \"%s\"", subdomain,
                           reserved_prefixes[i]);
        }
    }
    if (is_reserved(subdomain)) {
        return err_set(err, ERR_TERMINAL, "InvalidSubdomain",
                       "subdomain \"%s\" is reserved for the platform", subdomain);
    }
    return 0;
}

static char *underscored(struct arena *arena, const char *subdomain)
{
    char *text = arena_strdup(arena, subdomain);
    for (char *at = text; *at; at++) {
        if (*at == '-') {
            *at = '_';
        }
    }
    return text;
}

const char *name_database(struct arena *arena, const char *subdomain)
{
    return arena_printf(arena, "tenant_%s", underscored(arena, subdomain));
}

const char *name_role(struct arena *arena, const char *subdomain, const char *suffix)
{
    return arena_printf(arena, "tenant_%s.%s", underscored(arena, subdomain), suffix);
}

const char *name_namespace(struct arena *arena, const char *subdomain)
{
    return arena_printf(arena, "tenant-%s", subdomain);
}

const char *name_sandbox(struct arena *arena, const char *subdomain, const char *sandbox)
{
    return arena_printf(arena, "%s-%s", subdomain, sandbox);
}

const char *name_owner_secret(struct arena *arena, const char *subdomain)
{
    return arena_printf(arena, "%s-owner", subdomain);
}

const char *name_database_secret(struct arena *arena, const char *subdomain)
{
    return arena_printf(arena, "%s-database", subdomain);
}

const char *name_storage_secret(struct arena *arena, const char *subdomain)
{
    return arena_printf(arena, "%s-storage", subdomain);
}

const char *name_bucket(struct arena *arena, const char *prefix, const char *subdomain,
                        const char *own)
{
    return arena_printf(arena, "%s%s-%s", prefix, subdomain, own);
}

const char *name_storage_user(struct arena *arena, const char *prefix, const char *subdomain)
{
    return arena_printf(arena, "%stenant-%s", prefix, subdomain);
}
