/* The table is a flat array of pointers, open addressing by a seeded hash of the subdomain; a
 * change copies it, which for ten thousand tenants is a hundred microseconds, away from the
 * requests.
 *
 * Grace: a global epoch goes up with each replacement. A reader publishes the epoch it saw when it
 * entered, and 0 when it left. Table number e may be freed when every reader is either out or
 * entered after it was replaced. The writer waits for that, polling, since readers stay in for the
 * time of one batch of requests, never longer. */
#include "gateway/tenants.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/base/buf.h"
#include "controller/base/hash.h"
#include "controller/base/jsonr.h"
#include "controller/base/map.h"

enum { IDENTITY_MAX_BYTES = 4096, HOST_MAX_BYTES = 253, SUBDOMAIN_MAX_BYTES = 63, GRACE_US = 200 };

struct table {
    size_t capacity; /* a power of two */
    size_t count;
    struct record *slots[];
};

/* On a cache line of its own: every reader writes to it all the time. */
struct reader {
    _Alignas(64) _Atomic uint64_t epoch;
};

struct tenants {
    struct reader readers[TENANTS_READERS_MAX]; /* first, since it is aligned most */
    char *domain;
    _Atomic(struct table *) table;
    _Atomic uint64_t epoch; /* from 1 on */
    atomic_bool loaded;
    pthread_mutex_t lock; /* of lives */
    struct map lives;     /* id → struct live, a reference each */
};

/* ---- lives ---- */

struct live *live_new(const char *id)
{
    struct live *live = xcalloc(1, sizeof(*live));

    atomic_init(&live->refs, 1);
    (void)snprintf(live->id, sizeof(live->id), "%s", id);
    quota_slot_init(&live->requests, live, live->id, "api_requests");
    return live;
}

void live_ref(struct live *live)
{
    (void)atomic_fetch_add(&live->refs, 1);
}

void live_unref(struct live *live)
{
    if (live && atomic_fetch_sub(&live->refs, 1) == 1) {
        quota_slot_release(&live->requests);
        free(live);
    }
}

/* ---- records ---- */

/* A field's value holds visible ASCII; what else a name may have is left out. */
static void append_visible(struct buf *out, const char *text, bool commas)
{
    for (const char *at = text; *at; at++) {
        if (*at > ' ' && *at < 0x7f && (commas || *at != ',')) {
            (void)buf_append_char(out, *at);
        }
    }
}

static void append_features(struct buf *out, const char *features)
{
    AUTO(arena) struct arena arena = {0};
    struct jsonr reader;
    const char *feature = NULL;
    bool first = true;

    arena_init(&arena, 0);
    jsonr_init(&reader, str_from(features));
    if (!jsonr_array_begin(&reader)) {
        return;
    }
    while (jsonr_element(&reader)) {
        if (jsonr_string(&reader, &arena, &feature)) {
            (void)buf_append_text(out, first ? "" : ",");
            append_visible(out, feature, false);
            first = false;
        }
    }
}

static void write_identity(struct buf *out, const struct tenant_facts *facts, bool with_features)
{
    (void)buf_append_text(out, "X-Tenant-ID: ");
    append_visible(out, facts->id, true);
    (void)buf_append_text(out, "\r\nX-Tenant-Tier: ");
    append_visible(out, facts->tier, true);
    (void)buf_append_text(out, "\r\nX-Tenant-Features: ");
    if (with_features) {
        append_features(out, facts->features);
    }
    (void)buf_append_text(out, "\r\n");
}

/* The texts of the facts, in their order, to copy them all in one go. */
static const char **text_at(struct tenant_facts *facts, size_t index)
{
    const char **texts[] = {&facts->id,     &facts->name,     &facts->subdomain,
                            &facts->tier,   &facts->server,   &facts->database,
                            &facts->schema, &facts->settings, &facts->features};

    return index < ARRAY_COUNT(texts) ? texts[index] : NULL;
}

struct record *record_new(const struct tenant_facts *facts, struct live *live)
{
    AUTO(buf) struct buf identity = BUF(IDENTITY_MAX_BYTES);
    struct record *record = xcalloc(1, sizeof(*record));
    size_t bytes = 0;

    atomic_init(&record->refs, 1);
    record->facts = *facts;
    for (size_t i = 0; text_at(&record->facts, i); i++) {
        bytes += strlen(*text_at(&record->facts, i)) + 1;
    }
    write_identity(&identity, facts, true);
    if (buf_failed(&identity)) { /* more than a proxy would take: who it is matters most */
        buf_clear(&identity);
        write_identity(&identity, facts, false);
    }
    char *at = xmalloc(bytes + identity.len + 1);
    record->memory = at;
    for (size_t i = 0; text_at(&record->facts, i); i++) {
        const char **text = text_at(&record->facts, i);
        size_t length = strlen(*text) + 1;
        memcpy(at, *text, length);
        *text = at;
        at += length;
    }
    memcpy(at, buf_text(&identity), identity.len + 1);
    record->identity = (struct str){at, identity.len};
    record->live = live;
    live_ref(live);
    return record;
}

void record_ref(struct record *record)
{
    (void)atomic_fetch_add(&record->refs, 1);
}

void record_unref(struct record *record)
{
    if (record && atomic_fetch_sub(&record->refs, 1) == 1) {
        live_unref(record->live);
        free(record->memory);
        free(record);
    }
}

/* ---- the table ---- */

static struct table *table_new(size_t count)
{
    size_t capacity = 16;

    while (capacity < 2 * count) {
        capacity *= 2;
    }
    struct table *table = xcalloc(1, sizeof(*table) + capacity * sizeof(struct record *));
    table->capacity = capacity;
    return table;
}

static void table_add(struct table *table, struct record *record)
{
    size_t at = hash_table64(str_from(record->facts.subdomain)) & (table->capacity - 1);

    while (table->slots[at]) {
        at = (at + 1) & (table->capacity - 1);
    }
    table->slots[at] = record;
    table->count++;
}

static struct record *table_find(const struct table *table, struct str subdomain)
{
    size_t at = hash_table64(subdomain) & (table->capacity - 1);

    while (table->slots[at]) {
        if (str_equal_c(subdomain, table->slots[at]->facts.subdomain)) {
            return table->slots[at];
        }
        at = (at + 1) & (table->capacity - 1);
    }
    return NULL;
}

static void table_free(struct table *table)
{
    for (size_t i = 0; i < table->capacity; i++) {
        record_unref(table->slots[i]);
    }
    free(table);
}

struct tenants *tenants_new(const char *domain)
{
    struct tenants *tenants = aligned_alloc(64, (sizeof(*tenants) + 63) / 64 * 64);

    if (!tenants) {
        out_of_memory();
    }
    memset(tenants, 0, sizeof(*tenants));
    tenants->domain = xstrdup(domain);
    atomic_init(&tenants->table, table_new(0));
    atomic_init(&tenants->epoch, 1);
    pthread_mutex_init(&tenants->lock, NULL);
    map_init(&tenants->lives);
    return tenants;
}

void tenants_free(struct tenants *tenants)
{
    if (!tenants) {
        return;
    }
    size_t cursor = 0;
    struct str key;
    void *live = NULL;
    table_free(atomic_load(&tenants->table));
    while (map_next(&tenants->lives, &cursor, &key, &live)) {
        live_unref(live);
    }
    map_release(&tenants->lives);
    pthread_mutex_destroy(&tenants->lock);
    free(tenants->domain);
    free(tenants);
}

/* ---- reading ---- */

void tenants_enter(struct tenants *tenants, int reader)
{
    /* Ordered before the load of the table, and against the writer's look at it. */
    atomic_store(&tenants->readers[reader].epoch, atomic_load(&tenants->epoch));
}

void tenants_leave(struct tenants *tenants, int reader)
{
    atomic_store_explicit(&tenants->readers[reader].epoch, 0, memory_order_release);
}

/* The label before the domain, lower-cased into `label`; empty when the host is not one of ours. */
static struct str subdomain_of(const struct tenants *tenants, struct str host, char *label)
{
    size_t domain_length = strlen(tenants->domain);
    const char *colon = memchr(host.ptr, ':', host.len);
    const struct str none = {.ptr = "", .len = 0};

    if (colon) {
        for (const char *digit = colon + 1; digit < host.ptr + host.len; digit++) {
            if (*digit < '0' || *digit > '9') {
                return none;
            }
        }
        host.len = (size_t)(colon - host.ptr);
    }
    if (host.len > 0 && host.ptr[host.len - 1] == '.') {
        host.len--;
    }
    if (host.len < domain_length + 2 || host.len > HOST_MAX_BYTES) {
        return none;
    }
    size_t length = host.len - domain_length - 1;
    if (length > SUBDOMAIN_MAX_BYTES || host.ptr[length] != '.' ||
        strncasecmp(host.ptr + length + 1, tenants->domain, domain_length) != 0) {
        return none;
    }
    for (size_t i = 0; i < length; i++) {
        char byte = host.ptr[i];
        label[i] = (char)(byte >= 'A' && byte <= 'Z' ? byte - 'A' + 'a' : byte);
    }
    return (struct str){label, length};
}

struct record *tenants_find(const struct tenants *tenants, struct str host)
{
    char label[SUBDOMAIN_MAX_BYTES];
    struct str subdomain = host.len > 0 ? subdomain_of(tenants, host, label) : host;

    return subdomain.len > 0 ? table_find(atomic_load(&tenants->table), subdomain) : NULL;
}

bool tenants_is_loaded(const struct tenants *tenants)
{
    return atomic_load(&tenants->loaded);
}

/* ---- replacing ---- */

/* Until no reader can hold what was there before. */
static void wait_for_readers(struct tenants *tenants, uint64_t replaced)
{
    for (int i = 0; i < TENANTS_READERS_MAX; i++) {
        for (;;) {
            uint64_t epoch = atomic_load(&tenants->readers[i].epoch);
            if (epoch == 0 || epoch > replaced) {
                break;
            }
            (void)nanosleep(&(struct timespec){.tv_nsec = GRACE_US * 1000L}, NULL);
        }
    }
}

static void publish(struct tenants *tenants, struct table *fresh)
{
    struct table *old = atomic_exchange(&tenants->table, fresh);
    uint64_t replaced = atomic_fetch_add(&tenants->epoch, 1);

    wait_for_readers(tenants, replaced);
    table_free(old);
}

void tenants_replace(struct tenants *tenants, struct record *const *records, size_t count)
{
    struct table *fresh = table_new(count);

    for (size_t i = 0; i < count; i++) {
        table_add(fresh, records[i]);
    }
    publish(tenants, fresh);
    atomic_store(&tenants->loaded, true);
}

void tenants_put(struct tenants *tenants, const char *id, struct record *record)
{
    const struct table *old = atomic_load(&tenants->table);
    struct table *fresh = table_new(old->count + 1);

    for (size_t i = 0; i < old->capacity; i++) {
        if (old->slots[i] && strcmp(old->slots[i]->facts.id, id) != 0) {
            record_ref(old->slots[i]);
            table_add(fresh, old->slots[i]);
        }
    }
    if (record) {
        table_add(fresh, record);
    }
    publish(tenants, fresh);
    if (!record) {
        pthread_mutex_lock(&tenants->lock);
        struct live *live = map_remove(&tenants->lives, str_from(id));
        pthread_mutex_unlock(&tenants->lock);
        live_unref(live);
    }
}

struct record **tenants_list(struct tenants *tenants, size_t *ret_count)
{
    const struct table *table = atomic_load(&tenants->table);
    struct record **list = xcalloc(table->count + 1, sizeof(struct record *));
    size_t count = 0;

    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i]) {
            record_ref(table->slots[i]);
            list[count++] = table->slots[i];
        }
    }
    *ret_count = count;
    return list;
}

/* ---- what is kept of tenants ---- */

struct live *tenants_live_if_known(struct tenants *tenants, const char *id)
{
    pthread_mutex_lock(&tenants->lock);
    struct live *live = map_get(&tenants->lives, str_from(id));
    if (live) {
        live_ref(live);
    }
    pthread_mutex_unlock(&tenants->lock);
    return live;
}

struct live *tenants_live(struct tenants *tenants, const char *id)
{
    pthread_mutex_lock(&tenants->lock);
    struct live *live = map_get(&tenants->lives, str_from(id));
    if (!live) {
        live = live_new(id);
        (void)map_put(&tenants->lives, str_from(id), live);
    }
    live_ref(live);
    pthread_mutex_unlock(&tenants->lock);
    return live;
}

void tenants_each_live(struct tenants *tenants, void (*visit)(void *context, struct live *live),
                       void *context)
{
    size_t cursor = 0;
    struct str key;
    void *live = NULL;

    pthread_mutex_lock(&tenants->lock);
    while (map_next(&tenants->lives, &cursor, &key, &live)) {
        visit(context, live);
    }
    pthread_mutex_unlock(&tenants->lock);
}
