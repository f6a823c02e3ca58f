#include "reconcilers/registry/billing_plan.h"

#include "controller/base/jsonw.h"
#include "controller/base/str.h"

enum { PLAN_MAX_BYTES = 64 * 1024 };

const char *billing_plan_render(struct arena *arena, const struct tier *tier)
{
    AUTO(buf) struct buf text = BUF(PLAN_MAX_BYTES);
    struct jsonw writer;

    jsonw_init(&writer, &text);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "currency", text_is_empty(tier->currency) ? "EUR" : tier->currency);
    jsonw_text(&writer, "monthly", text_is_empty(tier->price_monthly) ? "0" : tier->price_monthly);
    if (!text_is_empty(tier->price_annual)) {
        jsonw_text(&writer, "annual", tier->price_annual);
    }
    jsonw_object(&writer, "overage");
    for (size_t i = 0; i < tier->overage_count; i++) {
        jsonw_text(&writer, tier->overage[i].name, tier->overage[i].value);
    }
    jsonw_end_object(&writer);
    jsonw_object(&writer, "included");
    for (size_t i = 0; i < tier->quota_count; i++) {
        jsonw_int(&writer, tier->quotas[i].resource, tier->quotas[i].limit);
    }
    jsonw_end_object(&writer);
    if (tier->suspend_after_days >= 0) {
        jsonw_int(&writer, "suspendAfterDays", tier->suspend_after_days);
    }
    jsonw_end_object(&writer);
    return arena_strdup(arena, buf_text(&text));
}
