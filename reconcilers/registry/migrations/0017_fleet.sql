-- Upgrades of many tenants (reconcilers/registry/fleet.h): which version each tenant has, and who may go next.

ALTER TABLE public.tenants
    ADD COLUMN canary boolean NOT NULL DEFAULT false,
    ADD COLUMN schema_version int,                      -- of the tenant schema
    ADD COLUMN migrations_target text,                  -- of the tenant's own: 'migrations CONFIGMAP LAST-FILE CHECKSUM'
    ADD COLUMN migrations_applied int;

-- One row a tenant that an upgrade reached. skipped is set by people: the tenant's failing then stops nobody.
CREATE TABLE public.fleet_upgrades (
    target text NOT NULL,
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    wave int NOT NULL,
    state varchar(50) NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed', 'skipped')),
    attempts int NOT NULL DEFAULT 1,
    error text,
    began_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (target, tenant_id)
);

-- Whom p_tenant has to wait for, or NULL when it may begin: then it has its row. Wave 0 are the canaries, and of the others as many as p_first; each
-- wave after it has as many as all before together, and begins when they are done. Once one failed nobody begins. A tenant that is suspended or
-- deleted, or has not been heard of for p_patience, holds nobody up.
CREATE FUNCTION public.fleet_begin(p_target text, p_tenant uuid, p_first int, p_patience interval,
    OUT stopped boolean, OUT waits_for text) LANGUAGE plpgsql AS $$
DECLARE
    known int;
    next_wave int := 0;
    most bigint := p_first;
BEGIN
    stopped := false;
    UPDATE public.fleet_upgrades SET attempts = attempts + 1, updated_at = now() WHERE target = p_target AND tenant_id = p_tenant;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('tenantry fleet'), hashtext(p_target));
    SELECT t.subdomain INTO waits_for FROM public.fleet_upgrades f JOIN public.tenants t ON t.id = f.tenant_id
     WHERE f.target = p_target AND f.state = 'failed' AND t.status = 'active' ORDER BY f.began_at LIMIT 1;
    IF FOUND THEN
        stopped := true;
        RETURN;
    END IF;
    IF NOT (SELECT canary FROM public.tenants WHERE id = p_tenant) THEN
        SELECT t.subdomain INTO waits_for FROM public.tenants t
         WHERE t.canary AND t.status = 'active'
           AND CASE WHEN p_target LIKE 'schema %' THEN coalesce(t.schema_version, 0) < split_part(p_target, ' ', 2)::int
                    ELSE split_part(t.migrations_target, ' ', 2) = split_part(p_target, ' ', 2) AND t.migrations_target <> p_target END
           AND NOT EXISTS (SELECT FROM public.fleet_upgrades f WHERE f.target = p_target AND f.tenant_id = t.id AND f.state IN ('done', 'skipped'))
         ORDER BY t.subdomain LIMIT 1;
        IF FOUND THEN
            RETURN;
        END IF;
        SELECT count(*) INTO known FROM public.fleet_upgrades WHERE target = p_target;
        WHILE known >= most LOOP
            most := most * 2;
            next_wave := next_wave + 1;
        END LOOP;
        SELECT t.subdomain INTO waits_for FROM public.fleet_upgrades f JOIN public.tenants t ON t.id = f.tenant_id
         WHERE f.target = p_target AND f.state = 'running' AND f.wave < next_wave AND t.status = 'active' AND f.updated_at > now() - p_patience
         ORDER BY f.wave, f.began_at LIMIT 1;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    IF NOT EXISTS (SELECT FROM public.fleet_upgrades WHERE target = p_target) THEN
        DELETE FROM public.fleet_upgrades WHERE updated_at < now() - interval '90 days';
    END IF;
    INSERT INTO public.fleet_upgrades (target, tenant_id, wave) VALUES (p_target, p_tenant, next_wave);
END $$;

-- How it went: p_error NULL is well. What passes by itself is tried again, ten times, before it counts as failed.
CREATE FUNCTION public.fleet_end(p_target text, p_tenant uuid, p_error text, p_final boolean) RETURNS void LANGUAGE sql AS $$
    UPDATE public.fleet_upgrades
       SET state = CASE WHEN p_error IS NULL THEN 'done' WHEN state = 'skipped' THEN state WHEN p_final OR attempts >= 10 THEN 'failed' ELSE state END,
           error = p_error, updated_at = now()
     WHERE target = p_target AND tenant_id = p_tenant
$$;

-- What a tenant has now. An upgrade to just that is done, also where a crash kept it from being said.
CREATE FUNCTION public.fleet_version(p_tenant uuid, p_schema int, p_target text, p_applied int) RETURNS void LANGUAGE sql AS $$
    UPDATE public.fleet_upgrades SET state = 'done', error = NULL, updated_at = now()
     WHERE tenant_id = p_tenant AND target IN ('schema ' || p_schema, p_target) AND state <> 'done';
    UPDATE public.tenants SET schema_version = coalesce(p_schema, schema_version), migrations_target = coalesce(p_target, migrations_target),
           migrations_applied = coalesce(p_applied, migrations_applied)
     WHERE id = p_tenant AND (schema_version, migrations_target, migrations_applied) IS DISTINCT FROM
           (coalesce(p_schema, schema_version), coalesce(p_target, migrations_target), coalesce(p_applied, migrations_applied));
$$;
