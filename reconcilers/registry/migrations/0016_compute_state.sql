-- What is known of the running time of some tenants (reconcilers/sandbox/meter.h), without writing: how many copies ran when that was
-- last written down, this month's use and limit in hours, and how much of a further hour has run. A tenant without a row of quotas
-- has no limit.
CREATE FUNCTION public.compute_state(p_tenants uuid[], p_now timestamptz)
    RETURNS TABLE (tenant uuid, running int, used bigint, allowed bigint, begun numeric) LANGUAGE sql STABLE AS $$
    SELECT t.id, coalesce(c.running, 0), coalesce(q.current_usage, 0), q.quota_limit, coalesce(l.total - floor(l.total), 0)
        FROM unnest(p_tenants) AS t(id)
        LEFT JOIN public.tenant_compute c ON c.tenant_id = t.id
        LEFT JOIN public.tenant_quotas q ON q.tenant_id = t.id AND q.resource_type = 'compute_hours'
        LEFT JOIN LATERAL (SELECT sum(quantity) AS total FROM public.usage_ledger WHERE tenant_id = t.id AND resource = 'compute_hours'
            AND kind = 'count' AND used_at >= public.utc_start(public.utc_month(p_now))) l ON true
$$;
