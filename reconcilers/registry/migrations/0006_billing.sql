-- Billing (docs/billing.md): what a tenant had on which day, its periods, and what they come to. All money is numeric and is computed
-- here; billing_round is the one rule by which it is rounded. What is called for each tenant is plpgsql, which keeps its plans.

-- Of each amount on a line, to whole hundredths, half away from zero. Sums are of rounded amounts, and therefore exact.
CREATE FUNCTION public.billing_round(p_amount numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT round(p_amount, 2) $$;

ALTER TABLE public.tenants
    -- What the tier costs and includes, as the controller last saw it: {currency, monthly, annual, overage {resource: price a unit},
    -- included {resource: limit, -1 = unlimited}, suspendAfterDays}; prices are strings. NULL: no Tenant's, and never billed.
    ADD COLUMN plan jsonb CHECK (jsonb_typeof(plan) = 'object'),
    -- Since when a bill that stays overdue holds the tenant suspended, and whether that is realised.
    ADD COLUMN billing_hold_at timestamptz,
    ADD COLUMN billing_held boolean NOT NULL DEFAULT false;

ALTER TABLE public.tenant_billing
    ADD COLUMN cycle varchar(50) CHECK (cycle IN ('monthly', 'annual')),
    ADD COLUMN currency char(3),
    -- The sum of the lines; amount_due without a remainder below zero, which the next period takes over.
    ADD COLUMN total numeric(12,2) NOT NULL DEFAULT 0,
    -- The part of api_requests_made that the ledger has.
    ADD COLUMN api_requests_metered bigint NOT NULL DEFAULT 0,
    ADD COLUMN due_at timestamptz,
    ADD COLUMN paid_at timestamptz,
    -- The lines as they were closed; before, billing_lines computes them.
    ADD COLUMN lines jsonb,
    ADD CONSTRAINT tenant_billing_closed_check CHECK (closed_at IS NULL OR (due_at IS NOT NULL AND lines IS NOT NULL));
CREATE INDEX tenant_billing_open_idx ON public.tenant_billing (billing_period_end) WHERE closed_at IS NULL;
CREATE INDEX tenant_billing_unpaid_idx ON public.tenant_billing (due_at) WHERE closed_at IS NOT NULL AND status <> 'paid';

-- From which day on the tenant had which tier, at which price. Prices are taken when a period begins and when the tier changes.
CREATE TABLE public.billing_plans (
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    since date NOT NULL,
    tier varchar(50), -- NULL: from that day on the tenant is no more
    plan jsonb,
    taken_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, since),
    CHECK ((tier IS NULL) = (plan IS NULL))
);

-- ---- periods and plans follow the tenant ----

CREATE FUNCTION public.billing_plan_on(p_tenant uuid, p_day date) RETURNS public.billing_plans LANGUAGE plpgsql STABLE AS $$
DECLARE
    found public.billing_plans;
BEGIN
    SELECT * INTO found FROM public.billing_plans p WHERE p.tenant_id = p_tenant AND p.since <= p_day ORDER BY p.since DESC LIMIT 1;
    RETURN found;
END $$;

-- The day up to which a tenant is billed.
CREATE FUNCTION public.billing_last_day(t public.tenants, p_now timestamptz) RETURNS date LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN t.status = 'deleted' THEN least(public.utc_day(p_now), public.utc_day(coalesce(t.deleted_at, p_now)))
        ELSE public.utc_day(p_now) END
$$;

-- Whether the periods and plans say what the tenant's row says. A tier of another currency counts from the next period on.
CREATE FUNCTION public.billing_is_current(t public.tenants, p_now timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    latest public.billing_plans;
BEGIN
    IF t.plan IS NULL THEN
        RETURN true;
    END IF;
    latest := public.billing_plan_on(t.id, 'infinity');
    IF t.status = 'deleted' THEN
        RETURN latest.tier IS NULL;
    END IF;
    RETURN coalesce(latest.tier = t.tier OR latest.plan->>'currency' <> t.plan->>'currency', false)
        AND EXISTS (SELECT FROM public.tenant_billing b WHERE b.tenant_id = t.id
            AND b.billing_period_start <= public.utc_day(p_now) AND b.billing_period_end > public.utc_day(p_now));
END $$;

-- Where the first period of a tenant begins that is seen on that day: with the month, or each year with the month of creation.
CREATE FUNCTION public.billing_period_of(t public.tenants, p_day date) RETURNS date LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN t.billing_cycle = 'annual'
        THEN (first + extract(year FROM age(p_day::timestamp, first))::int * interval '1 year')::date
        ELSE date_trunc('month', p_day::timestamp)::date END
    FROM (SELECT least(date_trunc('month', t.created_at AT TIME ZONE 'UTC'), date_trunc('month', p_day::timestamp)) AS first) f
$$;

-- Open every period up to that day; periods follow each other without a gap, except where the tenant was no more for a while.
CREATE FUNCTION public.billing_open(t public.tenants, p_day date, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    opens date := (SELECT max(billing_period_end) FROM public.tenant_billing WHERE tenant_id = t.id);
    ends date;
    plan_then public.billing_plans;
BEGIN
    IF opens IS NULL OR (opens <= p_day AND (public.billing_plan_on(t.id, p_day)).since IS NOT NULL
            AND (public.billing_plan_on(t.id, p_day)).tier IS NULL) THEN
        opens := greatest(opens, public.billing_period_of(t, p_day));
    END IF;
    WHILE opens <= p_day LOOP
        ends := (opens::timestamp + CASE WHEN t.billing_cycle = 'annual' THEN interval '1 year' ELSE interval '1 month' END)::date;
        INSERT INTO public.tenant_billing (tenant_id, billing_period_start, billing_period_end, cycle, currency, created_at)
            VALUES (t.id, opens, ends, coalesce(t.billing_cycle, 'monthly'), t.plan->>'currency', p_now)
            ON CONFLICT (tenant_id, billing_period_start) DO NOTHING;
        plan_then := public.billing_plan_on(t.id, opens);
        IF plan_then.tier IS NOT NULL AND plan_then.since < opens THEN
            INSERT INTO public.billing_plans (tenant_id, since, tier, plan, taken_at) VALUES (t.id, opens, t.tier, t.plan, p_now);
        END IF;
        opens := ends;
    END LOOP;
END $$;

-- A day is charged to the last tier that the tenant had on it, and the day of its deletion still is.
CREATE FUNCTION public.billing_take_plan(t public.tenants, p_day date, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    latest public.billing_plans := public.billing_plan_on(t.id, 'infinity');
    first_day date;
BEGIN
    IF t.status = 'deleted' THEN
        IF latest.tier IS NOT NULL THEN
            INSERT INTO public.billing_plans (tenant_id, since, taken_at) VALUES (t.id, p_day + 1, p_now);
        END IF;
        RETURN;
    END IF;
    IF latest.tier = t.tier OR latest.plan->>'currency' <> t.plan->>'currency' THEN
        RETURN;
    END IF;
    IF latest.since IS NULL THEN
        SELECT greatest(public.utc_day(t.created_at), b.billing_period_start) INTO first_day FROM public.tenant_billing b
            WHERE b.tenant_id = t.id AND b.billing_period_start <= p_day AND b.billing_period_end > p_day;
    END IF;
    DELETE FROM public.billing_plans WHERE tenant_id = t.id AND since > p_day;
    INSERT INTO public.billing_plans (tenant_id, since, tier, plan, taken_at)
        VALUES (t.id, least(coalesce(first_day, p_day), p_day), t.tier, t.plan, p_now)
        ON CONFLICT (tenant_id, since) DO UPDATE SET tier = excluded.tier, plan = excluded.plan, taken_at = excluded.taken_at;
END $$;

-- Let periods and plans follow one tenant; does nothing when they do. Safe at any time, from any number of programs.
CREATE FUNCTION public.billing_follow(p_tenant uuid, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t public.tenants;
    last_day date;
BEGIN
    SELECT * INTO t FROM public.tenants WHERE id = p_tenant FOR NO KEY UPDATE;
    IF NOT FOUND OR public.billing_is_current(t, p_now) THEN
        RETURN;
    END IF;
    last_day := public.billing_last_day(t, p_now);
    PERFORM public.billing_open(t, last_day, p_now);
    IF t.status = 'deleted' THEN
        PERFORM public.usage_finish(p_tenant, p_now);
    END IF;
    PERFORM public.billing_take_plan(t, last_day, p_now);
    PERFORM public.billing_refresh(p_tenant, p_now);
END $$;

-- The same for at most p_limit tenants that need it.
CREATE FUNCTION public.billing_follow_all(p_now timestamptz, p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    due uuid[] := ARRAY(SELECT t.id FROM public.tenants t WHERE NOT public.billing_is_current(t, p_now) ORDER BY t.id LIMIT p_limit);
    tenant uuid;
BEGIN
    FOREACH tenant IN ARRAY due LOOP
        PERFORM public.billing_follow(tenant, p_now);
    END LOOP;
    RETURN cardinality(due);
END $$;

-- ---- what a period comes to ----

-- What was used of a resource in a month, of the rows that count in periods up to p_upto. Of a month that runs, what tenant_quotas
-- counted since the last row belongs to it. What is used at once is its highest level; storage_mb is averaged over the whole month, so
-- that it grows until the month is over, by whole hours.
CREATE FUNCTION public.usage_of_month(p_tenant uuid, p_resource text, p_month date, p_upto date, p_now timestamptz)
    RETURNS numeric LANGUAGE plpgsql STABLE AS $$
DECLARE
    starts timestamptz := public.utc_start(p_month);
    ends timestamptz := public.utc_start(public.utc_next_month(p_month));
    used numeric;
    level numeric;
BEGIN
    IF public.quota_is_monthly(p_resource) THEN
        SELECT sum(l.quantity) INTO used FROM public.usage_ledger l WHERE l.tenant_id = p_tenant AND l.resource = p_resource
            AND l.kind = 'count' AND l.used_at >= starts AND l.used_at < ends AND l.billed_on <= p_upto;
        RETURN coalesce(used, 0) + coalesce((SELECT coalesce(q.current_usage, 0) - q.metered FROM public.tenant_quotas q
            WHERE q.tenant_id = p_tenant AND q.resource_type = p_resource AND q.period_start = p_month), 0);
    END IF;
    -- The level at which the month began.
    SELECT l.quantity INTO level FROM public.usage_ledger l WHERE l.tenant_id = p_tenant AND l.resource = p_resource
        AND l.kind = 'level' AND l.used_at < starts AND l.billed_on <= p_upto ORDER BY l.used_at DESC, l.id DESC LIMIT 1;
    IF p_resource <> 'storage_mb' THEN
        SELECT max(l.quantity) INTO used FROM public.usage_ledger l WHERE l.tenant_id = p_tenant AND l.resource = p_resource
            AND l.kind = 'level' AND l.used_at >= starts AND l.used_at < ends AND l.billed_on <= p_upto;
        RETURN coalesce(greatest(level, used), 0);
    END IF;
    SELECT sum(s.quantity * greatest(extract(epoch FROM least(s.until, public.utc_hour(p_now)) - s.used_at), 0)) INTO used FROM (
        SELECT r.quantity, r.used_at, lead(r.used_at, 1, ends) OVER (ORDER BY r.used_at, r.id) AS until FROM (
            SELECT coalesce(level, 0) AS quantity, starts AS used_at, 0 AS id
            UNION ALL
            SELECT l.quantity, l.used_at, l.id FROM public.usage_ledger l WHERE l.tenant_id = p_tenant AND l.resource = p_resource
                AND l.kind = 'level' AND l.used_at >= starts AND l.used_at < ends AND l.billed_on <= p_upto) r) s;
    RETURN coalesce(used, 0) / extract(epoch FROM ends - starts);
END $$;

-- What was used above what is included, and what that costs, before rounding. What is included holds for whole calendar months, as the
-- limits do: a tenant that had several tiers in a month has the most that one of them includes, and pays that tier's price beyond.
CREATE FUNCTION public.billing_overage(p_tenant uuid, p_resource text, p_month date, p_upto date, p_now timestamptz,
    OUT used numeric, OUT included numeric, OUT tier text, OUT price numeric, OUT amount numeric) LANGUAGE plpgsql STABLE AS $$
BEGIN
    used := public.usage_of_month(p_tenant, p_resource, p_month, p_upto, p_now);
    SELECT p.tier, (p.plan->'overage'->>p_resource)::numeric, CASE p.plan->'included'->>p_resource WHEN '-1' THEN 'Infinity'
            ELSE coalesce((p.plan->'included'->>p_resource)::numeric, 0) END AS most
        INTO tier, price, included
        FROM public.billing_plans p WHERE p.tenant_id = p_tenant AND p.tier IS NOT NULL AND p.since < public.utc_next_month(p_month)
            AND NOT EXISTS (SELECT FROM public.billing_plans q WHERE q.tenant_id = p_tenant AND q.since > p.since AND q.since <= p_month)
        ORDER BY most DESC, p.since DESC LIMIT 1;
    amount := coalesce(public.billing_round(greatest(used - included, 0) * price), 0);
END $$;

-- The months of a period that have begun.
CREATE FUNCTION public.billing_months(b public.tenant_billing, p_now timestamptz) RETURNS SETOF date LANGUAGE sql STABLE AS $$
    SELECT m::date FROM generate_series(b.billing_period_start::timestamp,
        least(b.billing_period_end - 1, public.utc_day(p_now))::timestamp, interval '1 month') m
$$;

-- A line of a bill, with all that it was computed from. kind: credit, fee, overage, adjustment.
CREATE TYPE public.billing_line AS (place int, kind text, month date, resource text, tier text, price numeric, days int, of_days int,
    used numeric, included numeric, amount numeric);

CREATE FUNCTION public.billing_fees(b public.tenant_billing) RETURNS SETOF public.billing_line LANGUAGE plpgsql STABLE AS $$
DECLARE
    line public.billing_line;
BEGIN
    line.place := 2;
    line.kind := 'fee';
    line.of_days := b.billing_period_end - b.billing_period_start;
    FOR line.tier, line.price, line.days IN
        SELECT h.tier, CASE WHEN b.cycle = 'annual' THEN coalesce((h.plan->>'annual')::numeric, (h.plan->>'monthly')::numeric * 10)
                ELSE (h.plan->>'monthly')::numeric END, sum(h.ends - h.starts)
        FROM (SELECT p.tier, p.plan, p.since, greatest(p.since, b.billing_period_start) AS starts,
                least(lead(p.since) OVER (ORDER BY p.since), b.billing_period_end) AS ends
            FROM public.billing_plans p WHERE p.tenant_id = b.tenant_id) h
        WHERE h.tier IS NOT NULL AND h.ends > h.starts GROUP BY h.tier, h.plan ORDER BY min(h.since)
    LOOP
        line.amount := public.billing_round(line.price * line.days / line.of_days);
        RETURN NEXT line;
    END LOOP;
END $$;

CREATE FUNCTION public.billing_overages(b public.tenant_billing, p_now timestamptz)
    RETURNS SETOF public.billing_line LANGUAGE plpgsql STABLE AS $$
DECLARE
    line public.billing_line;
BEGIN
    line.place := 3;
    line.kind := 'overage';
    FOR line.month IN SELECT public.billing_months(b, p_now) LOOP
        FOR line.resource IN
            SELECT DISTINCT r FROM public.billing_plans p, jsonb_object_keys(p.plan->'overage') r
            WHERE p.tenant_id = b.tenant_id AND p.since < public.utc_next_month(line.month) AND NOT EXISTS (
                SELECT FROM public.billing_plans q WHERE q.tenant_id = b.tenant_id AND q.since > p.since AND q.since <= line.month)
            ORDER BY r
        LOOP
            SELECT o.tier, o.price, o.used, o.included, o.amount INTO line.tier, line.price, line.used, line.included, line.amount
                FROM public.billing_overage(b.tenant_id, line.resource, line.month, b.billing_period_start, p_now) o;
            IF line.amount <> 0 THEN
                RETURN NEXT line;
            END IF;
        END LOOP;
    END LOOP;
END $$;

-- What came when its own period was closed: the month it was used in computed anew, less what was billed. A level holds on in the
-- months that follow.
CREATE FUNCTION public.billing_adjustments(b public.tenant_billing, p_now timestamptz)
    RETURNS SETOF public.billing_line LANGUAGE plpgsql STABLE AS $$
DECLARE
    line public.billing_line;
BEGIN
    line.place := 4;
    line.kind := 'adjustment';
    FOR line.month, line.resource IN
        SELECT DISTINCT m::date, l.resource FROM public.usage_ledger l, generate_series(public.utc_month(l.used_at)::timestamp,
            CASE l.kind WHEN 'count' THEN public.utc_month(l.used_at) ELSE b.billing_period_start - 1 END::timestamp, interval '1 month') m
        WHERE l.tenant_id = b.tenant_id AND l.billed_on = b.billing_period_start
            AND l.used_at < public.utc_start(b.billing_period_start) ORDER BY 1, 2
    LOOP
        SELECT o.tier, o.price, o.used, o.included, o.amount - was.amount
            INTO line.tier, line.price, line.used, line.included, line.amount
            FROM public.billing_overage(b.tenant_id, line.resource, line.month, b.billing_period_start, p_now) o,
                public.billing_overage(b.tenant_id, line.resource, line.month, b.billing_period_start - 1, p_now) was;
        IF line.amount <> 0 THEN
            RETURN NEXT line;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION public.billing_lines(b public.tenant_billing, p_now timestamptz)
    RETURNS SETOF public.billing_line LANGUAGE plpgsql STABLE AS $$
DECLARE
    line public.billing_line;
BEGIN
    SELECT 1, 'credit', p.total INTO line.place, line.kind, line.amount FROM public.tenant_billing p
        WHERE p.tenant_id = b.tenant_id AND p.closed_at IS NOT NULL AND p.billing_period_start < b.billing_period_start
        ORDER BY p.billing_period_start DESC LIMIT 1;
    IF line.amount < 0 THEN
        RETURN NEXT line;
    END IF;
    RETURN QUERY SELECT * FROM public.billing_fees(b);
    RETURN QUERY SELECT * FROM public.billing_overages(b, p_now);
    RETURN QUERY SELECT * FROM public.billing_adjustments(b, p_now);
END $$;

-- What the columns of a period shall say.
CREATE FUNCTION public.billing_computed(b public.tenant_billing, p_now timestamptz,
    OUT sandboxes int, OUT storage_gb numeric, OUT compute_hours numeric, OUT api_requests bigint, OUT api_requests_metered bigint,
    OUT total numeric, OUT currency text) LANGUAGE plpgsql STABLE AS $$
DECLARE
    month date;
    mb_days numeric := 0;
    hours numeric := 0;
BEGIN
    sandboxes := 0;
    api_requests := 0;
    FOR month IN SELECT public.billing_months(b, p_now) LOOP
        sandboxes := greatest(sandboxes, public.usage_of_month(b.tenant_id, 'sandboxes', month, b.billing_period_start, p_now));
        mb_days := mb_days + public.usage_of_month(b.tenant_id, 'storage_mb', month, b.billing_period_start, p_now)
            * (public.utc_next_month(month) - month);
        hours := hours + public.usage_of_month(b.tenant_id, 'compute_hours', month, b.billing_period_start, p_now);
        api_requests := api_requests + public.usage_of_month(b.tenant_id, 'api_requests', month, b.billing_period_start, p_now);
    END LOOP;
    storage_gb := round(mb_days / 1024 / (b.billing_period_end - b.billing_period_start), 2);
    compute_hours := round(hours, 2);
    api_requests_metered := coalesce((SELECT sum(l.quantity) FROM public.usage_ledger l WHERE l.tenant_id = b.tenant_id
        AND l.resource = 'api_requests' AND l.kind = 'count' AND l.used_at >= public.utc_start(b.billing_period_start)
        AND l.used_at < public.utc_start(b.billing_period_end) AND l.billed_on <= b.billing_period_start), 0);
    -- What a column of decimal(10,2) holds at most.
    total := greatest(least(coalesce((SELECT sum(amount) FROM public.billing_lines(b, p_now)), 0), 99999999.99), -99999999.99);
    currency := coalesce((SELECT p.plan->>'currency' FROM public.billing_plans p WHERE p.tenant_id = b.tenant_id AND p.tier IS NOT NULL
        AND p.since < b.billing_period_end ORDER BY p.since DESC LIMIT 1), b.currency);
END $$;

CREATE FUNCTION public.billing_differs(b public.tenant_billing, p_now timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    c record := public.billing_computed(b, p_now);
BEGIN
    RETURN (b.sandboxes_used, b.storage_gb_used, b.compute_hours_used, b.api_requests_made, b.api_requests_metered, b.total,
        b.amount_due, b.currency) IS DISTINCT FROM (c.sandboxes, c.storage_gb, c.compute_hours, c.api_requests, c.api_requests_metered,
        c.total, greatest(c.total, 0), c.currency::char(3));
END $$;

-- Let the open periods of a tenant say what they come to now. Locked before they are computed, so that what is newer is never
-- overwritten by what is older.
CREATE FUNCTION public.billing_refresh(p_tenant uuid, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    b public.tenant_billing;
    c record;
BEGIN
    IF (public.billing_plan_on(p_tenant, 'infinity')).since IS NULL THEN
        RETURN;
    END IF;
    PERFORM FROM public.tenant_billing WHERE tenant_id = p_tenant AND closed_at IS NULL ORDER BY billing_period_start FOR NO KEY UPDATE;
    FOR b IN SELECT * FROM public.tenant_billing WHERE tenant_id = p_tenant AND closed_at IS NULL LOOP
        c := public.billing_computed(b, p_now);
        UPDATE public.tenant_billing u SET sandboxes_used = c.sandboxes, storage_gb_used = c.storage_gb,
            compute_hours_used = c.compute_hours, api_requests_made = c.api_requests, api_requests_metered = c.api_requests_metered,
            total = c.total, amount_due = greatest(c.total, 0), currency = c.currency
        WHERE u.id = b.id AND (u.sandboxes_used, u.storage_gb_used, u.compute_hours_used, u.api_requests_made, u.api_requests_metered,
            u.total, u.amount_due, u.currency) IS DISTINCT FROM (c.sandboxes, c.storage_gb, c.compute_hours, c.api_requests,
            c.api_requests_metered, c.total, greatest(c.total, 0), c.currency::char(3));
    END LOOP;
END $$;
