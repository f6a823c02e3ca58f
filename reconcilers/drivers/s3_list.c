/* The three lists of S3: objects, versions, uploads. They differ in the names of their elements and
 * of the markers by which the next page is asked for, which is a table here. */
#include <string.h>

#include "controller/base/clock.h"
#include "reconcilers/drivers/s3_internal.h"
#include "reconcilers/drivers/xml.h"

enum { MARKER_MAX_BYTES = 4096, PAGES_MAX = 1000000 };

/* What a list is asked by, and what its pages call things. */
struct list_kind {
    struct sigv4_pair ask;
    const char *item;                   /* element of an item */
    const char *marker;                 /* element of a delete marker, NULL if there is none */
    const char *version;                /* element in an item */
    const char *time;                   /* the same */
    const char *next_key, *next_key_as; /* element, and the parameter it becomes */
    const char *next_version, *next_version_as; /* NULL if there is none */
};

static const struct list_kind objects = {
    .ask = {"list-type", "2"},
    .item = "Contents",
    .time = "LastModified",
    .next_key = "NextContinuationToken",
    .next_key_as = "continuation-token",
};
static const struct list_kind versions = {
    .ask = {"versions", ""},
    .item = "Version",
    .marker = "DeleteMarker",
    .version = "VersionId",
    .time = "LastModified",
    .next_key = "NextKeyMarker",
    .next_key_as = "key-marker",
    .next_version = "NextVersionIdMarker",
    .next_version_as = "version-id-marker",
};
static const struct list_kind uploads = {
    .ask = {"uploads", ""},
    .item = "Upload",
    .version = "UploadId",
    .time = "Initiated",
    .next_key = "NextKeyMarker",
    .next_key_as = "key-marker",
    .next_version = "NextUploadIdMarker",
    .next_version_as = "upload-id-marker",
};

struct listing {
    const struct list_kind *kind;
    s3_item_fn on_item;
    void *context;
    bool url_encoded; /* the server says so: keys are percent-encoded */
    bool truncated;
    struct buf next_key;
    struct buf next_version;
    /* The item being read. */
    struct buf key;
    struct buf version;
    struct s3_item item;
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* AWS writes a blank as '+' here, as forms do. */
static void append_decoded(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        int high = c == '%' && i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        (void)buf_append_char(out, c);
    }
}

/* "Key" of "Version/Key" when the item is called so; NULL for another element. */
static const char *member_of(const char *path, const char *item)
{
    size_t length = item ? strlen(item) : 0;
    if (length == 0 || strncmp(path, item, length) != 0 || path[length] != '/') {
        return NULL;
    }
    return path + length + 1;
}

static int keep_member(struct listing *listing, const char *member, struct str text,
                       struct err *err)
{
    const struct list_kind *kind = listing->kind;
    struct s3_item *item = &listing->item;
    int64_t time_us = 0;
    bool good = true;

    if (text_equal(member, "Key")) {
        buf_clear(&listing->key);
        good = buf_append_str(&listing->key, text);
    } else if (kind->version && text_equal(member, kind->version)) {
        buf_clear(&listing->version);
        good = buf_append_str(&listing->version, text);
    } else if (text_equal(member, "Size")) {
        good = str_to_int64(text, &item->size_bytes) && item->size_bytes >= 0;
    } else if (text_equal(member, "IsLatest")) {
        item->latest = str_equal(text, STR("true"));
    } else if (text_equal(member, kind->time)) {
        good = clock_parse(text, &time_us);
        item->modified_s = time_us / 1000000;
    }
    return good ? 0
                : err_set(err, ERR_RETRY, "StorageAnswer",
                          "\"%s\" of a listed object cannot be read", member);
}

/* Keys come percent-encoded if the server did as it was asked. EncodingType, which tells, may stand
 * behind the items, and is therefore read in a pass of its own. */
static int give_item(struct listing *listing, bool is_marker, struct err *err)
{
    AUTO(buf) struct buf decoded = BUF(MARKER_MAX_BYTES);
    struct s3_item item = listing->item;

    append_decoded(&decoded, buf_str(&listing->key));
    item.key = listing->url_encoded ? buf_text(&decoded) : buf_text(&listing->key);
    item.version = buf_text(&listing->version);
    item.delete_marker = is_marker;
    listing->item = (struct s3_item){0};
    if (text_is_empty(item.key)) {
        return err_set(err, ERR_RETRY, "StorageAnswer", "a listed object has no key");
    }
    int result = listing->on_item(listing->context, &item, err);
    buf_clear(&listing->version);
    return result;
}

static int keep_marker(struct buf *marker, struct str text, struct err *err)
{
    buf_clear(marker);
    return buf_append_str(marker, text)
               ? 0
               : err_set(err, ERR_RETRY, "StorageAnswer", "the marker of a list is too long");
}

static int on_list_element(void *context, const char *path, struct str text, struct err *err)
{
    struct listing *listing = context;
    const struct list_kind *kind = listing->kind;
    const char *member = member_of(path, kind->item);

    member = member ? member : member_of(path, kind->marker);
    if (member) {
        return keep_member(listing, member, text, err);
    }
    bool is_marker = kind->marker && text_equal(path, kind->marker);
    if (is_marker || text_equal(path, kind->item)) {
        return give_item(listing, is_marker, err);
    }
    if (text_equal(path, "IsTruncated")) {
        listing->truncated = str_equal(text, STR("true"));
    } else if (text_equal(path, kind->next_key)) {
        return keep_marker(&listing->next_key, text, err);
    } else if (kind->next_version && text_equal(path, kind->next_version)) {
        return keep_marker(&listing->next_version, text, err);
    }
    return 0;
}

static int on_encoding_element(void *context, const char *path, struct str text, struct err *err)
{
    bool *encoded = context;
    (void)err;
    *encoded |= text_equal(path, "EncodingType") && str_equal(text, STR("url"));
    return 0;
}

static void decode_marker(struct listing *listing)
{
    AUTO(buf) struct buf decoded = BUF(MARKER_MAX_BYTES);
    /* A continuation token is opaque and never encoded. */
    if (!listing->url_encoded || !listing->kind->next_version) {
        return;
    }
    append_decoded(&decoded, buf_str(&listing->next_key));
    buf_clear(&listing->next_key);
    (void)buf_append_str(&listing->next_key, buf_str(&decoded));
}

static int read_page(struct s3 *s3, const struct call *call, const char *bucket, const char *prefix,
                     struct listing *listing, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct list_kind *kind = listing->kind;
    struct sigv4_pair query[S3_QUERY_MAX];
    size_t count = 0;

    query[count++] = kind->ask;
    query[count++] = (struct sigv4_pair){"encoding-type", "url"};
    if (!text_is_empty(prefix)) {
        query[count++] = (struct sigv4_pair){"prefix", prefix};
    }
    if (listing->next_key.len > 0) {
        query[count++] = (struct sigv4_pair){kind->next_key_as, buf_text(&listing->next_key)};
    }
    if (listing->next_version.len > 0) {
        query[count++] =
            (struct sigv4_pair){kind->next_version_as, buf_text(&listing->next_version)};
    }
    const struct s3_request request = {
        .method = "GET", .bucket = bucket, .query = query, .query_count = count};
    if (s3_perform(s3, call, &request, &answer, err)) {
        return -1;
    }
    listing->truncated = false;
    listing->url_encoded = false;
    struct str page = buf_str(&answer.http.body);
    buf_clear(&listing->next_key);
    buf_clear(&listing->next_version);
    if (xml_read(page, on_encoding_element, &listing->url_encoded, err) ||
        xml_read(page, on_list_element, listing, err)) {
        return err_wrap(err, "list of bucket \"%s\"", bucket);
    }
    decode_marker(listing);
    return 0;
}

static int list(struct s3 *s3, const struct call *call, const char *bucket, const char *prefix,
                struct listing *listing, struct err *err)
{
    for (int pages = 0; pages < PAGES_MAX; pages++) {
        if (read_page(s3, call, bucket, prefix, listing, err)) {
            return -1;
        }
        if (!listing->truncated) {
            return 0;
        }
        if (listing->next_key.len == 0) {
            break;
        }
    }
    return err_set(err, ERR_RETRY, "StorageAnswer",
                   "the list of bucket \"%s\" does not end, or does not say how it goes on",
                   bucket);
}

static int list_kind(struct s3 *s3, const struct call *call, const char *bucket, const char *prefix,
                     const struct list_kind *kind, s3_item_fn on_item, void *context,
                     struct err *err)
{
    struct listing listing = {.kind = kind,
                              .on_item = on_item,
                              .context = context,
                              .next_key = BUF(MARKER_MAX_BYTES),
                              .next_version = BUF(MARKER_MAX_BYTES),
                              .key = BUF(MARKER_MAX_BYTES),
                              .version = BUF(MARKER_MAX_BYTES)};
    int result = list(s3, call, bucket, prefix, &listing, err);
    buf_release(&listing.next_key);
    buf_release(&listing.next_version);
    buf_release(&listing.key);
    buf_release(&listing.version);
    return result;
}

int s3_list_objects(struct s3 *s3, const struct call *call, const char *bucket, const char *prefix,
                    s3_item_fn on_item, void *context, struct err *err)
{
    return list_kind(s3, call, bucket, prefix, &objects, on_item, context, err);
}

int s3_list_versions(struct s3 *s3, const struct call *call, const char *bucket, const char *prefix,
                     s3_item_fn on_item, void *context, struct err *err)
{
    return list_kind(s3, call, bucket, prefix, &versions, on_item, context, err);
}

int s3_list_uploads(struct s3 *s3, const struct call *call, const char *bucket, s3_item_fn on_item,
                    void *context, struct err *err)
{
    return list_kind(s3, call, bucket, "", &uploads, on_item, context, err);
}
