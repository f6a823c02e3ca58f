/* The step OwnerCredential: the owner's temporary password, in a Secret of the operator's namespace
 * that the owner alone may read.
 *
 * It needs no database, so that the slow hash (bcrypt, by design) is computed while CREATE DATABASE
 * runs. What it cannot know is whether the owner has changed the password; the registry's digest
 * tells what the users row had last. No digest: nothing is in force yet, so there must be a Secret,
 * and its hash is computed for the row. A Secret that differs from the digest was edited, or a run
 * ended before the row was written: the Secret counts, and its hash is computed again. A digest
 * without a Secret is for the step Owner to judge, which sees the row: the Secret was lost, or has
 * done its service.
 *
 * Order, as for every secret here: Secret, then the row, then the digest. */
#include <crypt.h>
#include <string.h>

#include "controller/base/str.h"
#include "controller/kube/secret_object.h"
#include "reconcilers/database/owner_internal.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/children.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/registry/registry_mails.h"

enum {
    PASSWORD_CHARACTERS = 24,
    PASSWORD_MIN_CHARACTERS = 16,
    PASSWORD_MAX_CHARACTERS = 72,
    BCRYPT_COST = 12,
    BCRYPT_SALT_BYTES = 16,
};

#define DIGEST_KIND "owner"

/* ---- the hash ---- */

int owner_hash(const struct secret *password, struct secret *ret_hash, struct err *err)
{
    unsigned char salt[BCRYPT_SALT_BYTES];
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    struct crypt_data *data = xcalloc(1, sizeof(*data)); /* 32 KiB */
    const char *hash = NULL;

    random_bytes(salt, sizeof(salt));
    if (crypt_gensalt_rn("$2b$", BCRYPT_COST, (const char *)salt, sizeof(salt), setting,
                         sizeof(setting))) {
        hash = crypt_rn(secret_bytes(password), setting, data, sizeof(*data));
    }
    if (hash) {
        secret_set(ret_hash, str_from(hash));
    }
    explicit_bzero(data, sizeof(*data));
    free(data);
    return hash ? 0
                : err_set(err, ERR_TERMINAL, "HashUnavailable",
                          "the system's libcrypt cannot make bcrypt hashes");
}

bool owner_password_usable(const struct secret *password)
{
    const char *bytes = password ? secret_bytes(password) : "";
    size_t length = password ? secret_length(password) : 0;

    if (length < PASSWORD_MIN_CHARACTERS || length > PASSWORD_MAX_CHARACTERS) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] <= ' ' || bytes[i] > '~') {
            return false;
        }
    }
    return true;
}

static void digest_of(const struct secret *password, char ret_text[SHA256_TEXT_BYTES])
{
    hash_sha256_text((struct str){secret_bytes(password), secret_length(password)}, ret_text);
}

/* ---- who may read it ---- */

static const char *secret_name(struct reconcile *rc, const struct tenant_work *work)
{
    return name_owner_secret(rc->arena, work->tenant->subdomain);
}

enum { RIGHTS = 2 };

static void write_word_array(struct jsonw *writer, const char *name, const char *word)
{
    jsonw_array(writer, name);
    jsonw_text(writer, NULL, word);
    jsonw_end_array(writer);
}

static void want_role(struct arena *arena, const struct tenant_work *work, struct intent *intent)
{
    struct jsonw writer;

    intent_init(arena, intent, CHILD_ROLE, work->services->system_namespace,
                name_owner_secret(arena, work->tenant->subdomain));
    intent_begin(intent, &writer, work, NULL);
    jsonw_array(&writer, "rules");
    jsonw_object(&writer, NULL);
    write_word_array(&writer, "apiGroups", "");
    write_word_array(&writer, "resources", "secrets");
    write_word_array(&writer, "resourceNames", intent->name);
    write_word_array(&writer, "verbs", "get");
    jsonw_end_object(&writer);
    jsonw_end_array(&writer);
    jsonw_end_object(&writer);
}

static void want_binding(struct arena *arena, const struct tenant_work *work, struct intent *intent)
{
    struct jsonw writer;

    intent_init(arena, intent, CHILD_ROLE_BINDING, work->services->system_namespace,
                name_owner_secret(arena, work->tenant->subdomain));
    intent_begin(intent, &writer, work, NULL);
    object_write_binding(&writer, "Role", intent->name, "User", NULL, work->tenant->owner.email);
    jsonw_end_object(&writer);
}

static void want_rights(struct arena *arena, const struct tenant_work *work,
                        struct intent intents[])
{
    want_role(arena, work, &intents[0]);
    want_binding(arena, work, &intents[1]);
}

/* One after the other: nobody may bind to a role that is not there. */
static int ensure_rights(struct reconcile *rc, const struct tenant_work *work, struct err *err)
{
    struct intent intents[RIGHTS];
    enum child_fate fate;

    want_rights(rc->arena, work, intents);
    int result = children_ensure(rc, work, &intents[0], &fate, err) ||
                         children_ensure(rc, work, &intents[1], &fate, err)
                     ? -1
                     : 0;
    intents_release(intents, RIGHTS);
    return result;
}

static bool is_seen(const struct services *services, struct arena *arena,
                    const struct intent *intent)
{
    struct child child = {0};

    return children_get(services->children, arena, intent->kind, intent->namespace_, intent->name,
                        &child);
}

bool owner_rights_stand(const struct services *services, struct arena *arena,
                        const struct tenant *tenant)
{
    struct tenant_work *work = ARENA_NEW(arena, struct tenant_work);
    struct intent intents[RIGHTS];

    *work = (struct tenant_work){.services = services, .tenant = tenant};
    want_rights(arena, work, intents);
    bool gone = !is_seen(services, arena, &intents[0]) && !is_seen(services, arena, &intents[1]);
    bool stand = gone || children_stand(services, arena, tenant, intents, RIGHTS);
    intents_release(intents, RIGHTS);
    return stand;
}

/* ---- the Secret ---- */

static int fetch(struct reconcile *rc, const struct tenant_work *work, struct kube_secret *ret,
                 bool *ret_found, struct err *err)
{
    const char *namespace_ = work->services->system_namespace;

    *ret_found = true;
    if (kube_secret_fetch(work->services->kube, &rc->call, namespace_, secret_name(rc, work),
                          NAME_LABEL_TENANT_UID, ret, err)) {
        *ret_found = false;
        return err->cls == ERR_NOT_FOUND ? 0 : -1;
    }
    bool own =
        text_equal(ret->owner_uid, work->tenant->uid) || (*ret->owner_uid && object_adopts(work));
    return own ? 0
               : object_refuse(work, "secret", namespace_, secret_name(rc, work), ret->owner_uid,
                               err);
}

/* The Secret with the address and the password in work. */
static int apply(struct reconcile *rc, const struct tenant_work *work, struct err *err)
{
    AUTO(kube_secret) struct kube_secret content = {0};
    struct kube_pair labels[3];
    size_t count = work_labels(work, labels);

    kube_secret_put_text(&content, "email", work->tenant->owner.email);
    kube_secret_put(&content, "password", &work->owner_password);
    return kube_secret_apply(work->services->kube, &rc->call, work->services->system_namespace,
                             secret_name(rc, work), NAME_MANAGER, labels, count, &content, err);
}

static bool is_current(const struct tenant_work *work, const struct kube_secret *secret)
{
    const struct secret *email = kube_secret_get(secret, "email");
    const struct secret *password = kube_secret_get(secret, "password");

    return text_equal(secret->owner_uid, work->tenant->uid) && email && password &&
           text_equal(secret_bytes(email), work->tenant->owner.email) &&
           secret_equal(password, &work->owner_password);
}

int owner_credential_renew(struct reconcile *rc, struct tenant_work *work, struct err *err)
{
    secret_generate(&work->owner_password, PASSWORD_CHARACTERS);
    work->owner_password_fresh = true;
    return ensure_rights(rc, work, err) || apply(rc, work, err) ||
                   owner_hash(&work->owner_password, &work->owner_hash, err)
               ? -1
               : 0;
}

int owner_credential_again(struct reconcile *rc, struct tenant_work *work, bool *ret_same,
                           struct err *err)
{
    AUTO(kube_secret) struct kube_secret secret = {0};
    bool found = false;

    if (fetch(rc, work, &secret, &found, err)) {
        return -1;
    }
    const struct secret *password = kube_secret_get(&secret, "password");
    if (!found || !owner_password_usable(password)) {
        return err_set(err, ERR_CONFLICT, "Conflict", "somebody else changes the owner's Secret");
    }
    *ret_same = secret_equal(password, &work->owner_password);
    if (*ret_same) {
        return 0;
    }
    secret_copy(&work->owner_password, password);
    return owner_hash(password, &work->owner_hash, err);
}

int owner_credential_confirm(struct reconcile *rc, const struct tenant_work *work, struct err *err)
{
    char digest[SHA256_TEXT_BYTES];

    digest_of(&work->owner_password, digest);
    return registry_digest_put(work->services->registry, rc, work->tenant_id, DIGEST_KIND, digest,
                               err);
}

/* The Secret goes last: as long as it stands, the rest is looked for again. */
int owner_credential_remove(struct reconcile *rc, const struct tenant_work *work, struct err *err)
{
    const char *namespace_ = work->services->system_namespace;
    const char *name = secret_name(rc, work);
    const struct kube_ref secret = {&KUBE_SECRETS, namespace_, name, NULL};

    return children_delete(rc, work, CHILD_ROLE_BINDING, namespace_, name, err) ||
                   children_delete(rc, work, CHILD_ROLE, namespace_, name, err) ||
                   object_delete_own(rc, work, &secret, err)
               ? -1
               : 0;
}

/* ---- the step ---- */

/* A temporary password that nobody fetched in its time is worth nothing any more. */
static int replace_expired(struct reconcile *rc, struct tenant_work *work, struct err *err)
{
    int64_t life_s = work->services->owner_password_ms / 1000;
    int64_t age_s = 0;

    if (life_s == 0) {
        return 0;
    }
    if (registry_digest_age(work->services->registry, rc, work->tenant_id, DIGEST_KIND, &age_s,
                            err)) {
        return -1;
    }
    return age_s < life_s ? 0 : owner_credential_renew(rc, work, err);
}

/* There is a Secret: it is the truth, as long as what it holds can be used. */
static int follow(struct reconcile *rc, struct tenant_work *work, const struct kube_secret *secret,
                  const char *in_force, struct err *err)
{
    char digest[SHA256_TEXT_BYTES];
    const struct secret *password = kube_secret_get(secret, "password");

    if (!owner_password_usable(password)) {
        return owner_credential_renew(rc, work, err);
    }
    secret_copy(&work->owner_password, password);
    if (ensure_rights(rc, work, err) || (!is_current(work, secret) && apply(rc, work, err))) {
        return -1;
    }
    digest_of(password, digest);
    return text_equal(digest, in_force) ? replace_expired(rc, work, err)
                                        : owner_hash(password, &work->owner_hash, err);
}

int owner_credential_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    AUTO(kube_secret) struct kube_secret secret = {0};
    char in_force[SHA256_TEXT_BYTES];
    bool found = false;

    if (fetch(rc, work, &secret, &found, err) ||
        registry_digest_get(work->services->registry, rc, work->tenant_id, DIGEST_KIND, in_force,
                            err)) {
        return -1;
    }
    if (found) {
        return follow(rc, work, &secret, in_force, err);
    }
    return *in_force ? 0 : owner_credential_renew(rc, work, err);
}

int owner_credential_finalize(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;

    return owner_credential_remove(rc, work, err);
}
