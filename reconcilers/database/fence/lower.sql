-- Take the fence from every table of the tenant's, and its function away, as the controller's role.
-- Settings: tenantry.schema, tenantry.roles (those that may own a table, separated by blanks).
DO $lower$
DECLARE
    place constant text := current_setting('tenantry.schema');
    found record;
BEGIN
    FOR found IN
        SELECT format('%I.%I', n.nspname, c.relname) AS name, pg_get_userbyid(c.relowner) AS holder, pg_has_role(c.relowner, 'USAGE') AS held
          FROM pg_trigger g
          JOIN pg_class c ON c.oid = g.tgrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE g.tgname = 'tenantry_storage' AND pg_get_userbyid(c.relowner) = ANY (string_to_array(current_setting('tenantry.roles'), ' '))
    LOOP
        IF NOT found.held THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', found.holder);
        END IF;
        EXECUTE format('DROP TRIGGER tenantry_storage ON %s', found.name);
        IF NOT found.held THEN
            EXECUTE format('REVOKE %I FROM CURRENT_USER', found.holder);
        END IF;
    END LOOP;
    EXECUTE format('DROP FUNCTION IF EXISTS %I.tenantry_storage()', place);
END
$lower$;
