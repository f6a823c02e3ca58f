-- Which buckets a tenant has. A row comes before its bucket, so that none is ever forgotten; `made` follows it.
CREATE TABLE public.tenant_buckets (
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    name varchar(63) NOT NULL,
    bucket varchar(63) NOT NULL,
    store varchar(253) NOT NULL,
    made boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);
