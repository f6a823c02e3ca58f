-- Make the tables of the tenant schema like those of a fresh one that stands beside it, and take all policies and rights from
-- them, which are given anew afterwards. Columns, constraints and indexes that the fresh one lacks are left alone, unless code
-- of somebody's hangs on them that would run as whoever touches the table: that goes, like triggers and rules. What
-- the data or somebody's view does not allow is left as it is and told afterwards by comparing: it must not keep the rest,
-- row-level security above all, from being put right.
-- Made as the owner role, and called by the controller: a function, since code that somebody put on the tables cannot leave the
-- role of one. Settings: tenantry.schema (to repair), tenantry.scratch (the fresh one), tenantry.code (what
-- carries code, as JSON: [kind, table, name] of each).
CREATE FUNCTION tenantry_scratch.repair() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $repair$
DECLARE
    place constant text := current_setting('tenantry.schema');
    fresh constant text := current_setting('tenantry.scratch');
    place_oid constant oid := (SELECT oid FROM pg_namespace WHERE nspname = current_setting('tenantry.schema'));
    fresh_oid constant oid := (SELECT oid FROM pg_namespace WHERE nspname = current_setting('tenantry.scratch'));
    -- How the deparser writes the two schemas in front of a name.
    place_prefix constant text := quote_ident(place) || '.';
    fresh_prefix constant text := quote_ident(fresh) || '.';
    wanted record;
BEGIN
    FOR wanted IN
        SELECT c.relname AS name FROM pg_class c
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r'
           AND NOT EXISTS (SELECT FROM pg_class p WHERE p.relnamespace = place_oid AND p.relname = c.relname)
    LOOP
        EXECUTE format('CREATE TABLE %I.%I ()', place, wanted.name);
    END LOOP;

    -- First of all, since what follows would run it.
    FOR wanted IN
        SELECT p.relname AS table_name, 'TRIGGER' AS kind, g.tgname AS name
          FROM pg_class c
          JOIN pg_class p ON p.relnamespace = place_oid AND p.relname = c.relname
          JOIN pg_trigger g ON g.tgrelid = p.oid AND NOT g.tgisinternal
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r'
         UNION ALL
        SELECT p.relname, 'RULE', r.rulename
          FROM pg_class c
          JOIN pg_class p ON p.relnamespace = place_oid AND p.relname = c.relname AND p.relkind = 'r'
          JOIN pg_rewrite r ON r.ev_class = p.oid
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r'
    LOOP
        EXECUTE format('DROP %s IF EXISTS %I ON %I.%I CASCADE', wanted.kind, wanted.name, place, wanted.table_name);
    END LOOP;
    FOR wanted IN
        SELECT e ->> 0 AS kind, e ->> 1 AS table_name, e ->> 2 AS name, k.conname AS held_by, a.attgenerated <> '' AS generated
          FROM json_array_elements(current_setting('tenantry.code')::json) e
          JOIN pg_class p ON p.relnamespace = place_oid AND p.relname = e ->> 1
          LEFT JOIN pg_class x ON e ->> 0 = 'index' AND x.relnamespace = place_oid AND x.relname = e ->> 2
          LEFT JOIN pg_constraint k ON k.conrelid = p.oid AND k.conindid = x.oid
          LEFT JOIN pg_attribute a ON e ->> 0 = 'column' AND a.attrelid = p.oid AND a.attname = e ->> 2
    LOOP
        IF wanted.kind = 'statistics' THEN
            EXECUTE format('DROP STATISTICS IF EXISTS %s', wanted.name);
        ELSIF wanted.kind = 'index' AND wanted.held_by IS NULL THEN
            EXECUTE format('DROP INDEX IF EXISTS %I.%I', place, wanted.name);
        ELSIF wanted.kind = 'column' THEN
            EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN %I DROP %s', place, wanted.table_name, wanted.name,
                           CASE WHEN wanted.generated THEN 'EXPRESSION' ELSE 'DEFAULT' END);
        ELSE
            EXECUTE format('ALTER TABLE %I.%I DROP CONSTRAINT IF EXISTS %I CASCADE', place, wanted.table_name,
                           coalesce(wanted.held_by, wanted.name));
        END IF;
    END LOOP;

    FOR wanted IN
        SELECT c.relname AS table_name, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required,
               format_type(a.atttypid, -1) AS any_length, pg_get_expr(d.adbin, d.adrelid) AS value,
               b.attname IS NOT NULL AS there, format_type(b.atttypid, b.atttypmod) AS old_type, b.attnotnull AS old_required,
               pg_get_expr(e.adbin, e.adrelid) AS old_value
          FROM pg_class c
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
          JOIN pg_class p ON p.relnamespace = place_oid AND p.relname = c.relname
          LEFT JOIN pg_attribute b ON b.attrelid = p.oid AND b.attname = a.attname AND NOT b.attisdropped
          LEFT JOIN pg_attrdef e ON e.adrelid = b.attrelid AND e.adnum = b.attnum
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r'
         ORDER BY c.relname, a.attnum
    LOOP
        BEGIN
            IF NOT wanted.there THEN
                EXECUTE format('ALTER TABLE %I.%I ADD COLUMN %I %s%s%s', place, wanted.table_name, wanted.name, wanted.type,
                               coalesce(' DEFAULT ' || wanted.value, ''), CASE WHEN wanted.required THEN ' NOT NULL' ELSE '' END);
                CONTINUE;
            END IF;
            IF wanted.type <> wanted.old_type THEN
                -- A cast that one writes cuts off what is too long; an assignment refuses it, and then the column stays as it is. What has
                -- to be cast to be assigned at all is cast to the type of any length.
                BEGIN
                    EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN %I TYPE %s', place, wanted.table_name, wanted.name, wanted.type);
                EXCEPTION WHEN datatype_mismatch THEN
                    EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN %I TYPE %s USING %I::%s', place, wanted.table_name, wanted.name,
                                   wanted.type, wanted.name, wanted.any_length);
                END;
            END IF;
            IF wanted.value IS DISTINCT FROM wanted.old_value THEN
                EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN %I %s', place, wanted.table_name, wanted.name,
                               coalesce('SET DEFAULT ' || wanted.value, 'DROP DEFAULT'));
            END IF;
            IF wanted.required <> wanted.old_required THEN
                EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN %I %s NOT NULL', place, wanted.table_name, wanted.name,
                               CASE WHEN wanted.required THEN 'SET' ELSE 'DROP' END);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;

    -- Of the right name, but not what they should be.
    FOR wanted IN
        SELECT p.relname AS table_name, k.conname AS name
          FROM pg_class c
          JOIN pg_constraint w ON w.conrelid = c.oid
          JOIN pg_class p ON p.relnamespace = place_oid AND p.relname = c.relname
          JOIN pg_constraint k ON k.conrelid = p.oid AND k.conname = w.conname
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r' AND w.contype IN ('p', 'u', 'f', 'c', 'x')
           AND replace(pg_get_constraintdef(w.oid), fresh_prefix, place_prefix)
               NOT IN (pg_get_constraintdef(k.oid), replace(pg_get_constraintdef(k.oid), ' NOT VALID', ''))
    LOOP
        EXECUTE format('ALTER TABLE %I.%I DROP CONSTRAINT IF EXISTS %I CASCADE', place, wanted.table_name, wanted.name);
    END LOOP;

    -- Keys before what refers to them. A reference is enforced from now on at once; rows from before may contradict it.
    FOR wanted IN
        SELECT p.relname AS table_name, w.conname AS name, w.contype AS kind,
               replace(pg_get_constraintdef(w.oid), fresh_prefix, place_prefix) AS definition
          FROM pg_class c
          JOIN pg_constraint w ON w.conrelid = c.oid
          JOIN pg_class p ON p.relnamespace = place_oid AND p.relname = c.relname
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r' AND w.contype IN ('p', 'u', 'f', 'c', 'x')
           AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = p.oid AND k.conname = w.conname)
         ORDER BY w.contype = 'f', c.relname, w.conname
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s%s', place, wanted.table_name, wanted.name, wanted.definition,
                           CASE WHEN wanted.kind IN ('f', 'c') THEN ' NOT VALID' ELSE '' END);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
    FOR wanted IN
        SELECT p.relname AS table_name, k.conname AS name
          FROM pg_class c
          JOIN pg_constraint w ON w.conrelid = c.oid
          JOIN pg_class p ON p.relnamespace = place_oid AND p.relname = c.relname
          JOIN pg_constraint k ON k.conrelid = p.oid AND k.conname = w.conname
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r' AND w.convalidated AND NOT k.convalidated
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %I.%I VALIDATE CONSTRAINT %I', place, wanted.table_name, wanted.name);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;

    FOR wanted IN
        SELECT w.relname AS name, replace(pg_get_indexdef(w.oid), fresh_prefix, place_prefix) AS definition, o.oid IS NOT NULL AS there
          FROM pg_class c
          JOIN pg_index i ON i.indrelid = c.oid
          JOIN pg_class w ON w.oid = i.indexrelid
          LEFT JOIN pg_class o ON o.relnamespace = place_oid AND o.relname = w.relname
          LEFT JOIN pg_index x ON x.indexrelid = o.oid
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r'
           AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.conindid = w.oid)
           AND (o.oid IS NULL OR NOT x.indisvalid
                OR pg_get_indexdef(o.oid) <> replace(pg_get_indexdef(w.oid), fresh_prefix, place_prefix))
    LOOP
        BEGIN
            IF wanted.there THEN
                EXECUTE format('DROP INDEX %I.%I', place, wanted.name);
            END IF;
            EXECUTE wanted.definition;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;

    FOR wanted IN
        SELECT p.relname AS table_name, l.polname AS name
          FROM pg_class c
          JOIN pg_class p ON p.relnamespace = place_oid AND p.relname = c.relname
          JOIN pg_policy l ON l.polrelid = p.oid
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r'
    LOOP
        EXECUTE format('DROP POLICY %I ON %I.%I', wanted.name, place, wanted.table_name);
    END LOOP;

    -- A role with rights on columns alone is named in the columns.
    FOR wanted IN
        SELECT DISTINCT p.relname AS table_name, g.grantee
          FROM pg_class c
          JOIN pg_class p ON p.relnamespace = place_oid AND p.relname = c.relname
         CROSS JOIN LATERAL (
               SELECT grantee FROM aclexplode(p.relacl)
                UNION
               SELECT e.grantee FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) e WHERE a.attrelid = p.oid) g
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r' AND g.grantee <> p.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE %I.%I FROM %s CASCADE', place, wanted.table_name,
                       CASE WHEN wanted.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(wanted.grantee)) END);
    END LOOP;
    FOR wanted IN
        SELECT p.relname AS table_name FROM pg_class c
          JOIN pg_class p ON p.relnamespace = place_oid AND p.relname = c.relname
         WHERE c.relnamespace = fresh_oid AND c.relkind = 'r'
    LOOP
        EXECUTE format('GRANT ALL ON TABLE %I.%I TO CURRENT_USER', place, wanted.table_name);
    END LOOP;
    FOR wanted IN
        SELECT DISTINCT e.grantee FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) e
         WHERE n.oid = place_oid AND e.grantee <> n.nspowner
    LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %s CASCADE', place,
                       CASE WHEN wanted.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(wanted.grantee)) END);
    END LOOP;
    EXECUTE format('GRANT ALL ON SCHEMA %I TO CURRENT_USER', place);

    FOR wanted IN
        SELECT DISTINCT CASE a.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END AS kind,
               e.grantee
          FROM pg_default_acl a CROSS JOIN LATERAL aclexplode(a.defaclacl) e
         WHERE a.defaclnamespace = place_oid AND pg_get_userbyid(a.defaclrole) = current_user AND a.defaclobjtype IN ('r', 'S', 'f', 'T')
    LOOP
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I REVOKE ALL ON %s FROM %s', place, wanted.kind,
                       CASE WHEN wanted.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(wanted.grantee)) END);
    END LOOP;
END
$repair$;
