-- The tenant schema (docs/isolation.md). Names are unqualified: the search path is the schema that the tables go to. What
-- differs from tenant to tenant and between modes (the default of tenant_id, policies, grants) is added by schema_sql.c.

CREATE TABLE users (
    id uuid DEFAULT gen_random_uuid() CONSTRAINT users_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL,
    email varchar(255) NOT NULL CONSTRAINT users_email_key UNIQUE,
    password_hash varchar(255) NOT NULL,
    full_name varchar(255),
    role varchar(50) DEFAULT 'member',
    must_change_password boolean DEFAULT false,
    created_at timestamptz DEFAULT now()
);

CREATE TABLE applications (
    id uuid DEFAULT gen_random_uuid() CONSTRAINT applications_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL,
    user_id uuid CONSTRAINT applications_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    name varchar(255) NOT NULL,
    description text,
    sandbox_id varchar(255),
    status varchar(50) DEFAULT 'active',
    created_at timestamptz DEFAULT now()
);
CREATE INDEX applications_user_id_idx ON applications (user_id);

CREATE TABLE deployments (
    id uuid DEFAULT gen_random_uuid() CONSTRAINT deployments_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL,
    application_id uuid CONSTRAINT deployments_application_id_fkey REFERENCES applications (id) ON DELETE CASCADE,
    version varchar(50) NOT NULL,
    status varchar(50) DEFAULT 'pending',
    deployed_at timestamptz,
    created_at timestamptz DEFAULT now()
);
CREATE INDEX deployments_application_id_idx ON deployments (application_id);

CREATE TABLE api_keys (
    id uuid DEFAULT gen_random_uuid() CONSTRAINT api_keys_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL,
    user_id uuid CONSTRAINT api_keys_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    key_hash varchar(255) NOT NULL CONSTRAINT api_keys_key_hash_key UNIQUE,
    name varchar(255),
    last_used_at timestamptz,
    expires_at timestamptz,
    created_at timestamptz DEFAULT now()
);
CREATE INDEX api_keys_user_id_idx ON api_keys (user_id);
