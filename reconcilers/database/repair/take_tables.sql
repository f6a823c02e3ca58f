-- Make the owner role own every table of the tenant schema again. Run as the controller's role.
-- Settings: tenantry.schema, tenantry.owner, tenantry.tables (names separated by blanks).
DO $take$
DECLARE
    place constant text := current_setting('tenantry.schema');
    owner constant text := current_setting('tenantry.owner');
    found record;
BEGIN
    FOR found IN
        SELECT c.relname AS name, pg_get_userbyid(c.relowner) AS holder, pg_has_role(c.relowner, 'USAGE') AS held
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = place AND c.relkind = 'r' AND pg_get_userbyid(c.relowner) <> owner
           AND c.relname = ANY (string_to_array(current_setting('tenantry.tables'), ' '))
    LOOP
        -- Only who can act as the old owner may give a table away.
        IF NOT found.held THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', found.holder);
        END IF;
        EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', place, found.name, owner);
        IF NOT found.held THEN
            EXECUTE format('REVOKE %I FROM CURRENT_USER', found.holder);
        END IF;
    END LOOP;
END
$take$;
