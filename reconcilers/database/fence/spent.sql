
BEGIN
    -- Not for the platform's own sessions: who can act as the owner of the schema, that is the controller and migrations, and the gateway,
    -- which keeps passwords and keys. Nor where a dump was restored, without that owner.
    IF session_user <> 'tenantry_gateway'
       AND EXISTS (SELECT FROM pg_roles WHERE rolname = TG_ARGV[0] AND NOT pg_has_role(session_user, oid, 'MEMBER')) THEN
        RAISE EXCEPTION 'nothing is left of the quota storage_mb: % on "%" is refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'disk_full', HINT = 'DELETE, TRUNCATE and DROP work. Writing works again soon after enough was deleted, or once the quota is raised.';
    END IF;
    RETURN NULL;
END
