-- Everything about a schema that the controller made, as rows (item, definition) in words that are the same for every tenant:
-- without the tenant's part of its roles' names, without its id, and without the schema before a name.
-- Stands behind: WITH given (place, role_prefix, tenant_id, tables, functions, fence) AS (...), and in front of a query of `plain`.
n AS (
    SELECT n.oid, nspowner, nspacl FROM pg_namespace n, given WHERE nspname = place
), t AS (
    SELECT c.oid, relname, relowner, relkind, relpersistence, relrowsecurity, relforcerowsecurity, relacl
      FROM pg_class c JOIN n ON relnamespace = n.oid, given
     WHERE relname = ANY (string_to_array(tables, ' '))
), f AS (
    SELECT p.oid, proname, proowner, proacl FROM pg_proc p JOIN n ON pronamespace = n.oid, given
     WHERE proname = ANY (string_to_array(functions, ' '))
), lists (item, list) AS (
    SELECT 'table ' || relname, coalesce(relacl, acldefault('r', relowner)) FROM t
    UNION ALL
    SELECT format('column %s.%s', relname, attname), attacl FROM t JOIN pg_attribute ON attrelid = t.oid
    UNION ALL
    SELECT 'function ' || proname, coalesce(proacl, acldefault('f', proowner)) FROM f
    UNION ALL
    SELECT 'schema', coalesce(nspacl, acldefault('n', nspowner)) FROM n
    UNION ALL
    SELECT concat_ws(' ', 'default', defaclobjtype, CASE WHEN defaclnamespace = 0 THEN 'everywhere' ELSE 'here' END), defaclacl
      FROM n JOIN pg_default_acl ON defaclrole = nspowner AND defaclnamespace IN (0, n.oid)
), rights (item, grantee, rights) AS (
    SELECT item, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END,
           string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ',' ORDER BY privilege_type)
      FROM lists CROSS JOIN LATERAL aclexplode(list)
     GROUP BY 1, 2
), trees (kind, relname, name, tree) AS (
    SELECT 'column', relname, attname::text, adbin::text
      FROM t JOIN pg_attrdef ON adrelid = t.oid JOIN pg_attribute ON attrelid = t.oid AND attnum = adnum
    UNION ALL
    SELECT 'constraint', relname, conname, conbin::text FROM t JOIN pg_constraint ON conrelid = t.oid WHERE conbin IS NOT NULL
    UNION ALL
    SELECT 'index', t.relname, x.relname, concat(indexprs::text, indpred::text)
      FROM t JOIN pg_index ON indrelid = t.oid JOIN pg_class x ON x.oid = indexrelid
    UNION ALL
    SELECT 'statistics', relname, format('%I.%I', s.nspname, stxname), stxexprs::text
      FROM t JOIN pg_statistic_ext ON stxrelid = t.oid JOIN pg_namespace s ON s.oid = stxnamespace
), code (kind, relname, name) AS (
    -- Expressions that run as whoever touches the table, and call what is neither the server's own nor pure: anybody's code, or
    -- a function of the server that runs SQL it is given. Tables that tenants share have none that is not ours.
    SELECT kind, relname, name FROM trees, given
     WHERE functions = ''
       AND EXISTS (
           SELECT FROM regexp_matches(tree, ':(funcid|opfuncid|opno) ([1-9][0-9]*)', 'g') m
             LEFT JOIN pg_operator o ON m[1] = 'opno' AND o.oid = m[2]::oid
             LEFT JOIN pg_proc p ON p.oid = CASE m[1] WHEN 'opno' THEN o.oprcode::oid ELSE m[2]::oid END
             LEFT JOIN pg_roles r ON r.oid = proowner
            WHERE NOT coalesce(rolsuper AND (provolatile = 'i'
                  OR pronamespace = 'pg_catalog'::regnamespace
                     AND (provolatile = 's' AND proname !~ 'xml'
                          OR proname IN ('clock_timestamp', 'gen_random_uuid', 'nextval', 'random'))
                  OR proname IN ('uuid_generate_v1', 'uuid_generate_v1mc', 'uuid_generate_v4')), false))
), lines (item, definition) AS (
    SELECT 'schema', pg_get_userbyid(nspowner)::text FROM n
    UNION ALL
    -- A program that knows of another function finds that the list has changed.
    SELECT 'functions', functions FROM given WHERE functions <> ''
    UNION ALL
    SELECT 'table ' || relname,
           concat_ws(' ', pg_get_userbyid(relowner), relkind, relpersistence, relrowsecurity, relforcerowsecurity)
      FROM t
    UNION ALL
    SELECT format('column %s.%s', relname, attname),
           concat_ws(' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'not null' END,
                     pg_get_expr(adbin, adrelid), attidentity, attgenerated,
                     CASE WHEN functions <> '' AND attstattarget = 0 THEN 'no statistics' END)
      FROM given, t
      JOIN pg_attribute ON attrelid = t.oid AND attnum > 0 AND NOT attisdropped
      LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    UNION ALL
    SELECT 'function ' || proname, concat_ws(' ', pg_get_userbyid(proowner), pg_get_functiondef(oid)) FROM f
    UNION ALL
    SELECT format('constraint %s.%s', relname, conname), pg_get_constraintdef(c.oid)
      FROM t JOIN pg_constraint c ON conrelid = t.oid AND contype IN ('p', 'u', 'f', 'c', 'x')
    UNION ALL
    SELECT format('index %s.%s', t.relname, x.relname), pg_get_indexdef(x.oid) || CASE WHEN indisvalid THEN '' ELSE ' invalid' END
      FROM t JOIN pg_index ON indrelid = t.oid JOIN pg_class x ON x.oid = indexrelid
     WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = t.oid AND conindid = x.oid)
    UNION ALL
    SELECT format('policy %s.%s', relname, polname),
           concat_ws(' ', polcmd, polpermissive,
                     (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END, ',' ORDER BY r)
                        FROM unnest(polroles) r),
                     'using', pg_get_expr(polqual, polrelid), 'check', pg_get_expr(polwithcheck, polrelid))
      FROM t JOIN pg_policy ON polrelid = t.oid
    UNION ALL
    SELECT format('trigger %s.%s', relname, tgname), pg_get_triggerdef(g.oid)
      FROM given, t JOIN pg_trigger g ON tgrelid = t.oid AND NOT tgisinternal JOIN pg_proc p ON p.oid = tgfoid
     -- The fence of a tenant without storage comes and goes; but only as it is ours, word for word.
     WHERE NOT (tgname = 'tenantry_storage' AND prosrc = fence AND NOT prosecdef
                AND proconfig = ARRAY['search_path=pg_catalog, pg_temp'])
    UNION ALL
    SELECT format('rule %s.%s', relname, rulename), pg_get_ruledef(r.oid) FROM t JOIN pg_rewrite r ON ev_class = t.oid
    UNION ALL
    SELECT format('code in %s %s.%s', kind, relname, name), '' FROM code
    UNION ALL
    SELECT format('grant on %s to %s', item, grantee), rights FROM rights
), plain (item, definition) AS (
    SELECT replace(item, role_prefix, ''),
           replace(replace(replace(definition, tenant_id, 'TENANT'), role_prefix, ''), quote_ident(place) || '.', '')
      FROM lines, given
)
