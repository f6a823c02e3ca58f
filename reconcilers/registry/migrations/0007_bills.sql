-- Bills (docs/billing.md): closed once, frozen then, paid or overdue; and what a tenant pays for explained to the last row.

-- ---- a closed bill ----

-- Only payment still moves: pending to paid or overdue, overdue to paid.
CREATE FUNCTION public.billing_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.closed_at IS NOT NULL AND pg_trigger_depth() = 1 THEN
            RAISE EXCEPTION 'the bill of % is closed and stays', OLD.billing_period_start USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN OLD;
    END IF;
    IF OLD.closed_at IS NULL THEN
        RETURN NEW;
    END IF;
    IF to_jsonb(NEW) - ARRAY['status', 'amount_paid', 'paid_at'] <> to_jsonb(OLD) - ARRAY['status', 'amount_paid', 'paid_at'] THEN
        RAISE EXCEPTION 'the bill of % is closed: what comes late is adjusted in the next period', OLD.billing_period_start
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF (OLD.status, NEW.status) NOT IN (('pending', 'pending'), ('pending', 'paid'), ('pending', 'overdue'), ('overdue', 'overdue'),
            ('overdue', 'paid'), ('paid', 'paid')) THEN
        RAISE EXCEPTION 'the bill of % is %, and cannot become % again', OLD.billing_period_start, OLD.status, NEW.status
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tenant_billing_keep BEFORE UPDATE OR DELETE ON public.tenant_billing
    FOR EACH ROW EXECUTE FUNCTION public.billing_keep();

CREATE FUNCTION public.billing_lines_json(b public.tenant_billing, p_now timestamptz) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('kind', l.kind, 'month', to_char(l.month, 'YYYY-MM'),
        'resource', l.resource, 'tier', l.tier, 'price', l.price::text, 'days', l.days, 'ofDays', l.of_days, 'used', l.used::text,
        'included', l.included::text, 'amount', l.amount::text, 'text', CASE l.kind
            WHEN 'credit' THEN format('what the period before left over: %s', l.amount)
            WHEN 'fee' THEN format('%s: %s x %s of %s days = %s', l.tier, l.price, l.days, l.of_days, l.amount)
            WHEN 'overage' THEN format('%s in %s: %s used, %s included by %s, the rest x %s = %s', l.resource, to_char(l.month, 'YYYY-MM'),
                trim_scale(round(l.used, 6)), l.included, l.tier, l.price, l.amount)
            ELSE format('%s in %s after its bill was closed: %s used, %s included by %s, the rest x %s, less what was billed = %s',
                l.resource, to_char(l.month, 'YYYY-MM'), trim_scale(round(l.used, 6)), l.included, l.tier, l.price, l.amount) END))
        ORDER BY l.place, l.month, l.resource, l.tier, l.days), '[]')
    FROM public.billing_lines(b, p_now) l
$$;

-- Whether a period can be closed: a day after its end, and after those before it.
CREATE FUNCTION public.billing_is_closable(b public.tenant_billing, p_now timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT b.closed_at IS NULL AND p_now >= public.utc_start(b.billing_period_end + 1)
        AND EXISTS (SELECT FROM public.tenants t WHERE t.id = b.tenant_id AND t.plan IS NOT NULL)
        AND NOT EXISTS (SELECT FROM public.tenant_billing e WHERE e.tenant_id = b.tenant_id AND e.closed_at IS NULL
            AND e.billing_period_start < b.billing_period_start)
$$;

-- Close one period, unless somebody else did. Usage that is in the ledger before this holds the row counts in it, whatever comes
-- after counts in the next. Due 14 days after the close.
CREATE FUNCTION public.billing_close_one(p_billing uuid, p_now timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    b public.tenant_billing;
    c record;
BEGIN
    SELECT * INTO b FROM public.tenant_billing WHERE id = p_billing;
    PERFORM public.billing_follow(b.tenant_id, p_now);
    PERFORM public.usage_roll_tenant(b.tenant_id, p_now);
    SELECT * INTO b FROM public.tenant_billing WHERE id = p_billing AND closed_at IS NULL FOR UPDATE;
    IF NOT FOUND OR NOT public.billing_is_closable(b, p_now) THEN
        RETURN false;
    END IF;
    c := public.billing_computed(b, p_now);
    UPDATE public.tenant_billing SET sandboxes_used = c.sandboxes, storage_gb_used = c.storage_gb, compute_hours_used = c.compute_hours,
        api_requests_made = c.api_requests, api_requests_metered = c.api_requests_metered, total = c.total,
        amount_due = greatest(c.total, 0), currency = c.currency, lines = public.billing_lines_json(b, p_now),
        status = CASE WHEN coalesce(amount_paid, 0) >= c.total THEN 'paid' ELSE 'pending' END,
        paid_at = CASE WHEN coalesce(amount_paid, 0) >= c.total THEN coalesce(paid_at, p_now) END,
        closed_at = p_now, due_at = p_now + interval '336 hours'
        WHERE id = p_billing AND closed_at IS NULL;
    -- The next period may have a credit to take over.
    PERFORM public.billing_refresh(b.tenant_id, p_now);
    RETURN true;
END $$;

CREATE FUNCTION public.billing_close(p_now timestamptz, p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    due uuid[] := ARRAY(SELECT b.id FROM public.tenant_billing b WHERE b.closed_at IS NULL
        AND b.billing_period_end < public.utc_day(p_now) AND public.billing_is_closable(b, p_now) ORDER BY b.tenant_id LIMIT p_limit);
    bill uuid;
BEGIN
    FOREACH bill IN ARRAY due LOOP
        PERFORM public.billing_close_one(bill, p_now);
    END LOOP;
    RETURN cardinality(due);
END $$;

-- ---- payment ----

CREATE TABLE public.billing_payments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- What the one who took the money calls it: a payment is recorded once.
    external_id varchar(200) NOT NULL UNIQUE,
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    billing_id uuid NOT NULL REFERENCES public.tenant_billing (id) ON DELETE CASCADE,
    amount numeric(10,2) NOT NULL CHECK (amount > 0),
    currency char(3) NOT NULL,
    paid_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX billing_payments_billing_idx ON public.billing_payments (billing_id);

-- Whether a bill is overdue for longer than the tier lets pass.
CREATE FUNCTION public.billing_is_held(t public.tenants, p_now timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT t.status <> 'deleted' AND (t.plan->>'suspendAfterDays') IS NOT NULL AND EXISTS (
        SELECT FROM public.tenant_billing b WHERE b.tenant_id = t.id AND b.status = 'overdue' AND b.closed_at IS NOT NULL
            AND b.due_at + (t.plan->>'suspendAfterDays')::int * interval '24 hours' <= p_now)
$$;

CREATE FUNCTION public.billing_is_hold_due(t public.tenants, p_now timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT public.billing_is_held(t, p_now) <> (t.billing_hold_at IS NOT NULL)
$$;

-- Those tenants: only who has an overdue bill, or is held, is looked at.
CREATE FUNCTION public.billing_hold_due(p_now timestamptz, p_limit int) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
    SELECT t.id FROM public.tenants t WHERE (t.billing_hold_at IS NOT NULL OR t.id IN (SELECT b.tenant_id FROM public.tenant_billing b
            WHERE b.status = 'overdue' AND b.closed_at IS NOT NULL)) AND public.billing_is_hold_due(t, p_now) ORDER BY t.id LIMIT p_limit
$$;

-- Suspend, or let go again. The Tenant's spec is its owner's; the controller realises this beside it.
CREATE FUNCTION public.billing_hold(p_tenant uuid, p_now timestamptz) RETURNS void LANGUAGE sql AS $$
    UPDATE public.tenants t SET billing_hold_at = CASE WHEN t.billing_hold_at IS NULL THEN p_now END, updated_at = p_now
        WHERE t.id = p_tenant AND public.billing_is_hold_due(t, p_now)
$$;

-- Whether the payment view of a closed bill is behind.
CREATE FUNCTION public.billing_is_settling(b public.tenant_billing, p_now timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT b.closed_at IS NOT NULL AND b.status <> 'paid'
        AND (coalesce(b.amount_paid, 0) >= b.amount_due OR (b.status = 'pending' AND b.due_at <= p_now))
$$;

-- Payments that came as an UPDATE of amount_paid, due dates that passed, holds. Returns how many rows moved.
CREATE FUNCTION public.billing_settle(p_now timestamptz, p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    settled int;
    due uuid[];
    tenant uuid;
BEGIN
    WITH due AS (SELECT b.id FROM public.tenant_billing b WHERE b.closed_at IS NOT NULL AND b.status <> 'paid'
            AND public.billing_is_settling(b, p_now) ORDER BY b.id LIMIT p_limit FOR NO KEY UPDATE)
    UPDATE public.tenant_billing b SET status = CASE WHEN coalesce(amount_paid, 0) >= amount_due THEN 'paid' ELSE 'overdue' END,
        paid_at = CASE WHEN coalesce(amount_paid, 0) >= amount_due THEN coalesce(paid_at, p_now) END
        FROM due WHERE b.id = due.id AND public.billing_is_settling(b, p_now);
    GET DIAGNOSTICS settled = ROW_COUNT;
    due := ARRAY(SELECT public.billing_hold_due(p_now, p_limit));
    FOREACH tenant IN ARRAY due LOOP
        PERFORM public.billing_hold(tenant, p_now);
    END LOOP;
    RETURN settled + cardinality(due);
END $$;

-- Record a payment for the period that begins on p_period. The same external id again: nothing happens if all else is the same,
-- SQLSTATE TY409 if not. TY404: there is no such bill. Returns what the bill says now.
CREATE FUNCTION public.billing_record_payment(p_external_id text, p_tenant uuid, p_period date, p_amount numeric, p_currency text,
    p_paid_at timestamptz, p_now timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    b public.tenant_billing;
    known public.billing_payments;
    fresh boolean;
BEGIN
    SELECT * INTO b FROM public.tenant_billing WHERE tenant_id = p_tenant AND billing_period_start = p_period FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no bill of that tenant for the period from %', p_period USING ERRCODE = 'TY404';
    END IF;
    INSERT INTO public.billing_payments (external_id, tenant_id, billing_id, amount, currency, paid_at, recorded_at)
        VALUES (p_external_id, p_tenant, b.id, p_amount, p_currency, p_paid_at, p_now) ON CONFLICT (external_id) DO NOTHING;
    fresh := FOUND;
    SELECT * INTO known FROM public.billing_payments WHERE external_id = p_external_id;
    IF (known.billing_id, known.amount, known.currency, known.paid_at) IS DISTINCT FROM (b.id, p_amount, p_currency::char(3), p_paid_at) THEN
        RAISE EXCEPTION 'payment "%" is recorded already, and was another one', p_external_id USING ERRCODE = 'TY409';
    END IF;
    IF p_currency <> coalesce(b.currency, p_currency) THEN
        RAISE EXCEPTION 'the bill is in %, not in %', b.currency, p_currency USING ERRCODE = 'TY409';
    END IF;
    IF fresh THEN
        UPDATE public.tenant_billing SET amount_paid = coalesce(amount_paid, 0) + p_amount,
            status = CASE WHEN closed_at IS NOT NULL AND coalesce(amount_paid, 0) + p_amount >= amount_due THEN 'paid' ELSE status END,
            paid_at = CASE WHEN closed_at IS NOT NULL AND coalesce(amount_paid, 0) + p_amount >= amount_due
                THEN coalesce(paid_at, p_paid_at) ELSE paid_at END
            WHERE id = b.id RETURNING * INTO b;
        PERFORM public.billing_hold(p_tenant, p_now);
    END IF;
    RETURN jsonb_build_object('recorded', fresh, 'period', b.billing_period_start, 'amountDue', b.amount_due::text,
        'amountPaid', b.amount_paid::text, 'status', b.status);
END $$;

-- ---- usage that others deliver ----

-- Put one row into the ledger, and let bill and quota follow. The same key again: the same id if all else is the same, SQLSTATE TY409
-- if not. What starts again each month also counts in current_usage, by whole units.
CREATE FUNCTION public.usage_record(p_tenant uuid, p_resource text, p_kind text, p_quantity numeric, p_used_at timestamptz, p_key text,
    p_source text, p_now timestamptz, p_corrects bigint DEFAULT NULL, p_note text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    known public.usage_ledger;
    counts boolean := p_kind = 'count' AND public.quota_is_monthly(p_resource) AND public.utc_month(p_used_at) = public.utc_month(p_now);
    total numeric;
    units bigint;
    fresh bigint;
BEGIN
    PERFORM public.billing_follow(p_tenant, p_now);
    PERFORM public.usage_roll_tenant(p_tenant, p_now);
    PERFORM FROM public.tenant_quotas WHERE tenant_id = p_tenant AND resource_type = p_resource FOR NO KEY UPDATE;
    total := coalesce((SELECT sum(quantity) FROM public.usage_ledger WHERE tenant_id = p_tenant AND resource = p_resource
        AND kind = 'count' AND used_at >= public.utc_start(public.utc_month(p_now))), 0);
    INSERT INTO public.usage_ledger (tenant_id, resource, kind, quantity, used_at, key, source, note, corrects, recorded_at)
        VALUES (p_tenant, p_resource, p_kind, p_quantity, p_used_at, p_key, p_source, p_note, p_corrects, p_now)
        ON CONFLICT (tenant_id, key) DO NOTHING RETURNING id INTO fresh;
    IF fresh IS NULL THEN
        SELECT * INTO known FROM public.usage_ledger WHERE tenant_id = p_tenant AND key = p_key;
        IF (known.resource, known.kind, known.quantity, known.used_at, known.corrects)
                IS DISTINCT FROM (p_resource, p_kind, p_quantity::numeric(24,6), p_used_at, p_corrects) THEN
            RAISE EXCEPTION 'usage "%" is recorded already, and was another one', p_key USING ERRCODE = 'TY409';
        END IF;
        RETURN known.id;
    END IF;
    IF counts THEN
        units := floor(total + p_quantity) - floor(total);
        UPDATE public.tenant_quotas SET current_usage = greatest(coalesce(current_usage, 0) + units, 0),
            metered = metered + greatest(coalesce(current_usage, 0) + units, 0) - coalesce(current_usage, 0), updated_at = p_now
            WHERE tenant_id = p_tenant AND resource_type = p_resource AND units <> 0;
    END IF;
    PERFORM public.billing_refresh(p_tenant, p_now);
    RETURN fresh;
END $$;

-- A row more that corrects an earlier one by p_quantity, in the month that it was used in.
CREATE FUNCTION public.usage_correct(p_row bigint, p_quantity numeric, p_key text, p_note text, p_now timestamptz)
    RETURNS bigint LANGUAGE sql AS $$
    SELECT public.usage_record(l.tenant_id, l.resource, l.kind, p_quantity, l.used_at, p_key, 'correction', p_now, l.id, p_note)
        FROM public.usage_ledger l WHERE l.id = p_row
$$;

-- ---- the duty ----

-- Tenants whose open bills are behind.
CREATE FUNCTION public.billing_stale(p_now timestamptz, p_full boolean, p_limit int) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
    SELECT DISTINCT b.tenant_id FROM public.tenant_billing b
        LEFT JOIN public.tenant_quotas q ON q.tenant_id = b.tenant_id AND q.resource_type = 'api_requests'
            AND q.period_start >= b.billing_period_start AND q.period_start < b.billing_period_end
        WHERE b.closed_at IS NULL AND EXISTS (SELECT FROM public.billing_plans p WHERE p.tenant_id = b.tenant_id)
            AND CASE WHEN p_full THEN public.billing_differs(b, p_now)
                ELSE b.api_requests_made <> b.api_requests_metered + coalesce(q.current_usage, 0) - q.metered END
        LIMIT p_limit
$$;

-- Of the passes over all tenants, those that have work, in the order in which they are made. p_full: look at every open bill too, since
-- storage costs by the hour; otherwise only where requests were made.
CREATE FUNCTION public.billing_work(p_now timestamptz, p_full boolean) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT 'follow' WHERE EXISTS (SELECT FROM public.tenants t WHERE NOT public.billing_is_current(t, p_now))
    UNION ALL
    SELECT 'roll' WHERE EXISTS (SELECT FROM public.tenant_quotas q JOIN public.tenants t ON t.id = q.tenant_id AND t.status <> 'deleted'
        WHERE public.quota_is_monthly(q.resource_type) AND (q.period_start IS NULL OR q.period_start < public.utc_month(p_now)))
    UNION ALL
    SELECT 'meter' WHERE EXISTS (SELECT FROM public.tenant_quotas q JOIN public.tenants t ON t.id = q.tenant_id
        AND t.status <> 'deleted' AND t.tenant_uid IS NOT NULL WHERE public.usage_is_due(q, p_now))
    UNION ALL
    SELECT 'refresh' WHERE EXISTS (SELECT FROM public.billing_stale(p_now, p_full, 1))
    UNION ALL
    SELECT 'close' WHERE EXISTS (SELECT FROM public.tenant_billing b WHERE b.closed_at IS NULL
        AND b.billing_period_end < public.utc_day(p_now) AND public.billing_is_closable(b, p_now))
    UNION ALL
    SELECT 'settle' WHERE EXISTS (SELECT FROM public.tenant_billing b WHERE b.closed_at IS NOT NULL AND b.status <> 'paid'
            AND public.billing_is_settling(b, p_now))
        OR EXISTS (SELECT FROM public.billing_hold_due(p_now, 1))
$$;

-- One pass over at most p_limit tenants or rows. Returns how many there were: fewer than p_limit means that it is done.
CREATE FUNCTION public.billing_pass(p_pass text, p_now timestamptz, p_full boolean, p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    touched uuid[];
    tenant uuid;
BEGIN
    CASE p_pass
        WHEN 'follow' THEN RETURN public.billing_follow_all(p_now, p_limit);
        WHEN 'roll' THEN RETURN public.usage_roll(p_now, p_limit);
        WHEN 'close' THEN RETURN public.billing_close(p_now, p_limit);
        WHEN 'settle' THEN RETURN public.billing_settle(p_now, p_limit);
        WHEN 'meter' THEN touched := public.usage_meter(p_now, p_limit);
        WHEN 'refresh' THEN touched := ARRAY(SELECT s FROM public.billing_stale(p_now, p_full, p_limit) s ORDER BY s);
    END CASE;
    FOREACH tenant IN ARRAY touched LOOP
        PERFORM public.billing_refresh(tenant, p_now);
    END LOOP;
    RETURN cardinality(touched);
END $$;

-- ---- explaining ----

-- A period with everything that it was computed from: lines with their arithmetic, price snapshots, rows of the ledger, payments.
CREATE FUNCTION public.billing_explain(p_tenant uuid, p_period date, p_now timestamptz) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('tenantID', b.tenant_id, 'periodStart', b.billing_period_start, 'periodEnd', b.billing_period_end,
        'cycle', b.cycle, 'currency', b.currency, 'status', b.status, 'closedAt', b.closed_at, 'dueAt', b.due_at, 'paidAt', b.paid_at,
        'total', b.total::text, 'amountDue', b.amount_due::text, 'amountPaid', coalesce(b.amount_paid, 0)::text,
        'rounding', 'each line to 0.01, half away from zero',
        'lines', coalesce(b.lines, public.billing_lines_json(b, p_now)),
        'prices', (SELECT coalesce(jsonb_agg(jsonb_build_object('since', p.since, 'tier', p.tier, 'price', p.plan) ORDER BY p.since), '[]')
            FROM public.billing_plans p WHERE p.tenant_id = b.tenant_id AND p.since < b.billing_period_end
                AND NOT EXISTS (SELECT FROM public.billing_plans q WHERE q.tenant_id = p.tenant_id AND q.since > p.since
                    AND q.since <= b.billing_period_start)),
        'ledger', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', l.id, 'resource', l.resource, 'kind', l.kind,
                'quantity', trim_scale(l.quantity)::text, 'usedAt', l.used_at, 'key', l.key, 'source', l.source, 'note', l.note,
                'corrects', l.corrects, 'recordedAt', l.recorded_at, 'billedOn', l.billed_on) ORDER BY l.id), '[]')
            FROM public.usage_ledger l WHERE l.tenant_id = b.tenant_id AND l.billed_on = b.billing_period_start),
        'payments', (SELECT coalesce(jsonb_agg(jsonb_build_object('externalID', y.external_id, 'amount', y.amount::text,
                'currency', y.currency, 'paidAt', y.paid_at, 'recordedAt', y.recorded_at) ORDER BY y.recorded_at, y.external_id), '[]')
            FROM public.billing_payments y WHERE y.billing_id = b.id))
    FROM public.tenant_billing b WHERE b.tenant_id = p_tenant AND b.billing_period_start = p_period
$$;

-- Nobody but the controller's own role may change bills or the ledger; the gateway is granted what it needs by name.
REVOKE EXECUTE ON FUNCTION public.usage_take(uuid[], timestamptz, boolean), public.usage_roll(timestamptz, int),
    public.usage_roll_tenant(uuid, timestamptz), public.usage_meter(timestamptz, int), public.usage_finish(uuid, timestamptz),
    public.usage_append(public.tenant_quotas, bigint, timestamptz, timestamptz, text),
    public.usage_record(uuid, text, text, numeric, timestamptz, text, text, timestamptz, bigint, text),
    public.usage_correct(bigint, numeric, text, text, timestamptz), public.billing_follow(uuid, timestamptz),
    public.billing_follow_all(timestamptz, int), public.billing_refresh(uuid, timestamptz),
    public.billing_close_one(uuid, timestamptz), public.billing_close(timestamptz, int), public.billing_settle(timestamptz, int),
    public.billing_hold(uuid, timestamptz), public.billing_pass(text, timestamptz, boolean, int),
    public.billing_record_payment(text, uuid, date, numeric, text, timestamptz, timestamptz) FROM PUBLIC;
