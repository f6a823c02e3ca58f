-- What happens to a tenant after its deletion: the days of grace, and the snapshot that stands for what was removed.

-- What is to be done once the days of grace are over, and when that began: from then on nobody can take it back.
ALTER TABLE public.tenants
    ADD COLUMN purge_policy text CHECK (purge_policy IN ('Delete', 'Snapshot')),
    ADD COLUMN purge_began_at timestamptz;
CREATE INDEX tenant_retained_delete_after_idx ON public.tenant_retained (delete_after) WHERE delete_after IS NOT NULL;

-- One snapshot a deletion, which is that of one Tenant object. taken_at is NULL while it is being made.
CREATE TABLE public.tenant_snapshots (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    tenant_uid text NOT NULL,
    location varchar(255),
    object varchar(1024),
    sha256 char(64),
    size_bytes bigint,
    row_counts jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(row_counts) = 'object'),
    -- Tables whose row-level security stands to be forced again, should the making of the snapshot be cut short.
    unforced jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(unforced) = 'array'),
    began_at timestamptz NOT NULL DEFAULT now(),
    taken_at timestamptz,
    UNIQUE (tenant_id, tenant_uid)
);
