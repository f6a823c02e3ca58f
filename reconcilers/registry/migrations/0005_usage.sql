-- Usage (docs/billing.md): a ledger to which rows are only ever added, and what is taken from tenant_quotas into it. Instants and
-- periods are UTC and half-open. p_now is always given by the caller, so that a test can say what time it is.

CREATE FUNCTION public.utc_day(p_at timestamptz) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT (p_at AT TIME ZONE 'UTC')::date $$;
CREATE FUNCTION public.utc_month(p_at timestamptz) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT date_trunc('month', p_at AT TIME ZONE 'UTC')::date $$;
CREATE FUNCTION public.utc_hour(p_at timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT date_trunc('hour', p_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' $$;
-- The instant at which a day begins.
CREATE FUNCTION public.utc_start(p_day date) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT p_day::timestamp AT TIME ZONE 'UTC' $$;
-- Months are counted in dates, whatever the session's time zone.
CREATE FUNCTION public.utc_next_month(p_month date) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT (p_month::timestamp + interval '1 month')::date $$;

-- What starts again each calendar month is counted; of everything else the level counts. Written so that it is inlined: it is asked
-- for every quota.
CREATE OR REPLACE FUNCTION public.quota_is_monthly(resource text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT resource IN ('api_requests', 'compute_hours') $$;
-- Of these a row an hour is enough: requests come by the million, and storage is averaged.
CREATE FUNCTION public.usage_is_hourly(resource text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT resource IN ('api_requests', 'compute_hours', 'storage_mb') $$;

-- What of current_usage stands in the ledger already, and since when.
ALTER TABLE public.tenant_quotas
    ADD COLUMN metered bigint NOT NULL DEFAULT 0,
    ADD COLUMN metered_at timestamptz;

CREATE TABLE public.usage_ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    resource varchar(100) NOT NULL,
    -- count: so much was used. level: so much is in use from then on, until the next row.
    kind varchar(10) NOT NULL CHECK (kind IN ('count', 'level')),
    quantity numeric(24,6) NOT NULL CHECK (kind = 'count' OR quantity >= 0),
    used_at timestamptz NOT NULL,
    -- Who delivers a row twice gives the same key.
    key varchar(200) NOT NULL,
    source varchar(50) NOT NULL,
    note text,
    -- The row that this one corrects, by a quantity that may be negative.
    corrects bigint REFERENCES public.usage_ledger (id),
    -- The first day of the billing period that the row counts in: the one it was used in, or the next that is open. NULL: none is.
    billed_on date,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, key)
);
CREATE INDEX usage_ledger_used_idx ON public.usage_ledger (tenant_id, resource, used_at);
CREATE INDEX usage_ledger_billed_idx ON public.usage_ledger (tenant_id, billed_on);

-- Billing rows are open until they are closed (0006). The lock on the open row is what makes closing see every row that counts in it.
ALTER TABLE public.tenant_billing
    ADD COLUMN closed_at timestamptz;

CREATE FUNCTION public.usage_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.corrects IS NOT NULL AND NOT EXISTS (SELECT FROM public.usage_ledger l WHERE l.id = NEW.corrects
            AND l.tenant_id = NEW.tenant_id AND l.resource = NEW.resource AND l.kind = NEW.kind) THEN
        RAISE EXCEPTION 'row % of the usage ledger is not the same tenant''s, resource''s and kind''s', NEW.corrects
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    SELECT b.billing_period_start INTO NEW.billed_on FROM public.tenant_billing b
        WHERE b.tenant_id = NEW.tenant_id AND b.closed_at IS NULL AND b.billing_period_end > public.utc_day(NEW.used_at)
        ORDER BY b.billing_period_start LIMIT 1 FOR NO KEY UPDATE;
    RETURN NEW;
END $$;
CREATE TRIGGER usage_ledger_place BEFORE INSERT ON public.usage_ledger FOR EACH ROW EXECUTE FUNCTION public.usage_place();

-- Only with its tenant's row, which Tenantry never deletes, can a row go.
CREATE FUNCTION public.usage_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND pg_trigger_depth() > 1 THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the usage ledger is append-only: correct a row by another one (usage_correct)'
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER usage_ledger_keep BEFORE UPDATE OR DELETE ON public.usage_ledger
    FOR EACH ROW EXECUTE FUNCTION public.usage_refuse();
CREATE TRIGGER usage_ledger_keep_all BEFORE TRUNCATE ON public.usage_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION public.usage_refuse();
REVOKE UPDATE, DELETE, TRUNCATE ON public.usage_ledger FROM PUBLIC;

-- ---- from tenant_quotas ----

-- How much of the resource is in use. Of people the registry knows how many there are, even if nobody counts them.
CREATE FUNCTION public.usage_people(p_tenant uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM public.tenant_users u WHERE u.tenant_id = p_tenant AND u.status = 'active'
$$;
CREATE FUNCTION public.usage_in_use(q public.tenant_quotas) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT greatest(q.current_usage, 0, CASE WHEN q.resource_type = 'users' THEN public.usage_people(q.tenant_id) END)
$$;

-- One row that was taken from a quota.
CREATE FUNCTION public.usage_append(q public.tenant_quotas, p_quantity bigint, p_used_at timestamptz, p_now timestamptz, p_what text)
    RETURNS void LANGUAGE sql AS $$
    INSERT INTO public.usage_ledger (tenant_id, resource, kind, quantity, used_at, key, source, recorded_at)
    SELECT q.tenant_id, q.resource_type, CASE WHEN public.quota_is_monthly(q.resource_type) THEN 'count' ELSE 'level' END,
        p_quantity, p_used_at, format('%s %s %s', q.resource_type, p_what,
            to_char(p_now AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')), 'quota', p_now
    FROM public.tenants t WHERE t.id = q.tenant_id AND t.tenant_uid IS NOT NULL
$$;

-- The last instant of a month.
CREATE FUNCTION public.usage_month_end(p_month date) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT public.utc_start(public.utc_next_month(p_month)) - interval '1 microsecond'
$$;

-- Put into the ledger what these rows, which the caller has locked, have beyond what stands there. p_ends: the tenant is no more, so
-- that nothing is in use from now on.
CREATE FUNCTION public.usage_take(p_quotas uuid[], p_now timestamptz, p_ends boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    q public.tenant_quotas;
    used bigint;
    monthly boolean;
BEGIN
    FOR q IN SELECT * FROM public.tenant_quotas WHERE id = ANY (p_quotas) ORDER BY tenant_id, resource_type LOOP
        monthly := public.quota_is_monthly(q.resource_type);
        used := CASE WHEN p_ends AND NOT monthly THEN 0 ELSE public.usage_in_use(q) END;
        IF used <> q.metered THEN
            PERFORM public.usage_append(q, CASE WHEN monthly THEN used - q.metered ELSE used END,
                CASE WHEN monthly THEN greatest(p_now, public.utc_start(q.period_start)) ELSE p_now END, p_now,
                format('%s..%s', q.metered, used));
            UPDATE public.tenant_quotas SET metered = used, metered_at = p_now WHERE id = q.id;
        END IF;
    END LOOP;
END $$;

-- Whoever starts a month anew (quota_lock), what was counted in the month before goes into the ledger with it, as that month's.
CREATE FUNCTION public.usage_month_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(OLD.current_usage, 0) <> OLD.metered THEN
        PERFORM public.usage_append(OLD, coalesce(OLD.current_usage, 0) - OLD.metered, public.usage_month_end(OLD.period_start),
            clock_timestamp(), format('%s..%s of %s', OLD.metered, OLD.current_usage, to_char(OLD.period_start, 'YYYY-MM')));
    END IF;
    NEW.metered := 0;
    NEW.metered_at := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER usage_month_over BEFORE UPDATE ON public.tenant_quotas FOR EACH ROW WHEN (OLD.period_start < NEW.period_start)
    EXECUTE FUNCTION public.usage_month_over();

-- What a gateway gives back of a month that is over was never used.
CREATE FUNCTION public.usage_month_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.usage_append(q, NEW.used - OLD.used, public.usage_month_end(NEW.period_start), clock_timestamp(),
        format('%s..%s left of %s', OLD.used, NEW.used, to_char(NEW.period_start, 'YYYY-MM')))
        FROM public.tenant_quotas q WHERE q.tenant_id = NEW.tenant_id AND q.resource_type = NEW.resource_type;
    RETURN NULL;
END $$;
CREATE TRIGGER usage_month_changed AFTER UPDATE ON public.quota_periods FOR EACH ROW WHEN (OLD.used <> NEW.used)
    EXECUTE FUNCTION public.usage_month_changed();

-- Bring at most p_limit quotas into the present month; the gateways do that by themselves for those that are used.
CREATE FUNCTION public.usage_roll(p_now timestamptz, p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    due uuid[] := ARRAY(
        SELECT q.id FROM public.tenant_quotas q JOIN public.tenants t ON t.id = q.tenant_id AND t.status <> 'deleted'
        WHERE public.quota_is_monthly(q.resource_type) AND (q.period_start IS NULL OR q.period_start < public.utc_month(p_now))
        ORDER BY q.tenant_id, q.resource_type LIMIT p_limit FOR NO KEY UPDATE OF q SKIP LOCKED);
BEGIN
    PERFORM public.quota_lock(q.tenant_id, q.resource_type, p_now - clock_timestamp()) FROM public.tenant_quotas q WHERE q.id = ANY (due);
    RETURN cardinality(due);
END $$;

CREATE FUNCTION public.usage_roll_tenant(p_tenant uuid, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.quota_lock(q.tenant_id, q.resource_type, p_now - clock_timestamp()) FROM (
        SELECT * FROM public.tenant_quotas WHERE tenant_id = p_tenant AND public.quota_is_monthly(resource_type)
            AND (period_start IS NULL OR period_start < public.utc_month(p_now)) ORDER BY resource_type) q;
END $$;

-- Whether a row's usage is due for the ledger.
CREATE FUNCTION public.usage_is_due(q public.tenant_quotas, p_now timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT (NOT public.usage_is_hourly(q.resource_type) OR q.metered_at IS NULL OR public.utc_hour(q.metered_at) < public.utc_hour(p_now))
        AND public.usage_in_use(q) <> q.metered
$$;

-- Take at most p_limit rows that are due into the ledger; returns their tenants, whose bills have to follow.
CREATE FUNCTION public.usage_meter(p_now timestamptz, p_limit int) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
    due uuid[] := ARRAY(
        SELECT q.id FROM public.tenant_quotas q
            JOIN public.tenants t ON t.id = q.tenant_id AND t.status <> 'deleted' AND t.tenant_uid IS NOT NULL
        WHERE public.usage_is_due(q, p_now) AND NOT (public.quota_is_monthly(q.resource_type)
            AND (q.period_start IS NULL OR q.period_start < public.utc_month(p_now)))
        ORDER BY q.tenant_id, q.resource_type LIMIT p_limit FOR NO KEY UPDATE OF q SKIP LOCKED);
BEGIN
    PERFORM public.usage_take(due, p_now, false);
    RETURN ARRAY(SELECT DISTINCT tenant_id FROM public.tenant_quotas WHERE id = ANY (due) ORDER BY tenant_id);
END $$;

-- The tenant is no more: everything that it used is in the ledger, and nothing is in use.
CREATE FUNCTION public.usage_finish(p_tenant uuid, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    own uuid[];
BEGIN
    PERFORM public.usage_roll_tenant(p_tenant, p_now);
    own := ARRAY(SELECT id FROM public.tenant_quotas WHERE tenant_id = p_tenant ORDER BY resource_type FOR NO KEY UPDATE);
    PERFORM public.usage_take(own, p_now, true);
END $$;
