/* An S3 client: buckets, objects, streams in and out. Over one keep-alive connection pool; each
 * request signed with a cached key; answers parsed by expat within bounds; tried again by error
 * code where that helps. Every operation may be repeated safely. Thread-safe, blocking, honours the
 * call's deadline, cancellation and, before writes, fence. Reference: Amazon S3 API Reference
 * (version 2006-03-01); VersityGW, Ceph RGW and Garage speak the same.
 *
 * Errors of all functions are those of aws_perform (aws.h), of which callers act on
 * NOT_FOUND/NotFound, TERMINAL/StorageNotImplemented (this server lacks the feature),
 * RETRY/StorageForbidden and RETRY/StorageUnreachable (aws_err_unreachable: what a backend counts).
 *
 * Stable, and what snapshots build on: s3_upload_*, s3_get, s3_head, s3_list_objects, s3_delete. */
#ifndef TENANTRY_DRIVERS_S3_H
#define TENANTRY_DRIVERS_S3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "controller/base/str.h"
#include "controller/net/http_client.h"

struct s3;

struct s3_config {
    const char *endpoint; /* http or https URL */
    const char *region;
    bool path_style; /* http://host/bucket/key; else http://bucket.host/key */
    const char *access_key;
    const struct secret *secret_key;
    /* The account that every bucket must belong to (x-amz-expected-bucket-owner); NULL: not asked.
     */
    const char *bucket_owner;
};

/* One identity at one store. http is borrowed, and shared by any number of these. Texts are copied.
 * Errors: TERMINAL/InvalidRequest (no URL). */
MUST_CHECK int s3_new(struct http_client *http, const struct s3_config *config, struct s3 **ret,
                      struct err *err);
void s3_free(struct s3 *s3);
AUTO_DEFINE(s3, struct s3 *, s3_free)
/* An HTTP client as S3 servers want it: keep-alive over HTTP/1.1, no compression. ca_pem NULL: the
 * system's authorities. */
MUST_CHECK int s3_http_client_new(const char *name, const char *ca_pem, struct http_client **ret,
                                  struct err *err);

/* ---- buckets (s3_bucket.c) ---- */

struct s3_tag {
    const char *key;
    const char *value;
};
enum { S3_TAGS_MAX = 8 };

/* The bucket exists, with these tags from its first moment on, where the server can do that.
 * *ret_created: false when it was there already and belongs to this account (then its tags are
 * untouched). Errors: TERMINAL/NameConflict when it belongs to another one. */
MUST_CHECK int s3_bucket_create(struct s3 *s3, const struct call *call, const char *bucket,
                                const struct s3_tag *tags, size_t tag_count, bool *ret_created,
                                struct err *err);
/* Deletes an empty bucket; one that is not there counts as deleted. CONFLICT/Conflict: not empty.
 */
MUST_CHECK int s3_bucket_delete(struct s3 *s3, const struct call *call, const char *bucket,
                                struct err *err);
/* Whether it is there and this key may see it. */
MUST_CHECK int s3_bucket_head(struct s3 *s3, const struct call *call, const char *bucket,
                              struct err *err);

/* Tags as "key\0value\0…" pairs in *ret; no tag set is an empty one. */
struct s3_tags {
    struct buf text;
    struct s3_tag tags[50]; /* into text */
    size_t count;
};
void s3_tags_release(struct s3_tags *tags);
static inline void auto_release_s3_tags(struct s3_tags *tags)
{
    s3_tags_release(tags);
}
MUST_CHECK int s3_bucket_tags(struct s3 *s3, const struct call *call, const char *bucket,
                              struct s3_tags *ret, struct err *err);
const char *s3_tags_get(const struct s3_tags *tags, const char *key); /* NULL if there is none */
MUST_CHECK int s3_bucket_set_tags(struct s3 *s3, const struct call *call, const char *bucket,
                                  const struct s3_tag *tags, size_t tag_count, struct err *err);

MUST_CHECK int s3_bucket_versioning(struct s3 *s3, const struct call *call, const char *bucket,
                                    bool *ret_enabled, struct err *err);
MUST_CHECK int s3_bucket_set_versioning(struct s3 *s3, const struct call *call, const char *bucket,
                                        struct err *err);

/* A bucket's configuration of one kind ("policy", "lifecycle", "encryption", "publicAccessBlock",
 * "object-lock") as the server writes it. */
MUST_CHECK int s3_bucket_config(struct s3 *s3, const struct call *call, const char *bucket,
                                const char *kind, struct buf *ret, struct err *err);
MUST_CHECK int s3_bucket_set_config(struct s3 *s3, const struct call *call, const char *bucket,
                                    const char *kind, struct str text, struct err *err);
MUST_CHECK int s3_bucket_delete_config(struct s3 *s3, const struct call *call, const char *bucket,
                                       const char *kind, struct err *err);

/* ---- lists and deletion (s3_list.c, s3_delete.c) ---- */

struct s3_item {
    const char *key;
    const char *version; /* "" of a plain list */
    int64_t size_bytes;
    int64_t modified_s;
    bool latest;
    bool delete_marker;
};
/* Called once an item, in the order of the server. The item is valid during the call. -1 with *err
 * ends the list. */
typedef int (*s3_item_fn)(void *context, const struct s3_item *item, struct err *err);

/* Every object whose key begins with prefix ("" = all), page by page of 1000. */
MUST_CHECK int s3_list_objects(struct s3 *s3, const struct call *call, const char *bucket,
                               const char *prefix, s3_item_fn on_item, void *context,
                               struct err *err);
/* The same with every version and delete marker. */
MUST_CHECK int s3_list_versions(struct s3 *s3, const struct call *call, const char *bucket,
                                const char *prefix, s3_item_fn on_item, void *context,
                                struct err *err);
/* Every multipart upload under way: key, version (its upload id), modified_s (when it began). */
MUST_CHECK int s3_list_uploads(struct s3 *s3, const struct call *call, const char *bucket,
                               s3_item_fn on_item, void *context, struct err *err);

/* Objects or versions to be deleted together: add, and it goes out by itself whenever 1000 are
 * together; finish sends the rest. What is gone already counts as deleted. */
struct s3_batch;
struct s3_batch *s3_batch_new(struct s3 *s3, const struct call *call, const char *bucket);
void s3_batch_free(struct s3_batch *batch);
AUTO_DEFINE(s3_batch, struct s3_batch *, s3_batch_free)
/* version "" = the object itself (on a versioned bucket that makes a delete marker).
 * Errors: RETRY/StorageForbidden with key and reason when the server keeps one (an object lock). */
MUST_CHECK int s3_batch_add(struct s3_batch *batch, const char *key, const char *version,
                            struct err *err);
MUST_CHECK int s3_batch_finish(struct s3_batch *batch, struct err *err);
size_t s3_batch_deleted(const struct s3_batch *batch);

/* One object; "" = the object itself. Gone already is success. */
MUST_CHECK int s3_delete(struct s3 *s3, const struct call *call, const char *bucket,
                         const char *key, const char *version, struct err *err);
MUST_CHECK int s3_abort_upload(struct s3 *s3, const struct call *call, const char *bucket,
                               const char *key, const char *upload_id, struct err *err);
/* Nothing is left in the bucket: no upload under way, no version, no delete marker.
 * *ret_deleted (may be NULL) counts what went. Errors: as s3_batch_add. */
MUST_CHECK int s3_bucket_empty(struct s3 *s3, const struct call *call, const char *bucket,
                               size_t *ret_deleted, struct err *err);

/* ---- objects (s3_object.c, s3_upload.c) ---- */

/* A small object in one request. */
MUST_CHECK int s3_put(struct s3 *s3, const struct call *call, const char *bucket, const char *key,
                      struct str body, struct err *err);
/* The object's bytes, piece by piece: on_data as in http_client.h, called on another thread. After
 * an error what was given so far is no whole object. timeout_ms: of the whole; 0 = the call's. */
MUST_CHECK int s3_get(struct s3 *s3, const struct call *call, const char *bucket, const char *key,
                      http_data_fn on_data, void *context, struct err *err);
struct s3_object_info {
    int64_t size_bytes;
    char etag[128];
};
MUST_CHECK int s3_head(struct s3 *s3, const struct call *call, const char *bucket, const char *key,
                       struct s3_object_info *ret, struct err *err);

/* A stream of any length, up to 10,000 parts of 16 MiB: written as it comes, sent part by part with
 * a checksum each, visible only once finished, all or nothing. What stays below one part goes in a
 * single request. One thread at a time.
 *
 *     AUTO(s3_upload) struct s3_upload *upload = s3_upload_new(s3, call, bucket, key);
 *     s3_upload_write(upload, piece, err) …
 *     s3_upload_finish(upload, &summary, err)
 *     s3_verify(s3, call, bucket, key, &summary, err)      -- reads it back
 *
 * Freeing an upload that is not finished aborts it at the server, as far as that can be reached;
 * one that a crash left behind is found by s3_list_uploads. */
struct s3_upload;
struct s3_upload *s3_upload_new(struct s3 *s3, const struct call *call, const char *bucket,
                                const char *key);
void s3_upload_free(struct s3_upload *upload);
AUTO_DEFINE(s3_upload, struct s3_upload *, s3_upload_free)
MUST_CHECK int s3_upload_write(struct s3_upload *upload, struct str piece, struct err *err);

struct s3_summary {
    int64_t size_bytes;
    char sha256[65]; /* of the whole stream, in hex */
};
MUST_CHECK int s3_upload_finish(struct s3_upload *upload, struct s3_summary *ret, struct err *err);
/* Read the object and compare: what the store gives back is what was written.
 * Errors: RETRY/StorageMismatch. */
MUST_CHECK int s3_verify(struct s3 *s3, const struct call *call, const char *bucket,
                         const char *key, const struct s3_summary *expected, struct err *err);

#endif
