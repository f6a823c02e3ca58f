-- A count that others change by one is meant as a difference: gateways give back what they hold. Any other change is meant as it
-- stands: what gateways hold is void, so that no request is admitted past what was set. Names are qualified, since the search
-- path is pg_catalog.
CREATE OR REPLACE FUNCTION public.quota_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND abs(coalesce(NEW.current_usage, 0)::numeric - coalesce(OLD.current_usage, 0)) > 1 THEN
        DELETE FROM public.quota_leases WHERE tenant_id = NEW.tenant_id AND resource_type = NEW.resource_type;
    END IF;
    PERFORM pg_notify('tenantry_gateway', format('quota %s %s', coalesce(NEW.tenant_id, OLD.tenant_id), coalesce(NEW.resource_type, OLD.resource_type)));
    RETURN NULL;
END $$;

-- Change several quotas of a tenant at once, all or none, as before: `by` is no name for a column here.
CREATE OR REPLACE FUNCTION public.quota_change(tenant uuid, changes jsonb, ahead interval)
    RETURNS TABLE (resource text, fits boolean, used bigint, quota_limit bigint, others bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    change record;
    quota public.tenant_quotas;
    all_fit boolean := true;
BEGIN
    FOR change IN SELECT key, value::bigint AS step FROM jsonb_each_text(changes) ORDER BY key LOOP
        SELECT * INTO quota FROM public.quota_lock(tenant, change.key, ahead);
        resource := change.key;
        used := quota.current_usage;
        quota_limit := quota.quota_limit;
        fits := FOUND AND (change.step <= 0 OR used <= quota.quota_limit - change.step);
        others := NULL;
        IF NOT fits THEN
            all_fit := false;
            SELECT sum(greatest(until - spent, 0)) INTO others FROM public.quota_leases
                WHERE tenant_id = tenant AND resource_type = change.key AND expires_at > clock_timestamp();
            IF others > 0 THEN
                PERFORM pg_notify('tenantry_gateway', format('recall %s %s %s', tenant, change.key, tenant));
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
    IF NOT all_fit THEN
        RETURN;
    END IF;
    FOR change IN SELECT key, value::bigint AS step FROM jsonb_each_text(changes) WHERE value::bigint <> 0 ORDER BY key LOOP
        UPDATE public.tenant_quotas SET current_usage = greatest(coalesce(current_usage, 0) + change.step, 0), ticket = ticket + 1,
            updated_at = now() WHERE tenant_id = tenant AND resource_type = change.key;
        IF change.step < 0 THEN
            PERFORM pg_notify('tenantry_gateway', format('freed %s %s', tenant, change.key));
        END IF;
    END LOOP;
END $$;
