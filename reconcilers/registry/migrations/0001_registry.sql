-- The registry: what must outlive the cluster (docs/registry.md). Names are qualified, since the search path is pg_catalog.

REVOKE CREATE ON SCHEMA public FROM PUBLIC;

CREATE TABLE public.tenants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name varchar(255) NOT NULL,
    subdomain varchar(255) NOT NULL,
    tier varchar(50) NOT NULL,
    status varchar(50) NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleted')),
    max_sandboxes int DEFAULT 5,
    max_storage_mb int DEFAULT 1000,
    max_compute_hours int DEFAULT 10,
    max_users int DEFAULT 5,
    billing_plan varchar(50),
    billing_cycle varchar(50) CHECK (billing_cycle IN ('monthly', 'annual')),
    mrr decimal(10,2) DEFAULT 0,
    database_name varchar(255) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    -- The Tenant object whose row this is. Both are NULL in a row that some other program made.
    tenant_name text,
    tenant_uid text,
    -- The place, taken once.
    server text,
    isolation text CHECK (isolation IN ('Database', 'Schema', 'Row')),
    schema_name text,
    settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object')
);
CREATE UNIQUE INDEX tenants_subdomain_key ON public.tenants (subdomain) WHERE status <> 'deleted';
CREATE UNIQUE INDEX tenants_tenant_uid_key ON public.tenants (tenant_uid) WHERE status <> 'deleted';
CREATE INDEX tenants_subdomain_idx ON public.tenants (subdomain);
CREATE INDEX tenants_tenant_uid_idx ON public.tenants (tenant_uid);
CREATE INDEX tenants_status_idx ON public.tenants (status);

CREATE TABLE public.tenant_users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    email varchar(255) NOT NULL,
    role varchar(50) NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    status varchar(50) DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, email)
);
CREATE INDEX tenant_users_tenant_id_idx ON public.tenant_users (tenant_id);

CREATE TABLE public.tenant_quotas (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    resource_type varchar(100) NOT NULL,
    current_usage bigint DEFAULT 0,
    quota_limit bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, resource_type)
);
CREATE INDEX tenant_quotas_tenant_id_idx ON public.tenant_quotas (tenant_id);

CREATE TABLE public.tenant_billing (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    billing_period_start date NOT NULL,
    billing_period_end date NOT NULL,
    sandboxes_used int DEFAULT 0,
    storage_gb_used decimal(10,2) DEFAULT 0,
    compute_hours_used decimal(10,2) DEFAULT 0,
    api_requests_made bigint DEFAULT 0,
    amount_due decimal(10,2) DEFAULT 0,
    amount_paid decimal(10,2) DEFAULT 0,
    status varchar(50) DEFAULT 'pending' CHECK (status IN ('pending', 'paid', 'overdue')),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (billing_period_end > billing_period_start),
    UNIQUE (tenant_id, billing_period_start)
);

CREATE TABLE public.tenant_retained (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    subdomain varchar(255) NOT NULL,
    kind varchar(50) NOT NULL CHECK (kind IN ('database', 'schema', 'rows', 'role', 'bucket')),
    name varchar(255) NOT NULL,
    location varchar(255) NOT NULL,
    size_bytes bigint,
    retained_at timestamptz NOT NULL DEFAULT now(),
    delete_after timestamptz,
    UNIQUE (tenant_id, kind, name, location)
);
CREATE INDEX tenant_retained_subdomain_idx ON public.tenant_retained (subdomain);

-- SHA-256 of generated secrets that are in force, to tell a Secret that was lost or edited. Never a password.
CREATE TABLE public.tenant_credentials (
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    kind varchar(50) NOT NULL,
    digest char(64) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kind)
);
