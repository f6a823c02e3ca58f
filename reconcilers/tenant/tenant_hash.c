#include "reconcilers/model/codec.h"
#include "reconcilers/model/store.h"
#include "reconcilers/model/template.h"
#include "reconcilers/tenant/tenant_internal.h"

/* Raise a number when the step begins to make something else of the same inputs: every tenant is
 * then looked at once after the upgrade. Nothing else about the program counts, so that other
 * upgrades are free. */
static const char step_versions[] =
    "Record=4 Billing=1 Database=1 OwnerCredential=1 Namespace=1 Quotas=1 "
    "Schema=1 DatabaseLogin=1 Owner=1 Extensions=1 Migrations=1 OwnerMail=1 Members=1 Rules=1 "
    "Sandboxes=2 "
    "Buckets=1 StorageUsage=1 StorageFence=1 StorageKeys=1 Monitoring=1 MonitoringObjects=1";

static void append_templates(struct cache *templates, const struct tenant *tenant,
                             const struct tier *tier, struct buf *inputs)
{
    AUTO(arena) struct arena scratch = {0};
    size_t count = 0;
    const struct sandbox *sandboxes = tenant_sandboxes(tenant, tier, &count);

    arena_init(&scratch, 0);
    for (size_t i = 0; i < count; i++) {
        const struct sandbox_template *template_ =
            sandbox_template_find(templates, &scratch, sandbox_template_name(&sandboxes[i]));
        (void)buf_append_char(inputs, template_ ? 'T' : '-');
        if (template_) {
            sandbox_template_spec_pack(template_, inputs);
        }
    }
}

static void append_store(struct cache *stores, const struct tenant *tenant, struct buf *inputs)
{
    AUTO(arena) struct arena scratch = {0};

    arena_init(&scratch, 0);
    const struct object_store *store = object_store_of(stores, &scratch, tenant);
    (void)buf_append_char(inputs, store ? 'O' : '-');
    if (store) {
        object_store_spec_pack(store, inputs);
    }
}

void tenant_inputs_hash(const struct services *services, const struct tenant *tenant,
                        const struct tier *tier, const struct database_server *server,
                        char ret_text[HASH128_TEXT_BYTES])
{
    AUTO(buf) struct buf inputs = BUF(4UL << 20);
    (void)buf_append(&inputs, step_versions, sizeof(step_versions));
    (void)buf_append(&inputs, tenant->uid, strlen(tenant->uid) + 1);
    (void)buf_append(&inputs, tenant->adopt, strlen(tenant->adopt) + 1);
    (void)buf_append(&inputs, tenant->erase_members, strlen(tenant->erase_members) + 1);
    tenant_spec_pack(tenant, &inputs);
    (void)buf_append_char(&inputs, tier ? 'T' : '-');
    if (tier) {
        tier_spec_pack(tier, &inputs);
    }
    (void)buf_append_char(&inputs, server ? 'S' : '-');
    if (server) {
        database_server_spec_pack(server, &inputs);
    }
    append_templates(services->sandbox_templates, tenant, tier, &inputs);
    append_store(services->object_stores, tenant, &inputs);
    hash128_text(hash_128(buf_str(&inputs)), ret_text);
}
