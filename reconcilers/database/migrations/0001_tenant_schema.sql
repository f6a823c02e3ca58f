-- The tenant schema (docs/isolation.md). Names are unqualified: the search path is the schema that the tables go to. What
-- differs from tenant to tenant and between modes (the default of tenant_id, policies, grants) is added by schema_sql.c.
-- Where many tenants share the tables, every key leads with tenant_id: what stands there as a comment is then meant.

CREATE TABLE users (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    email varchar(255) NOT NULL,
    password_hash varchar(255) NOT NULL,
    full_name varchar(255),
    role varchar(50) DEFAULT 'member',
    must_change_password boolean DEFAULT false,
    created_at timestamptz DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (/*tenant_id,*/ id),
    CONSTRAINT users_email_key UNIQUE (/*tenant_id,*/ email)
);

CREATE TABLE applications (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    user_id uuid,
    name varchar(255) NOT NULL,
    description text,
    sandbox_id varchar(255),
    status varchar(50) DEFAULT 'active',
    created_at timestamptz DEFAULT now(),
    CONSTRAINT applications_pkey PRIMARY KEY (/*tenant_id,*/ id),
    CONSTRAINT applications_user_id_fkey FOREIGN KEY (/*tenant_id,*/ user_id) REFERENCES users (/*tenant_id,*/ id) ON DELETE CASCADE
);
CREATE INDEX applications_user_id_idx ON applications (/*tenant_id,*/ user_id);

CREATE TABLE deployments (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    application_id uuid,
    version varchar(50) NOT NULL,
    status varchar(50) DEFAULT 'pending',
    deployed_at timestamptz,
    created_at timestamptz DEFAULT now(),
    CONSTRAINT deployments_pkey PRIMARY KEY (/*tenant_id,*/ id),
    CONSTRAINT deployments_application_id_fkey FOREIGN KEY (/*tenant_id,*/ application_id)
        REFERENCES applications (/*tenant_id,*/ id) ON DELETE CASCADE
);
CREATE INDEX deployments_application_id_idx ON deployments (/*tenant_id,*/ application_id);

CREATE TABLE api_keys (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    user_id uuid,
    key_hash varchar(255) NOT NULL,
    name varchar(255),
    last_used_at timestamptz,
    expires_at timestamptz,
    created_at timestamptz DEFAULT now(),
    CONSTRAINT api_keys_pkey PRIMARY KEY (/*tenant_id,*/ id),
    CONSTRAINT api_keys_key_hash_key UNIQUE (/*tenant_id,*/ key_hash),
    CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (/*tenant_id,*/ user_id) REFERENCES users (/*tenant_id,*/ id) ON DELETE CASCADE
);
CREATE INDEX api_keys_user_id_idx ON api_keys (/*tenant_id,*/ user_id);
