-- Sandboxes of tenants that nobody uses sleep (reconcilers/sandbox/idle.h). asleep is decided here, by the registry's clock, so that
-- it does not matter how many controllers look; wake_requested_at says that an end of it is under way.

ALTER TABLE public.tenant_activity ADD COLUMN awake_since timestamptz NOT NULL DEFAULT now();

-- Whoever was woken is given the whole time again.
CREATE OR REPLACE FUNCTION public.clear_wake() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.wake_requested_at := NULL;
    NEW.awake_since := now();
    RETURN NEW;
END $$;

-- So is a tenant that was suspended.
CREATE FUNCTION public.awake_again() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.tenant_activity SET awake_since = now() WHERE tenant_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER awake_again AFTER UPDATE OF status ON public.tenants FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND NEW.status = 'active') EXECUTE FUNCTION public.awake_again();

-- When a tenant's sandboxes fall asleep if nothing comes meanwhile; NULL: they do not.
CREATE FUNCTION public.idle_until(a public.tenant_activity, t public.tenants) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN t.status = 'active'
        THEN greatest(a.last_request_at, a.awake_since) + (t.gateway ->> 'idleSeconds')::bigint * interval '1 second' END
$$;

-- Whether idle_settle would change anything, and in how many milliseconds the next tenant may fall asleep.
CREATE FUNCTION public.idle_due(OUT due boolean, OUT next_ms bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(bool_or(CASE WHEN a.tenant_id IS NULL THEN t.status = 'active'
                                 WHEN a.asleep THEN a.wake_requested_at IS NULL AND (w.until IS NULL OR w.until > now())
                                 ELSE w.until <= now() END), false),
           (extract(epoch FROM min(w.until) FILTER (WHERE NOT a.asleep AND w.until > now()) - now()) * 1000)::bigint
      FROM public.tenants t LEFT JOIN public.tenant_activity a ON a.tenant_id = t.id
     CROSS JOIN LATERAL (SELECT public.idle_until(a, t) AS until) w
     WHERE t.status <> 'deleted' AND (t.gateway ? 'idleSeconds' OR a.asleep)
$$;

-- Let fall asleep who is due, and wake who was used since, or sleeps by no policy any more.
CREATE FUNCTION public.idle_settle() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO public.tenant_activity (tenant_id)
        SELECT id FROM public.tenants t WHERE t.status = 'active' AND t.gateway ? 'idleSeconds'
           AND NOT EXISTS (SELECT FROM public.tenant_activity a WHERE a.tenant_id = t.id)
        ON CONFLICT DO NOTHING;
    UPDATE public.tenant_activity a SET asleep = true FROM public.tenants t
     WHERE t.id = a.tenant_id AND t.status <> 'deleted' AND NOT a.asleep AND public.idle_until(a, t) <= now();
    UPDATE public.tenant_activity a SET wake_requested_at = now() FROM public.tenants t
     WHERE t.id = a.tenant_id AND t.status <> 'deleted' AND a.asleep AND a.wake_requested_at IS NULL
       AND coalesce(public.idle_until(a, t) > now(), true);
$$;
