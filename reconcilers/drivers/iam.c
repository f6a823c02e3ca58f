#include "reconcilers/drivers/iam.h"

#include <stdio.h>
#include <string.h>

#include "reconcilers/drivers/aws.h"
#include "reconcilers/drivers/xml.h"

enum { FORM_MAX_BYTES = 256 * 1024, PARAMETERS_MAX = 5 };

#define VERSION "2010-05-08"

struct iam {
    struct aws_service service;
};

int iam_new(struct http_client *http, const char *endpoint, const char *region,
            const char *access_key, const struct secret *secret_key, struct iam **ret,
            struct err *err)
{
    struct iam *iam = xcalloc(1, sizeof(*iam));

    if (aws_service_init(&iam->service, http, endpoint, region, "iam", access_key, secret_key,
                         err)) {
        iam_free(iam);
        return -1;
    }
    *ret = iam;
    return 0;
}

void iam_free(struct iam *iam)
{
    if (!iam) {
        return;
    }
    aws_service_release(&iam->service);
    free(iam);
}

/* ---- one action ---- */

struct action {
    const char *name;
    struct sigv4_pair parameters[PARAMETERS_MAX]; /* NULL-named one ends */
    bool reads;
    bool once; /* must not be sent again */
};

/* Every action is a POST, so only the caller knows which of them write: the fence is asked here for
 * those that do, and by aws_perform for all. */
static int perform(struct iam *iam, const struct call *call, const struct action *action,
                   struct aws_answer *ret, struct err *err)
{
    AUTO(buf) struct buf form = BUF(FORM_MAX_BYTES);

    (void)buf_printf(&form, "Action=%s&Version=" VERSION, action->name);
    for (size_t i = 0; i < PARAMETERS_MAX && action->parameters[i].name; i++) {
        (void)buf_printf(&form, "&%s=", action->parameters[i].name);
        (void)buf_append_percent(&form, str_from(action->parameters[i].value));
    }
    if (buf_failed(&form)) {
        return err_set(err, ERR_TERMINAL, "InvalidRequest", "%s is too long", action->name);
    }
    const struct aws_request request = {
        .method = "POST",
        .path = "/",
        .content_type = "application/x-www-form-urlencoded; charset=utf-8",
        .body = buf_str(&form),
        .repeatable = !action->once,
    };
    return aws_perform(&iam->service, call, &request, ret, err) ? err_wrap(err, "%s", action->name)
                                                                : 0;
}

static int perform_simple(struct iam *iam, const struct call *call, const struct action *action,
                          bool gone_is_done, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};

    if (perform(iam, call, action, &answer, err)) {
        return gone_is_done && err->cls == ERR_NOT_FOUND ? 0 : -1;
    }
    return 0;
}

static int copy_text(char *out, size_t bytes, struct str text, struct err *err)
{
    if (text.len >= bytes) {
        return err_set(err, ERR_RETRY, "StorageAnswer", "a name in the answer is too long");
    }
    memcpy(out, text.len > 0 ? text.ptr : "", text.len);
    out[text.len] = '\0';
    return 0;
}

/* ---- users ---- */

int iam_user_create(struct iam *iam, const struct call *call, const char *user, const char *tag_key,
                    const char *tag_value, bool *ret_created, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct action action = {
        "CreateUser",
        {{"UserName", user}, {"Tags.member.1.Key", tag_key}, {"Tags.member.1.Value", tag_value}},
        .once = false};

    *ret_created = true;
    if (perform(iam, call, &action, &answer, err)) {
        if (!aws_has_code(&answer, "EntityAlreadyExists")) {
            return -1;
        }
        *ret_created = false;
    }
    return 0;
}

struct tag_search {
    const char *wanted;
    char key[IAM_TAG_BYTES];
    char *value;
};

static int on_tag_element(void *context, const char *path, struct str text, struct err *err)
{
    struct tag_search *search = context;

    if (str_ends_with(str_from(path), STR("Tags/member/Key"))) {
        return copy_text(search->key, sizeof(search->key), text, err);
    }
    if (str_ends_with(str_from(path), STR("Tags/member/Value")) &&
        text_equal(search->key, search->wanted)) {
        return copy_text(search->value, IAM_TAG_BYTES, text, err);
    }
    return 0;
}

int iam_user_tag(struct iam *iam, const struct call *call, const char *user, const char *tag_key,
                 char ret_value[IAM_TAG_BYTES], struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct action action = {"GetUser", {{"UserName", user}}, .reads = true};
    struct tag_search search = {.wanted = tag_key, .value = ret_value};

    ret_value[0] = '\0';
    if (perform(iam, call, &action, &answer, err)) {
        return -1;
    }
    return xml_read(buf_str(&answer.http.body), on_tag_element, &search, err);
}

int iam_user_set_tag(struct iam *iam, const struct call *call, const char *user,
                     const char *tag_key, const char *tag_value, struct err *err)
{
    const struct action action = {
        "TagUser",
        {{"UserName", user}, {"Tags.member.1.Key", tag_key}, {"Tags.member.1.Value", tag_value}},
        .once = false};
    return perform_simple(iam, call, &action, false, err);
}

int iam_user_delete(struct iam *iam, const struct call *call, const char *user, struct err *err)
{
    const struct action action = {"DeleteUser", {{"UserName", user}}, .once = false};
    return perform_simple(iam, call, &action, true, err);
}

/* ---- keys ---- */

struct key_list {
    struct iam_key *keys;
    struct iam_key next;
    size_t count;
};

static int on_key_element(void *context, const char *path, struct str text, struct err *err)
{
    struct key_list *list = context;
    struct str end = str_from(path);

    if (str_ends_with(end, STR("AccessKeyMetadata/member/AccessKeyId"))) {
        return copy_text(list->next.id, sizeof(list->next.id), text, err);
    }
    if (str_ends_with(end, STR("AccessKeyMetadata/member/Status"))) {
        list->next.active = str_equal(text, STR("Active"));
    } else if (str_ends_with(end, STR("AccessKeyMetadata/member"))) {
        if (list->count == IAM_KEYS_MAX) {
            return err_set(err, ERR_RETRY, "StorageAnswer", "a user has more than %d keys",
                           IAM_KEYS_MAX);
        }
        list->keys[list->count++] = list->next;
        list->next = (struct iam_key){0};
    }
    return 0;
}

int iam_key_list(struct iam *iam, const struct call *call, const char *user,
                 struct iam_key ret[IAM_KEYS_MAX], size_t *ret_count, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct action action = {"ListAccessKeys", {{"UserName", user}}, .reads = true};
    struct key_list list = {.keys = ret};

    if (perform(iam, call, &action, &answer, err) ||
        xml_read(buf_str(&answer.http.body), on_key_element, &list, err)) {
        return -1;
    }
    *ret_count = list.count;
    return 0;
}

struct new_key {
    char *id;
    struct secret *secret;
};

static int on_new_key_element(void *context, const char *path, struct str text, struct err *err)
{
    struct new_key *key = context;
    struct str end = str_from(path);

    if (str_ends_with(end, STR("AccessKey/AccessKeyId"))) {
        return copy_text(key->id, IAM_KEY_BYTES, text, err);
    }
    if (str_ends_with(end, STR("AccessKey/SecretAccessKey"))) {
        secret_set(key->secret, text);
    }
    return 0;
}

int iam_key_create(struct iam *iam, const struct call *call, const char *user,
                   char ret_id[IAM_KEY_BYTES], struct secret *ret_secret, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct action action = {"CreateAccessKey", {{"UserName", user}}, .once = true};
    struct new_key key = {ret_id, ret_secret};

    ret_id[0] = '\0';
    if (perform(iam, call, &action, &answer, err)) {
        return -1;
    }
    int result = xml_read(buf_str(&answer.http.body), on_new_key_element, &key, err);
    explicit_bzero(answer.http.body.ptr, answer.http.body.len);
    if (result == 0 && (!ret_id[0] || secret_is_empty(ret_secret))) {
        return err_set(err, ERR_RETRY, "StorageAnswer", "a key was made without id or secret");
    }
    return result;
}

int iam_key_set_active(struct iam *iam, const struct call *call, const char *user, const char *id,
                       bool active, struct err *err)
{
    const struct action action = {
        "UpdateAccessKey",
        {{"UserName", user}, {"AccessKeyId", id}, {"Status", active ? "Active" : "Inactive"}},
        .once = false};
    return perform_simple(iam, call, &action, false, err);
}

int iam_key_delete(struct iam *iam, const struct call *call, const char *user, const char *id,
                   struct err *err)
{
    const struct action action = {
        "DeleteAccessKey", {{"UserName", user}, {"AccessKeyId", id}}, .once = false};
    return perform_simple(iam, call, &action, true, err);
}

/* ---- policies ---- */

static int on_policy_element(void *context, const char *path, struct str text, struct err *err)
{
    struct buf *document = context;
    (void)err;
    if (str_ends_with(str_from(path), STR("PolicyDocument"))) {
        buf_clear(document);
        (void)buf_append_str(document, text);
    }
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Documents come percent-encoded (RFC 3986). */
static void append_decoded(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        int high = c == '%' && i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high * 16 + low);
            i += 2;
        }
        (void)buf_append_char(out, c);
    }
}

int iam_policy(struct iam *iam, const struct call *call, const char *user, const char *policy,
               struct buf *ret, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    AUTO(buf) struct buf document = BUF((size_t)IAM_POLICY_MAX_BYTES * 3);
    const struct action action = {
        "GetUserPolicy", {{"UserName", user}, {"PolicyName", policy}}, .reads = true};

    if (perform(iam, call, &action, &answer, err) ||
        xml_read(buf_str(&answer.http.body), on_policy_element, &document, err)) {
        return -1;
    }
    append_decoded(ret, buf_str(&document));
    return 0;
}

int iam_policy_put(struct iam *iam, const struct call *call, const char *user, const char *policy,
                   const char *document, struct err *err)
{
    const struct action action = {
        "PutUserPolicy",
        {{"UserName", user}, {"PolicyName", policy}, {"PolicyDocument", document}},
        .once = false};
    return perform_simple(iam, call, &action, false, err);
}

int iam_policy_delete(struct iam *iam, const struct call *call, const char *user,
                      const char *policy, struct err *err)
{
    const struct action action = {
        "DeleteUserPolicy", {{"UserName", user}, {"PolicyName", policy}}, .once = false};
    return perform_simple(iam, call, &action, true, err);
}
