#include "reconcilers/model/store.h"

#include <string.h>

#include "controller/base/str.h"
#include "controller/runtime/object_type.h"
#include "reconcilers/model/codec_internal.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/words.h"

enum { VERSION_RETENTION_DAYS = 30 };

const struct kube_resource KUBE_OBJECT_STORES = {CODEC_GROUP, CODEC_VERSION, "objectstores",
                                                 "ObjectStore", false};

static const struct field store_credentials_fields[] = {
    TEXT("name", struct object_store, credentials_secret),
    END,
};
static const char *const account_driver_words[] = {"AwsIam", "Static", NULL};
static const struct field accounts_fields[] = {
    ENUM("driver", struct object_store, account_driver, account_driver_words),
    TEXT("endpoint", struct object_store, account_endpoint),
    END,
};
static const struct field store_spec_fields[] = {
    TEXT("endpoint", struct object_store, endpoint),
    TEXT("region", struct object_store, region),
    BOOL("pathStyle", struct object_store, path_style),
    TEXT("caBundle", struct object_store, ca_bundle),
    OBJECT("credentialsSecretRef", store_credentials_fields),
    OBJECT("accounts", accounts_fields),
    TEXT("prefix", struct object_store, prefix),
    TEXT("bucketOwner", struct object_store, bucket_owner),
    INT("versionRetentionDays", struct object_store, version_retention_days),
    RAW("egress", struct object_store, egress),
    END,
};
static const struct field capability_fields[] = {
    BOOL("versioning", struct object_store, capabilities.versioning),
    BOOL("lifecycle", struct object_store, capabilities.lifecycle),
    BOOL("encryption", struct object_store, capabilities.encryption),
    BOOL("tags", struct object_store, capabilities.tags),
    BOOL("policy", struct object_store, capabilities.policy),
    BOOL("publicAccessBlock", struct object_store, capabilities.public_access_block),
    BOOL("objectLock", struct object_store, capabilities.object_lock),
    BOOL("quota", struct object_store, capabilities.quota),
    END,
};
static const struct field store_status_fields[] = {
    INT("observedGeneration", struct object_store, observed_generation),
    INT("tenants", struct object_store, status_tenants),
    INT("probedGeneration", struct object_store, probed_generation),
    OBJECT("capabilities", capability_fields),
    CONDITIONS(struct object_store, conditions),
    END,
};
static const struct field store_fields[] = {
    KEPT_TEXT(struct object_store, uid),
    KEPT_INT(struct object_store, generation),
    KEPT_BOOL(struct object_store, deleting),
    KEPT_BOOL(struct object_store, in_use_label),
    OBJECT("spec", store_spec_fields),
    OBJECT("status", store_status_fields),
    END,
};

int object_store_decode(struct str json, struct arena *arena, struct object_store *ret,
                        struct err *err)
{
    struct kube_meta meta = {0};
    *ret = (struct object_store){.region = "us-east-1",
                                 .version_retention_days = VERSION_RETENTION_DAYS,
                                 .status_tenants = -1,
                                 .probed_generation = -1,
                                 .observed_generation = -1};
    if (object_read(json, arena, store_fields, &meta, ret, err)) {
        return -1;
    }
    ret->name = meta.name;
    ret->uid = meta.uid;
    ret->resource_version = meta.resource_version;
    ret->generation = meta.generation;
    ret->deleting = meta.deletion_timestamp != NULL;
    ret->in_use_label = kube_pair_get(meta.labels, meta.label_count, NAME_LABEL_IN_USE) != NULL;
    return 0;
}

static int pack(struct str json, struct arena *scratch, struct buf *payload,
                struct record_head *ret_head, struct err *err)
{
    struct object_store *store = ARENA_NEW(scratch, struct object_store);
    if (object_store_decode(json, scratch, store, err)) {
        return -1;
    }
    codec_fill_head(ret_head, store->name, store->uid, store->resource_version);
    fields_pack(store_fields, &record_dictionary, store, payload);
    return 0;
}

const struct codec object_store_codec = {.resource = &KUBE_OBJECT_STORES, .pack = pack};

void object_store_unpack(const struct record *record, struct arena *arena, struct object_store *ret)
{
    *ret = (struct object_store){0};
    fields_unpack(store_fields, &record_dictionary, record_payload(record), arena, ret);
    ret->name = arena_strdup(arena, record_key(record));
    ret->resource_version = arena_strdup(arena, record_resource_version(record));
}

void object_store_spec_pack(const struct object_store *store, struct buf *out)
{
    fields_pack(store_spec_fields, NULL, store, out);
    fields_pack(capability_fields, NULL, store, out);
}

/* ---- which one ---- */

struct choice {
    struct arena *arena;
    const char *name;
};

static bool consider(void *context, const struct record *record)
{
    struct choice *choice = context;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct object_store *store = ARENA_NEW(&scratch, struct object_store);
    object_store_unpack(record, &scratch, store);
    if (!store->deleting && (!choice->name || strcmp(store->name, choice->name) < 0)) {
        choice->name = arena_strdup(choice->arena, store->name);
    }
    return true;
}

const char *object_store_choose(struct cache *stores, struct arena *arena)
{
    struct choice choice = {.arena = arena};
    AUTO(record) const struct record *preferred = cache_get(stores, NAME_STORE_DEFAULT);

    if (preferred) {
        return NAME_STORE_DEFAULT;
    }
    cache_each(stores, consider, &choice);
    return choice.name;
}

const struct object_store *object_store_of(struct cache *stores, struct arena *arena,
                                           const struct tenant *tenant)
{
    const char *name = tenant->status.bucket_count > 0 ? tenant->status.buckets[0].store
                                                       : object_store_choose(stores, arena);
    AUTO(record) const struct record *record = text_is_empty(name) ? NULL : cache_get(stores, name);
    if (!record) {
        return NULL;
    }
    struct object_store *store = ARENA_NEW(arena, struct object_store);
    object_store_unpack(record, arena, store);
    return store;
}
