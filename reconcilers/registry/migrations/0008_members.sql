-- Whom a Tenant's spec names, or did: only they are disabled when it names them no longer. Other programs have people of their own.
ALTER TABLE public.tenant_users ADD COLUMN managed boolean NOT NULL DEFAULT false;
