-- A receipt is one of the deletion it was written in. Where its Tenant stands again after that, as from a backup of the cluster, the
-- receipt is void: it tells where a dump is, and permits nothing. A later deletion gets one of its own.
ALTER TABLE public.tenant_snapshots
    ADD COLUMN voided_at timestamptz,
    DROP CONSTRAINT tenant_snapshots_tenant_id_tenant_uid_key;
CREATE UNIQUE INDEX tenant_snapshots_in_force ON public.tenant_snapshots (tenant_id, tenant_uid) WHERE voided_at IS NULL;
CREATE INDEX tenant_snapshots_voided ON public.tenant_snapshots (tenant_id, tenant_uid) WHERE voided_at IS NOT NULL;
