/* Bodies that carry secret values live in buffers that are wiped before they are freed, and that
 * are made large enough at first: growing would leave a copy behind in freed memory. */
#include "controller/kube/secret_object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/arena.h"
#include "controller/base/jsonr.h"
#include "controller/base/jsonw.h"
#include "controller/base/str.h"

enum {
    BODY_MAX_BYTES = 4 * 1024 * 1024, /* the server's own limit of an object is below */
    VALUE_MAX_BYTES = 1024 * 1024,    /* of a whole Secret, by the API's rules */
    EXPECTED_BYTES = 32 * 1024,
};

/* ---- buffers that are wiped ---- */

static void reserve(struct buf *buf, size_t bytes)
{
    static const char blank[4096];
    while (buf->capacity < bytes && buf_append(buf, blank, sizeof(blank))) {
    }
    buf_clear(buf);
}

static void auto_release_wiped(struct buf *buf)
{
    if (buf->ptr) {
        explicit_bzero(buf->ptr, buf->capacity);
    }
    buf_release(buf);
}

/* ---- values ---- */

void kube_secret_release(struct kube_secret *secret)
{
    for (size_t i = 0; i < secret->count; i++) {
        secret_release(&secret->entries[i].value);
    }
    memset(secret, 0, sizeof(*secret));
}

const struct secret *kube_secret_get(const struct kube_secret *secret, const char *name)
{
    for (size_t i = 0; i < secret->count; i++) {
        if (strcmp(secret->entries[i].name, name) == 0) {
            return &secret->entries[i].value;
        }
    }
    return NULL;
}

/* The value to fill under this name, made if need be; NULL when the name or the number is too
 * large. */
static struct secret *place_for(struct kube_secret *secret, struct str name)
{
    for (size_t i = 0; i < secret->count; i++) {
        if (str_equal_c(name, secret->entries[i].name)) {
            return &secret->entries[i].value;
        }
    }
    if (secret->count == KUBE_SECRET_ENTRIES_MAX || name.len >= sizeof(secret->entries[0].name)) {
        return NULL;
    }
    struct kube_secret_entry *entry = &secret->entries[secret->count++];
    memcpy(entry->name, name.ptr, name.len);
    entry->name[name.len] = '\0';
    secret_init(&entry->value);
    return &entry->value;
}

static struct secret *own_place_for(struct kube_secret *secret, const char *name)
{
    struct secret *value = place_for(secret, str_from(name));
    if (!value) {
        (void)fprintf(stderr, "secret entry %s: too many entries, or too long a name\n", name);
        abort();
    }
    return value;
}

void kube_secret_put(struct kube_secret *secret, const char *name, const struct secret *value)
{
    secret_copy(own_place_for(secret, name), value);
}

void kube_secret_put_text(struct kube_secret *secret, const char *name, const char *text)
{
    secret_set(own_place_for(secret, name), str_from(text));
}

bool kube_secret_equal(const struct kube_secret *a, const struct kube_secret *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; i < a->count; i++) {
        const struct secret *other = kube_secret_get(b, a->entries[i].name);
        equal = other && secret_equal(&a->entries[i].value, other) && equal;
    }
    return equal;
}

/* ---- reading ---- */

/* One entry of "data". Past our limits it is not ours, and left out. */
static int read_entry(struct jsonr *reader, struct str name, struct kube_secret *ret,
                      struct err *err)
{
    AUTO(wiped) struct buf decoded = BUF(VALUE_MAX_BYTES);
    struct str encoded;

    if (!jsonr_raw_string(reader, &encoded)) {
        return jsonr_failed(reader)
                   ? err_set(err, ERR_TERMINAL, "InvalidObject", "malformed answer of the server")
                   : 0; /* null: an empty value, as the server reads it too */
    }
    reserve(&decoded, encoded.len / 4 * 3 + 4);
    if (!buf_decode_base64(&decoded, encoded)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "an entry is not in base64");
    }
    struct secret *value = place_for(ret, name);
    if (value) {
        secret_set(value, buf_str(&decoded));
    }
    return 0;
}

static int read_data(struct jsonr *reader, struct kube_secret *ret, struct err *err)
{
    struct str name;
    if (!jsonr_object_begin(reader)) {
        return 0; /* null, or absent */
    }
    while (jsonr_member(reader, &name)) {
        if (read_entry(reader, name, ret, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_entries(struct str json, struct kube_secret *ret, struct err *err)
{
    struct jsonr reader;
    struct str name;
    jsonr_init(&reader, json);
    if (jsonr_object_begin(&reader)) {
        while (jsonr_member(&reader, &name)) {
            if (!str_equal(name, STR("data"))) {
                jsonr_skip(&reader);
            } else if (read_data(&reader, ret, err) < 0) {
                return -1;
            }
        }
    }
    return jsonr_failed(&reader)
               ? err_set(err, ERR_TERMINAL, "InvalidObject", "malformed answer of the server")
               : 0;
}

static int copy_text(char *out, size_t size, const char *text, const char *what, struct err *err)
{
    if (strlen(text) >= size) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "%s is too long", what);
    }
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

static int read_meta(struct str json, const char *owner_label, struct kube_secret *ret,
                     struct err *err)
{
    AUTO(arena) struct arena arena = {0};
    struct kube_meta meta;
    if (kube_object_meta(json, &arena, &meta, err) < 0) {
        return -1;
    }
    const char *owner = kube_pair_get(meta.labels, meta.label_count, owner_label);
    return copy_text(ret->uid, sizeof(ret->uid), meta.uid, "uid", err) < 0 ||
                   copy_text(ret->resource_version, sizeof(ret->resource_version),
                             meta.resource_version, "resourceVersion", err) < 0 ||
                   copy_text(ret->owner_uid, sizeof(ret->owner_uid), owner ? owner : "",
                             owner_label, err) < 0
               ? -1
               : 0;
}

int kube_secret_fetch(struct kube_client *client, const struct call *call, const char *namespace_,
                      const char *name, const char *owner_label, struct kube_secret *ret,
                      struct err *err)
{
    const struct kube_ref ref = {.resource = &KUBE_SECRETS, .namespace_ = namespace_, .name = name};
    AUTO(wiped) struct buf body = BUF(BODY_MAX_BYTES);

    reserve(&body, EXPECTED_BYTES);
    if (kube_get(client, call, &ref, &body, err) < 0) {
        return -1;
    }
    struct kube_secret read = {.count = 0};
    if (read_meta(buf_str(&body), owner_label, &read, err) < 0 ||
        read_entries(buf_str(&body), &read, err) < 0) {
        kube_secret_release(&read);
        return err_wrap(err, "secret %s/%s", namespace_, name);
    }
    *ret = read;
    return 0;
}

/* ---- writing ---- */

static void write_entries(struct jsonw *writer, const struct kube_secret *content)
{
    jsonw_object(writer, "data");
    for (size_t i = 0; i < content->count; i++) {
        const struct secret *value = &content->entries[i].value;
        AUTO(wiped) struct buf encoded = BUF((size_t)VALUE_MAX_BYTES * 2);
        reserve(&encoded, secret_length(value) / 3 * 4 + 8);
        buf_append_base64(&encoded, secret_bytes(value), secret_length(value));
        if (buf_failed(&encoded)) {
            buf_fail(writer->out);
        }
        jsonw_str(writer, content->entries[i].name, buf_str(&encoded));
    }
    jsonw_end_object(writer);
}

static void write_secret(struct jsonw *writer, const char *namespace_, const char *name,
                         const struct kube_pair *labels, size_t label_count,
                         const struct kube_secret *content)
{
    jsonw_object(writer, NULL);
    jsonw_text(writer, "apiVersion", "v1");
    jsonw_text(writer, "kind", KUBE_SECRETS.kind);
    jsonw_object(writer, "metadata");
    jsonw_text(writer, "name", name);
    jsonw_text(writer, "namespace", namespace_);
    jsonw_object(writer, "labels");
    for (size_t i = 0; i < label_count; i++) {
        jsonw_text(writer, labels[i].name, labels[i].value);
    }
    jsonw_end_object(writer);
    jsonw_end_object(writer);
    jsonw_text(writer, "type", "Opaque");
    write_entries(writer, content);
    jsonw_end_object(writer);
}

int kube_secret_apply(struct kube_client *client, const struct call *call, const char *namespace_,
                      const char *name, const char *manager, const struct kube_pair *labels,
                      size_t label_count, const struct kube_secret *content, struct err *err)
{
    const struct kube_ref ref = {.resource = &KUBE_SECRETS, .namespace_ = namespace_, .name = name};
    AUTO(wiped) struct buf body = BUF(BODY_MAX_BYTES);
    struct jsonw writer;

    reserve(&body, EXPECTED_BYTES);
    jsonw_init(&writer, &body);
    write_secret(&writer, namespace_, name, labels, label_count, content);
    if (buf_failed(&body)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "secret %s/%s is too large", namespace_,
                       name);
    }
    return kube_apply(client, call, &ref, manager, buf_str(&body), NULL, err);
}
