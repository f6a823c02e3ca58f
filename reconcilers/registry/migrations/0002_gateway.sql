-- What the gateway lives on (docs/gateway.md): what the tier says of each tenant, where the database servers are, leases of
-- quotas, and notifications. The gateway changes counts through the functions below alone. Names are qualified, since the
-- search path is pg_catalog.

ALTER TABLE public.tenants
    ADD COLUMN features jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(features) = 'array'),
    ADD COLUMN gateway jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(gateway) = 'object');

-- Where a DatabaseServer is found, and by whose word it is the right one. No credentials.
CREATE TABLE public.database_servers (
    name text PRIMARY KEY,
    host text NOT NULL,
    port int NOT NULL,
    sslmode text NOT NULL,
    ca_pem text NOT NULL DEFAULT '',
    target_session_attrs text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- When the tenant was last used, to a minute or so, and whether its sandboxes sleep. The gateway asks for a wake-up by setting
-- wake_requested_at; whoever wakes sets asleep to false, which clears it.
CREATE TABLE public.tenant_activity (
    tenant_id uuid PRIMARY KEY REFERENCES public.tenants (id) ON DELETE CASCADE,
    last_request_at timestamptz,
    asleep boolean NOT NULL DEFAULT false,
    wake_requested_at timestamptz
);

-- ticket moves with every change by the functions below, so that a change by anybody else can be told from theirs.
-- period_start is the first day of the calendar month that current_usage counts, of resources that are counted by the month.
ALTER TABLE public.tenant_quotas
    ADD COLUMN ticket bigint NOT NULL DEFAULT 0,
    ADD COLUMN period_start date;

-- What was used in the months that are over.
CREATE TABLE public.quota_periods (
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    resource_type varchar(100) NOT NULL,
    period_start date NOT NULL,
    used bigint NOT NULL,
    PRIMARY KEY (tenant_id, resource_type, period_start)
);

-- What a gateway may still hand out without asking, and has been charged for already: until - spent. Both are counters of that
-- process which only grow, so that an answer which got lost does no harm.
CREATE TABLE public.quota_leases (
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    resource_type varchar(100) NOT NULL,
    replica uuid NOT NULL,
    spent bigint NOT NULL,
    until bigint NOT NULL,
    period_start date,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, resource_type, replica)
);

-- Gateways that are alive share a tenant's rate limit.
CREATE TABLE public.gateway_replicas (
    replica uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

CREATE FUNCTION public.quota_is_monthly(resource text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    AS $$ SELECT resource IN ('api_requests', 'compute_hours') $$;

-- The month of the server's clock, which decides for all; ahead is the test clock's offset.
CREATE FUNCTION public.quota_month(ahead interval) RETURNS date
    LANGUAGE sql STABLE SET search_path = pg_catalog
    AS $$ SELECT date_trunc('month', (clock_timestamp() + ahead) AT TIME ZONE 'UTC')::date $$;

-- Lock a quota's row and bring it into the present month. No row: nothing is returned.
CREATE FUNCTION public.quota_lock(tenant uuid, resource text, ahead interval) RETURNS SETOF public.tenant_quotas
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    quota public.tenant_quotas;
    month date;
BEGIN
    SELECT * INTO quota FROM public.tenant_quotas WHERE tenant_id = tenant AND resource_type = resource FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    quota.current_usage := coalesce(quota.current_usage, 0);
    IF public.quota_is_monthly(resource) THEN
        month := public.quota_month(ahead);
        IF quota.period_start < month THEN
            INSERT INTO public.quota_periods VALUES (tenant, resource, quota.period_start, quota.current_usage)
                ON CONFLICT (tenant_id, resource_type, period_start) DO UPDATE SET used = quota_periods.used + excluded.used;
            UPDATE public.tenant_quotas SET current_usage = 0, period_start = month, ticket = ticket + 1, updated_at = now()
                WHERE id = quota.id RETURNING * INTO quota;
        ELSIF quota.period_start IS NULL THEN
            UPDATE public.tenant_quotas SET period_start = month, ticket = ticket + 1
                WHERE id = quota.id RETURNING * INTO quota;
            quota.current_usage := coalesce(quota.current_usage, 0);
        END IF;
    END IF;
    RETURN NEXT quota;
END $$;

-- Give up what a replica holds of a quota whose row is locked: returns what that takes from current_usage, which may be negative
-- when it spent more than it had, as it does until it hears that its lease was made void. What is left of an earlier month is taken from that month.
CREATE FUNCTION public.quota_settle(quota public.tenant_quotas, holder uuid, told_spent bigint) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    lease public.quota_leases;
    rest bigint;
BEGIN
    DELETE FROM public.quota_leases WHERE tenant_id = quota.tenant_id AND resource_type = quota.resource_type AND replica = holder
        RETURNING * INTO lease;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    rest := lease.until - greatest(told_spent, lease.spent);
    IF lease.period_start < quota.period_start THEN
        UPDATE public.quota_periods SET used = greatest(used - rest, 0) WHERE tenant_id = quota.tenant_id
            AND resource_type = quota.resource_type AND period_start = lease.period_start;
        RETURN 0;
    END IF;
    RETURN rest;
END $$;

-- Take a lease, or add to it: up to `wanted`, as far as the limit lets, in one step. `told_spent` is the replica's counter.
-- until: the replica may spend while its counter is below. others: what other living gateways hold unspent; with something wanted
-- that could not be granted they are called upon to give it back. seconds: until the month ends, NULL if the resource has no months.
CREATE FUNCTION public.quota_take(tenant uuid, resource text, holder uuid, told_spent bigint, wanted bigint, life interval,
                                  ahead interval,
                                  OUT until bigint, OUT used bigint, OUT quota_limit bigint, OUT others bigint, OUT seconds float8)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    quota public.tenant_quotas;
    kept bigint;
    granted bigint;
BEGIN
    SELECT * INTO quota FROM public.quota_lock(tenant, resource, ahead);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    DELETE FROM public.quota_leases WHERE tenant_id = tenant AND resource_type = resource AND expires_at < clock_timestamp()
        AND replica <> holder;
    kept := public.quota_settle(quota, holder, told_spent);
    used := greatest(quota.current_usage - kept, 0);
    granted := greatest(least(greatest(kept, 0) + wanted, quota.quota_limit - used), 0);
    SELECT coalesce(sum(greatest(until - spent, 0)), 0) INTO others FROM public.quota_leases
        WHERE tenant_id = tenant AND resource_type = resource;
    until := told_spent + granted;
    used := used + granted;
    quota_limit := quota.quota_limit;
    seconds := extract(epoch FROM quota.period_start + interval '1 month' - (clock_timestamp() + ahead) AT TIME ZONE 'UTC');
    IF granted > 0 THEN
        INSERT INTO public.quota_leases VALUES (tenant, resource, holder, told_spent, told_spent + granted, quota.period_start,
                                                clock_timestamp() + life);
    END IF;
    IF used <> quota.current_usage THEN
        UPDATE public.tenant_quotas q SET current_usage = used, ticket = ticket + 1, updated_at = now() WHERE q.id = quota.id;
    END IF;
    IF granted < greatest(kept, 0) + wanted AND others > 0 THEN
        PERFORM pg_notify('tenantry_gateway', format('recall %s %s %s', tenant, resource, holder));
    END IF;
END $$;

-- Give back what is left of a lease, and say so to who waits for it.
CREATE FUNCTION public.quota_give(tenant uuid, resource text, holder uuid, told_spent bigint, ahead interval) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    quota public.tenant_quotas;
    kept bigint;
BEGIN
    SELECT * INTO quota FROM public.quota_lock(tenant, resource, ahead);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    kept := public.quota_settle(quota, holder, told_spent);
    IF kept <> 0 THEN
        UPDATE public.tenant_quotas SET current_usage = greatest(quota.current_usage - kept, 0), ticket = ticket + 1, updated_at = now()
            WHERE id = quota.id;
    END IF;
    PERFORM pg_notify('tenantry_gateway', format('freed %s %s', tenant, resource));
END $$;

-- Change several quotas of a tenant at once, all or none: changes is {"resource": by, ...}. An increase that does not fit, or a
-- resource without a row, refuses the whole; a decrease stops at zero. One row a resource, in order.
CREATE FUNCTION public.quota_change(tenant uuid, changes jsonb, ahead interval)
    RETURNS TABLE (resource text, fits boolean, used bigint, quota_limit bigint, others bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    change record;
    quota public.tenant_quotas;
    all_fit boolean := true;
BEGIN
    FOR change IN SELECT key, value::bigint AS by FROM jsonb_each_text(changes) ORDER BY key LOOP
        SELECT * INTO quota FROM public.quota_lock(tenant, change.key, ahead);
        resource := change.key;
        used := quota.current_usage;
        quota_limit := quota.quota_limit;
        fits := FOUND AND (change.by <= 0 OR used <= quota.quota_limit - change.by);
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
    FOR change IN SELECT key, value::bigint AS by FROM jsonb_each_text(changes) WHERE value::bigint <> 0 ORDER BY key LOOP
        UPDATE public.tenant_quotas SET current_usage = greatest(coalesce(current_usage, 0) + change.by, 0), ticket = ticket + 1,
            updated_at = now() WHERE tenant_id = tenant AND resource_type = change.key;
        IF change.by < 0 THEN
            PERFORM pg_notify('tenantry_gateway', format('freed %s %s', tenant, change.key));
        END IF;
    END LOOP;
END $$;

-- A change by anybody else. A count set to nothing, or at once to the limit, is meant as it stands, so that what gateways hold
-- is void; any other is meant as a difference, and they give back what they hold. Either way they ask anew.
CREATE FUNCTION public.quota_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.current_usage IS DISTINCT FROM OLD.current_usage
        AND (coalesce(NEW.current_usage, 0) = 0
             OR NEW.current_usage >= NEW.quota_limit AND NEW.current_usage - coalesce(OLD.current_usage, 0) > 1) THEN
        DELETE FROM public.quota_leases WHERE tenant_id = NEW.tenant_id AND resource_type = NEW.resource_type;
    END IF;
    PERFORM pg_notify('tenantry_gateway', format('quota %s %s', coalesce(NEW.tenant_id, OLD.tenant_id), coalesce(NEW.resource_type, OLD.resource_type)));
    RETURN NULL;
END $$;
CREATE TRIGGER quota_added AFTER INSERT OR DELETE ON public.tenant_quotas FOR EACH ROW EXECUTE FUNCTION public.quota_changed();
CREATE TRIGGER quota_changed AFTER UPDATE ON public.tenant_quotas FOR EACH ROW
    WHEN (OLD.ticket = NEW.ticket AND (OLD.current_usage IS DISTINCT FROM NEW.current_usage OR OLD.quota_limit <> NEW.quota_limit))
    EXECUTE FUNCTION public.quota_changed();

CREATE FUNCTION public.gateway_notify() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('tenantry_gateway', TG_ARGV[0] || ' ' || (to_jsonb(coalesce(NEW, OLD)) ->> TG_ARGV[1]));
    RETURN NULL;
END $$;
CREATE TRIGGER tenant_added AFTER INSERT OR DELETE ON public.tenants FOR EACH ROW EXECUTE FUNCTION public.gateway_notify('tenant', 'id');
CREATE TRIGGER tenant_changed AFTER UPDATE ON public.tenants FOR EACH ROW
    WHEN ((OLD.name, OLD.subdomain, OLD.tier, OLD.status, OLD.database_name, OLD.server, OLD.isolation, OLD.schema_name, OLD.settings, OLD.features, OLD.gateway)
          IS DISTINCT FROM (NEW.name, NEW.subdomain, NEW.tier, NEW.status, NEW.database_name, NEW.server, NEW.isolation, NEW.schema_name, NEW.settings, NEW.features, NEW.gateway))
    EXECUTE FUNCTION public.gateway_notify('tenant', 'id');
CREATE TRIGGER server_changed AFTER INSERT OR UPDATE OR DELETE ON public.database_servers FOR EACH ROW EXECUTE FUNCTION public.gateway_notify('server', 'name');
CREATE TRIGGER activity_changed AFTER UPDATE ON public.tenant_activity FOR EACH ROW WHEN (OLD.asleep <> NEW.asleep)
    EXECUTE FUNCTION public.gateway_notify('tenant', 'tenant_id');

-- Whoever wakes sandboxes listens to tenantry_wake.
CREATE FUNCTION public.wake_wanted() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('tenantry_wake', NEW.tenant_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER wake_wanted AFTER INSERT OR UPDATE OF wake_requested_at ON public.tenant_activity FOR EACH ROW
    WHEN (NEW.wake_requested_at IS NOT NULL) EXECUTE FUNCTION public.wake_wanted();
CREATE FUNCTION public.clear_wake() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    NEW.wake_requested_at := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER clear_wake BEFORE UPDATE OF asleep ON public.tenant_activity FOR EACH ROW
    WHEN (OLD.asleep AND NOT NEW.asleep) EXECUTE FUNCTION public.clear_wake();

-- A gateway was at work for these tenants; and those of them that sleep shall wake.
CREATE FUNCTION public.gateway_used(busy uuid[], wake uuid[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    INSERT INTO public.tenant_activity AS a (tenant_id, last_request_at)
        SELECT id, now() FROM public.tenants WHERE id = ANY (busy || wake)
        ON CONFLICT (tenant_id) DO UPDATE SET last_request_at = excluded.last_request_at;
    UPDATE public.tenant_activity SET wake_requested_at = now()
        WHERE tenant_id = ANY (wake) AND asleep AND (wake_requested_at IS NULL OR wake_requested_at < now() - interval '5 s');
$$;

-- Here I am; returns how many gateways are.
CREATE FUNCTION public.gateway_alive(self uuid, leaving boolean) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF leaving THEN
        DELETE FROM public.gateway_replicas WHERE replica = self;
    ELSE
        INSERT INTO public.gateway_replicas VALUES (self, clock_timestamp())
            ON CONFLICT (replica) DO UPDATE SET seen_at = excluded.seen_at;
        DELETE FROM public.gateway_replicas WHERE seen_at < clock_timestamp() - interval '1 minute';
    END IF;
    RETURN (SELECT count(*) FROM public.gateway_replicas WHERE seen_at > clock_timestamp() - interval '15 s');
END $$;

REVOKE EXECUTE ON FUNCTION public.quota_lock(uuid, text, interval), public.quota_settle(public.tenant_quotas, uuid, bigint),
    public.quota_take(uuid, text, uuid, bigint, bigint, interval, interval), public.quota_give(uuid, text, uuid, bigint, interval),
    public.quota_change(uuid, jsonb, interval), public.gateway_used(uuid[], uuid[]), public.gateway_alive(uuid, boolean) FROM PUBLIC;
