-- With pg_catalog alone, temporary tables of the caller come before it: they are named last, so that nobody's hide the catalog's.
DO $paths$
DECLARE
    found regprocedure;
BEGIN
    FOR found IN
        SELECT oid::regprocedure FROM pg_proc
         WHERE prosecdef AND pronamespace = 'public'::regnamespace AND pg_has_role(proowner, 'USAGE')
           AND proname IN ('quota_take', 'quota_give', 'quota_change', 'quota_changed', 'gateway_used', 'gateway_alive',
                           'billing_record_payment')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', found);
    END LOOP;
END
$paths$;
