-- Put the fence on every table of the tenant's that lacks it, as the controller's role; the function stands already.
-- Settings: tenantry.schema, tenantry.owner, tenantry.roles (those that may own a table, separated by blanks).
DO $raise$
DECLARE
    place constant text := current_setting('tenantry.schema');
    owner constant text := current_setting('tenantry.owner');
    found record;
BEGIN
    FOR found IN
        SELECT format('%I.%I', n.nspname, c.relname) AS name, pg_get_userbyid(c.relowner) AS holder, pg_has_role(c.relowner, 'USAGE') AS held
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pg_trigger g ON g.tgrelid = c.oid AND g.tgname = 'tenantry_storage'
         WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
           AND pg_get_userbyid(c.relowner) = ANY (string_to_array(current_setting('tenantry.roles'), ' '))
           AND (g.oid IS NULL OR g.tgenabled <> 'A' OR g.tgfoid <> to_regproc(format('%I.tenantry_storage', place)))
    LOOP
        -- Only who can act as the owner may put a trigger on a table.
        IF NOT found.held THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', found.holder);
        END IF;
        EXECUTE format('CREATE OR REPLACE TRIGGER tenantry_storage BEFORE INSERT OR UPDATE ON %s '
                       'FOR EACH STATEMENT EXECUTE FUNCTION %I.tenantry_storage(%L)', found.name, place, owner);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER tenantry_storage', found.name);
        IF NOT found.held THEN
            EXECUTE format('REVOKE %I FROM CURRENT_USER', found.holder);
        END IF;
    END LOOP;
END
$raise$;
