/* From the server's Status objects to our errors. */
#include <stdio.h>

#include "controller/base/js.h"
#include "controller/kube/api_internal.h"

enum { STATUS_MAX_BYTES = 1024 * 1024, RETRY_AFTER_MAX_S = 3600 };

struct meaning {
    enum err_class cls;
    const char *reason;
};

static bool has_cause(const json_t *status, const char *reason)
{
    size_t index = 0;
    const json_t *cause = NULL;
    json_array_foreach(js_at(status, "/details/causes"), index, cause)
    {
        if (text_equal(js_text_or(cause, "/reason", ""), reason)) {
            return true;
        }
    }
    return false;
}

static struct meaning meaning_of_missing(const json_t *status)
{
    /* The server names the object that it looked for; for a kind that it does not know there is
     * nothing to name, and mostly no Status at all. */
    bool knows_kind = js_text_or(status, "/details/name", "")[0] != '\0';
    return (struct meaning){ERR_NOT_FOUND, knows_kind ? "NotFound" : "NotServed"};
}

static struct meaning meaning_of_conflict(const json_t *status)
{
    bool exists = text_equal(js_text_or(status, "/reason", ""), "AlreadyExists");
    return (struct meaning){ERR_CONFLICT, exists ? "AlreadyExists" : "Conflict"};
}

static struct meaning meaning_of_invalid(const json_t *status, bool is_json_patch)
{
    /* A patch that cannot be applied (its "test" failed, a path is gone) is refused by the generic
     * machinery, which knows no object; an object that is wrong is refused by name. */
    bool knows_object = js_text_or(status, "/details/kind", "")[0] != '\0';
    if (is_json_patch && !knows_object) {
        return (struct meaning){ERR_CONFLICT, "Conflict"};
    }
    return (struct meaning){ERR_TERMINAL, "Invalid"};
}

static struct meaning meaning_of(const json_t *status, int code, bool is_json_patch)
{
    switch (code) {
    case 401:
        return (struct meaning){ERR_RETRY, "Unauthorized"};
    case 403:
        return (struct meaning){ERR_RETRY, "Forbidden"};
    case 404:
        return meaning_of_missing(status);
    case 409:
        return meaning_of_conflict(status);
    case 410:
        return (struct meaning){ERR_RETRY, "Expired"};
    case 422:
        return meaning_of_invalid(status, is_json_patch);
    case 429:
        return (struct meaning){ERR_RETRY, "TooManyRequests"};
    case 504:
        if (has_cause(status, "ResourceVersionTooLarge")) {
            return (struct meaning){ERR_RETRY, "ResourceVersionTooLarge"};
        }
        break;
    default:
        break;
    }
    bool clients_fault = code >= 400 && code <= 499 && code != 408;
    return clients_fault ? (struct meaning){ERR_TERMINAL, "Invalid"}
                         : (struct meaning){ERR_RETRY, "ServerError"};
}

int api_status_error(struct str body, int http_status, bool is_json_patch, struct err *err)
{
    AUTO(json) json_t *status = NULL;
    struct err ignored;
    if (js_parse(body, STATUS_MAX_BYTES, &status, &ignored) != 0 || !json_is_object(status) ||
        !text_equal(js_text_or(status, "/kind", ""), "Status")) {
        json_decref(status);
        status = NULL; /* a proxy's page, or nothing at all */
    }
    int64_t told = js_int_or(status, "/code", 0);
    int code = http_status != 0 ? http_status : (int)(told >= 100 && told <= 999 ? told : 500);
    struct meaning meaning = meaning_of(status, code, is_json_patch);
    const char *message = js_text_or(status, "/message", "");
    char text[ERR_CODE_BYTES];
    snprintf(text, sizeof(text), "%d", code);
    if (message[0]) {
        err_set(err, meaning.cls, meaning.reason, "%s", message);
    } else if (text_equal(meaning.reason, "NotServed")) {
        err_set(err, meaning.cls, meaning.reason, "the server does not know this kind of object");
    } else {
        err_set(err, meaning.cls, meaning.reason, "the server answered %d", code);
    }
    err_code(err, text);
    int64_t retry_after_s = js_int_or(status, "/details/retryAfterSeconds", 0);
    if (retry_after_s > 0) {
        err->retry_after_ms =
            (retry_after_s < RETRY_AFTER_MAX_S ? retry_after_s : RETRY_AFTER_MAX_S) * 1000;
    }
    return -1;
}

int kube_status_error(struct str status_json, int http_status, struct err *err)
{
    return api_status_error(status_json, http_status, false, err);
}
