#include "reconcilers/model/codec.h"
#include "reconcilers/tenant/tenant_internal.h"

/* Raise a number when the step begins to make something else of the same inputs: every tenant is
 * then looked at once after the upgrade. Nothing else about the program counts, so that other
 * upgrades are free. */
static const char step_versions[] = "Record=2 Database=1 OwnerCredential=1 Namespace=1 Quotas=1 "
                                    "Schema=1 DatabaseLogin=1 Owner=1";

void tenant_inputs_hash(const struct tenant *tenant, const struct tier *tier,
                        const struct database_server *server, char ret_text[HASH128_TEXT_BYTES])
{
    AUTO(buf) struct buf inputs = BUF(4UL << 20);
    (void)buf_append(&inputs, step_versions, sizeof(step_versions));
    (void)buf_append(&inputs, tenant->uid, strlen(tenant->uid) + 1);
    (void)buf_append(&inputs, tenant->adopt, strlen(tenant->adopt) + 1);
    tenant_spec_pack(tenant, &inputs);
    (void)buf_append_char(&inputs, tier ? 'T' : '-');
    if (tier) {
        tier_spec_pack(tier, &inputs);
    }
    (void)buf_append_char(&inputs, server ? 'S' : '-');
    if (server) {
        database_server_spec_pack(server, &inputs);
    }
    hash128_text(hash_128(buf_str(&inputs)), ret_text);
}
