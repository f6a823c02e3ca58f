-- How long copies of a tenant's sandboxes ran (reconcilers/sandbox/meter.h): until when that is known, and how many ran then.

CREATE TABLE public.tenant_compute (
    tenant_id uuid PRIMARY KEY REFERENCES public.tenants (id) ON DELETE CASCADE,
    metered_until timestamptz NOT NULL,
    running int NOT NULL CHECK (running >= 0)
);

CREATE FUNCTION public.compute_key(p_what text, p_at timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT p_what || ' ' || to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- Take a span in which copies ran for p_seconds all together, p_before of them at its beginning and p_after at its end. A span that
-- begins before what is metered already is somebody else's, or was taken before: then nothing is counted. Returns this month's
-- use and the limit; no row of quotas, no limit to hold to.
CREATE FUNCTION public.compute_meter(p_tenant uuid, p_since timestamptz, p_until timestamptz, p_seconds numeric, p_before int, p_after int,
    p_bridge interval, p_now timestamptz) RETURNS TABLE (used bigint, allowed bigint) LANGUAGE plpgsql AS $$
DECLARE
    known public.tenant_compute;
    seconds numeric := p_seconds;
BEGIN
    INSERT INTO public.tenant_compute VALUES (p_tenant, p_since, 0) ON CONFLICT DO NOTHING;
    SELECT * INTO known FROM public.tenant_compute WHERE tenant_id = p_tenant FOR NO KEY UPDATE;
    IF known.metered_until <= p_since AND (seconds > 0 OR known.running <> p_after) THEN
        IF known.running > 0 AND known.metered_until < p_since THEN
            IF p_since - known.metered_until <= p_bridge THEN
                seconds := seconds + extract(epoch FROM p_since - known.metered_until) * least(known.running, p_before);
            ELSE
                PERFORM public.usage_record(p_tenant, 'compute_hours', 'count', 0, known.metered_until,
                    public.compute_key('compute gap', known.metered_until), 'sandbox', p_now, NULL,
                    format('%s copies ran before; until %s nobody looked', known.running, p_since));
            END IF;
        END IF;
        IF round(seconds / 3600, 6) > 0 THEN
            PERFORM public.usage_record(p_tenant, 'compute_hours', 'count', round(seconds / 3600, 6), p_since,
                public.compute_key('compute', p_since), 'sandbox', p_now);
        END IF;
        UPDATE public.tenant_compute SET metered_until = p_until, running = p_after WHERE tenant_id = p_tenant;
    END IF;
    RETURN QUERY SELECT coalesce(q.current_usage, 0), q.quota_limit FROM public.tenant_quotas q
        WHERE q.tenant_id = p_tenant AND q.resource_type = 'compute_hours';
END $$;
