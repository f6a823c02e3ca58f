-- What isolation mode Row needs besides the tenant schema. Run as the owner role, with the search path on the schema, as often
-- as one likes.

-- Whose login is whose. No tenant can read it, let alone write it: nobody but the owner role has a right on it.
CREATE TABLE IF NOT EXISTS tenant_logins (
    login name CONSTRAINT tenant_logins_pkey PRIMARY KEY,
    tenant_id uuid NOT NULL,
    spent boolean NOT NULL DEFAULT false -- nothing is left of the tenant's storage_mb
);

-- The tenant whose rows the session may see; NULL = none. `acting` is current_user where the question is asked, since in
-- here that is the owner of this function. A login's tenant follows from who logged in, which no SET changes; a setting
-- that names another tenant hides everything. Only the roles that no tenant holds go by the setting. Settings are compared as
-- text, or cast only when they look like a UUID, so that none makes a query fail.
CREATE OR REPLACE FUNCTION tenant(acting name) RETURNS uuid
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp
AS $tenant$
DECLARE
    named constant text := lower(nullif(current_setting('app.tenant_id', true), ''));
    own uuid;
BEGIN
    IF acting IN ('tenantry_app', 'tenantry_gateway', 'tenantry_rows.owner') THEN
        RETURN CASE WHEN named ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN named::uuid END;
    END IF;
    SELECT l.tenant_id INTO own FROM tenantry_rows.tenant_logins l WHERE l.login = session_user;
    RETURN CASE WHEN named IS NULL OR named = own::text THEN own END;
END
$tenant$;
REVOKE ALL ON FUNCTION tenant(name) FROM PUBLIC;

-- The same for rows that are written, which policies check: the one look into the mapping that a statement takes anyway. Where
-- nothing is left of storage_mb it fails, so that INSERT and UPDATE do, and DELETE, which writes no row, does not.
CREATE OR REPLACE FUNCTION writer(acting name) RETURNS uuid
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp
AS $writer$
DECLARE
    named constant text := lower(nullif(current_setting('app.tenant_id', true), ''));
    own uuid;
    is_spent boolean;
BEGIN
    IF acting IN ('tenantry_app', 'tenantry_gateway', 'tenantry_rows.owner') THEN
        RETURN CASE WHEN named ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN named::uuid END;
    END IF;
    SELECT l.tenant_id, l.spent INTO own, is_spent FROM tenantry_rows.tenant_logins l WHERE l.login = session_user;
    IF is_spent THEN
        RAISE EXCEPTION 'nothing is left of the quota storage_mb: INSERT and UPDATE are refused'
            USING ERRCODE = 'disk_full', HINT = 'DELETE works. Writing works again soon after enough was deleted, or once the quota is raised.';
    END IF;
    RETURN CASE WHEN named IS NULL OR named = own::text THEN own END;
END
$writer$;
REVOKE ALL ON FUNCTION writer(name) FROM PUBLIC;

-- Statistics hold samples of all tenants' values, and the planner's estimates, which EXPLAIN shows, follow them: none are
-- kept but of tenant_id, by which every query finds its rows.
DO $statistics$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname <> 'tenant_logins'
           AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'tenant_id' AND a.attstattarget IS DISTINCT FROM 0
    LOOP
        EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN %I SET STATISTICS 0', current_schema(), found.relname, found.attname);
    END LOOP;
END
$statistics$;
