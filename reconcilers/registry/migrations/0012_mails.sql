-- What was sent to whom on behalf of a tenant: each kind of message once a recipient. At least once, since a message goes out before its row is written.
CREATE TABLE public.tenant_mails (
    tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
    kind varchar(50) NOT NULL,
    recipient varchar(255) NOT NULL,
    message_id text NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kind, recipient)
);
