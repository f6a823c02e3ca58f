/* Buckets and what is configured on them. */
#include <string.h>

#include "reconcilers/drivers/s3_internal.h"
#include "reconcilers/drivers/xml.h"

enum { BODY_MAX_BYTES = 64 * 1024, CONFIG_MAX_BYTES = 1024 * 1024 };

#define XMLNS "http://s3.amazonaws.com/doc/2006-03-01/"

/* ---- existence ---- */

static void append_tags(struct buf *out, const struct s3_tag *tags, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)buf_append_text(out, "<Tag><Key>");
        if (!xml_append(out, str_from(tags[i].key))) {
            buf_fail(out);
        }
        (void)buf_append_text(out, "</Key><Value>");
        if (!xml_append(out, str_from(tags[i].value))) {
            buf_fail(out);
        }
        (void)buf_append_text(out, "</Value></Tag>");
    }
}

/* us-east-1 is the one region that may not be named. */
static int create(struct s3 *s3, const struct call *call, const char *bucket,
                  const struct s3_tag *tags, size_t count, struct aws_answer *ret, struct err *err)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    bool named = !text_equal(s3->region, "us-east-1");

    if (named || count > 0) {
        (void)buf_append_text(&body, "<CreateBucketConfiguration xmlns=\"" XMLNS "\">");
        if (named) {
            (void)buf_append_text(&body, "<LocationConstraint>");
            (void)buf_append_percent(&body, str_from(s3->region));
            (void)buf_append_text(&body, "</LocationConstraint>");
        }
        if (count > 0) {
            (void)buf_append_text(&body, "<Tags>");
            append_tags(&body, tags, count);
            (void)buf_append_text(&body, "</Tags>");
        }
        (void)buf_append_text(&body, "</CreateBucketConfiguration>");
    }
    if (buf_failed(&body)) {
        return err_set(err, ERR_TERMINAL, "InvalidRequest", "the tags cannot be written");
    }
    const struct s3_request request = {.method = "PUT", .bucket = bucket, .body = buf_str(&body)};
    return s3_perform(s3, call, &request, ret, err);
}

/* A server that is older than tags in this request calls it malformed. */
static bool refuses_tags(const struct aws_answer *answer)
{
    return aws_has_code(answer, "MalformedXML") || aws_has_code(answer, "InvalidRequest") ||
           aws_has_code(answer, "NotImplemented");
}

int s3_bucket_create(struct s3 *s3, const struct call *call, const char *bucket,
                     const struct s3_tag *tags, size_t tag_count, bool *ret_created,
                     struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};

    *ret_created = true;
    if (create(s3, call, bucket, tags, tag_count, &answer, err) == 0) {
        return 0;
    }
    if (tag_count > 0 && refuses_tags(&answer)) {
        aws_answer_release(&answer);
        if (create(s3, call, bucket, NULL, 0, &answer, err) == 0) {
            return s3_bucket_set_tags(s3, call, bucket, tags, tag_count, err);
        }
    }
    if (aws_has_code(&answer, "BucketAlreadyOwnedByYou")) {
        *ret_created = false;
        return 0;
    }
    return -1;
}

int s3_bucket_delete(struct s3 *s3, const struct call *call, const char *bucket, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct s3_request request = {.method = "DELETE", .bucket = bucket};

    if (s3_perform(s3, call, &request, &answer, err)) {
        return err->cls == ERR_NOT_FOUND ? 0 : -1;
    }
    return 0;
}

int s3_bucket_head(struct s3 *s3, const struct call *call, const char *bucket, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct s3_request request = {.method = "HEAD", .bucket = bucket};

    return s3_perform(s3, call, &request, &answer, err);
}

/* ---- configuration ---- */

int s3_bucket_config(struct s3 *s3, const struct call *call, const char *bucket, const char *kind,
                     struct buf *ret, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct sigv4_pair query = {kind, ""};
    const struct s3_request request = {
        .method = "GET", .bucket = bucket, .query = &query, .query_count = 1};

    if (s3_perform(s3, call, &request, &answer, err)) {
        return err_wrap(err, "%s", kind);
    }
    buf_clear(ret);
    if (!buf_append_str(ret, buf_str(&answer.http.body))) {
        return err_set(err, ERR_RETRY, "StorageAnswer", "%s of bucket \"%s\" is too long", kind,
                       bucket);
    }
    return 0;
}

int s3_bucket_set_config(struct s3 *s3, const struct call *call, const char *bucket,
                         const char *kind, struct str text, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct sigv4_pair query = {kind, ""};
    const struct s3_request request = {
        .method = "PUT", .bucket = bucket, .query = &query, .query_count = 1, .body = text};

    return s3_perform(s3, call, &request, &answer, err) ? err_wrap(err, "%s", kind) : 0;
}

int s3_bucket_delete_config(struct s3 *s3, const struct call *call, const char *bucket,
                            const char *kind, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct sigv4_pair query = {kind, ""};
    const struct s3_request request = {
        .method = "DELETE", .bucket = bucket, .query = &query, .query_count = 1};

    if (s3_perform(s3, call, &request, &answer, err)) {
        return err->cls == ERR_NOT_FOUND ? 0 : err_wrap(err, "%s", kind);
    }
    return 0;
}

/* ---- tags ---- */

void s3_tags_release(struct s3_tags *tags)
{
    buf_release(&tags->text);
    *tags = (struct s3_tags){0};
}

/* Keys and values one after the other, each ended by a NUL; made into pairs once the text no longer
 * moves. */
static int on_tag_element(void *context, const char *path, struct str text, struct err *err)
{
    struct s3_tags *tags = context;
    bool is_value = text_equal(path, "TagSet/Tag/Value");

    if (!is_value && !text_equal(path, "TagSet/Tag/Key")) {
        return 0;
    }
    if (tags->count == ARRAY_COUNT(tags->tags) || !buf_append_str(&tags->text, text) ||
        !buf_append_char(&tags->text, '\0')) {
        return err_set(err, ERR_RETRY, "StorageAnswer", "a bucket has more tags than there can be");
    }
    tags->count += is_value ? 1 : 0;
    return 0;
}

int s3_bucket_tags(struct s3 *s3, const struct call *call, const char *bucket, struct s3_tags *ret,
                   struct err *err)
{
    AUTO(buf) struct buf xml = BUF(CONFIG_MAX_BYTES);

    *ret = (struct s3_tags){.text = BUF(CONFIG_MAX_BYTES)};
    if (s3_bucket_config(s3, call, bucket, "tagging", &xml, err)) {
        /* A bucket without tags; one that is not there is another matter. */
        return err->cls == ERR_NOT_FOUND && strstr(err->message, "NoSuchTagSet") ? 0 : -1;
    }
    if (xml_read(buf_str(&xml), on_tag_element, ret, err)) {
        s3_tags_release(ret);
        return err_wrap(err, "tags of bucket \"%s\"", bucket);
    }
    const char *at = buf_text(&ret->text);
    for (size_t i = 0; i < ret->count; i++) {
        ret->tags[i].key = at;
        at += strlen(at) + 1;
        ret->tags[i].value = at;
        at += strlen(at) + 1;
    }
    return 0;
}

const char *s3_tags_get(const struct s3_tags *tags, const char *key)
{
    for (size_t i = 0; i < tags->count; i++) {
        if (text_equal(tags->tags[i].key, key)) {
            return tags->tags[i].value;
        }
    }
    return NULL;
}

int s3_bucket_set_tags(struct s3 *s3, const struct call *call, const char *bucket,
                       const struct s3_tag *tags, size_t tag_count, struct err *err)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);

    (void)buf_append_text(&body, "<Tagging xmlns=\"" XMLNS "\"><TagSet>");
    append_tags(&body, tags, tag_count);
    (void)buf_append_text(&body, "</TagSet></Tagging>");
    if (buf_failed(&body)) {
        return err_set(err, ERR_TERMINAL, "InvalidRequest", "the tags cannot be written");
    }
    return s3_bucket_set_config(s3, call, bucket, "tagging", buf_str(&body), err);
}

/* ---- versioning ---- */

static int on_versioning_element(void *context, const char *path, struct str text, struct err *err)
{
    bool *enabled = context;
    (void)err;
    *enabled |= text_equal(path, "Status") && str_equal(text, STR("Enabled"));
    return 0;
}

int s3_bucket_versioning(struct s3 *s3, const struct call *call, const char *bucket,
                         bool *ret_enabled, struct err *err)
{
    AUTO(buf) struct buf xml = BUF(CONFIG_MAX_BYTES);

    *ret_enabled = false;
    if (s3_bucket_config(s3, call, bucket, "versioning", &xml, err)) {
        return -1;
    }
    return xml_read(buf_str(&xml), on_versioning_element, ret_enabled, err);
}

int s3_bucket_set_versioning(struct s3 *s3, const struct call *call, const char *bucket,
                             struct err *err)
{
    return s3_bucket_set_config(s3, call, bucket, "versioning",
                                STR("<VersioningConfiguration xmlns=\"" XMLNS
                                    "\"><Status>Enabled</Status></VersioningConfiguration>"),
                                err);
}
