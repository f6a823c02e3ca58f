package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// A catalog is what PostgreSQL has: per server, and per database. Rows are generic JSON, so that nothing here knows what a tenant is made of.
type catalog struct {
	Databases   map[string]map[string]any
	Roles       map[string]map[string]any
	Memberships []map[string]any
	Settings    []map[string]any
	// Of each database: kind of thing → things; "rows TABLE" → its rows.
	Inside map[string]map[string][]map[string]any
}

const serverQuery = `
SELECT json_build_object(
  'Databases', (SELECT json_object_agg(datname, json_build_object(
      'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding), 'collate', datcollate, 'template', datistemplate,
      'connections', datallowconn, 'limit', datconnlimit, 'comment', shobj_description(oid, 'pg_database'),
      'acl', (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(datacl) acl))) FROM pg_database),
  'Roles', (SELECT json_object_agg(rolname, json_build_object(
      'super', rolsuper, 'inherit', rolinherit, 'createrole', rolcreaterole, 'createdb', rolcreatedb, 'login', rolcanlogin,
      'replication', rolreplication, 'bypassrls', rolbypassrls, 'limit', rolconnlimit, 'until', rolvaliduntil,
      'password', left(rolpassword, 14), 'comment', shobj_description(oid, 'pg_authid'))) FROM pg_authid WHERE oid >= 16384),
  'Memberships', (SELECT json_agg(json_build_object('role', pg_get_userbyid(roleid), 'member', pg_get_userbyid(member), 'admin', admin_option))
      FROM pg_auth_members WHERE member >= 16384),
  'Settings', (SELECT coalesce(json_agg(json_build_object('database', datname, 'role', rolname,
      'config', (SELECT array_agg(config ORDER BY config) FROM unnest(setconfig) config))), '[]'::json)
      FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_authid r ON r.oid = setrole));`

// Of what extensions bring along nothing is listed; they are, themselves.
const databaseQuery = `
CREATE TEMP VIEW own_namespace AS SELECT * FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema';
CREATE TEMP VIEW foreign_object AS SELECT classid, objid FROM pg_depend WHERE deptype = 'e';
CREATE TEMP VIEW own_class AS SELECT * FROM pg_class c WHERE relnamespace IN (SELECT oid FROM own_namespace)
   AND NOT EXISTS (SELECT FROM foreign_object WHERE classid = 'pg_class'::regclass AND objid = c.oid);
CREATE FUNCTION pg_temp.list(query text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE result json; BEGIN
  EXECUTE 'SELECT coalesce(json_agg(row_to_json(t)), ''[]'') FROM (' || query || ') t' INTO result; RETURN result; END $$;
CREATE FUNCTION pg_temp.acl(acl aclitem[]) RETURNS text[] LANGUAGE sql AS $$ SELECT array_agg(a::text ORDER BY a::text) FROM unnest(acl) a $$;
CREATE FUNCTION pg_temp.rows() RETURNS json LANGUAGE plpgsql STABLE AS $$
DECLARE result jsonb := '{}'; name text; rows jsonb; BEGIN
  FOR name IN SELECT format('%I.%I', nspname, relname) FROM pg_temp.own_class c JOIN pg_temp.own_namespace n ON n.oid = relnamespace WHERE relkind = 'r' LOOP
    EXECUTE 'SELECT coalesce(jsonb_agg(to_jsonb(t)), ''[]'') FROM ONLY ' || name || ' t' INTO rows;
    result := result || jsonb_build_object(name, rows);
  END LOOP; RETURN result; END $$;
SELECT json_build_object(
  'schemas', pg_temp.list($$SELECT nspname AS name, pg_get_userbyid(nspowner) AS owner, pg_temp.acl(nspacl) AS acl FROM own_namespace$$),
  'relations', pg_temp.list($$SELECT oid::regclass::text AS name, relkind AS kind, pg_get_userbyid(relowner) AS owner, pg_temp.acl(relacl) AS acl,
      relrowsecurity AS rls, relforcerowsecurity AS forced, reloptions AS options FROM own_class$$),
  'columns', pg_temp.list($$SELECT attrelid::regclass::text || '.' || attname AS name, attnum AS number, format_type(atttypid, atttypmod) AS type,
      attnotnull AS required, pg_get_expr(adbin, adrelid) AS fallback, pg_temp.acl(attacl) AS acl
      FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
      WHERE attrelid IN (SELECT oid FROM own_class) AND attnum > 0 AND NOT attisdropped$$),
  'constraints', pg_temp.list($$SELECT conrelid::regclass::text || ' ' || conname AS name, pg_get_constraintdef(oid) AS definition, convalidated AS valid
      FROM pg_constraint WHERE connamespace IN (SELECT oid FROM own_namespace)$$),
  'indexes', pg_temp.list($$SELECT pg_get_indexdef(indexrelid) AS name, indisvalid AS valid FROM pg_index WHERE indexrelid IN (SELECT oid FROM own_class)$$),
  'views', pg_temp.list($$SELECT oid::regclass::text AS name, pg_get_viewdef(oid) AS definition FROM own_class WHERE relkind IN ('v', 'm')$$),
  'policies', pg_temp.list($$SELECT polrelid::regclass::text || ' ' || polname AS name, polcmd AS command, polpermissive AS permissive,
      (SELECT array_agg(CASE r WHEN 0 THEN 'public' ELSE pg_get_userbyid(r) END ORDER BY 1) FROM unnest(polroles) r) AS roles,
      pg_get_expr(polqual, polrelid) AS using, pg_get_expr(polwithcheck, polrelid) AS "check" FROM pg_policy$$),
  'functions', pg_temp.list($$SELECT oid::regprocedure::text AS name, pg_get_userbyid(proowner) AS owner, pg_temp.acl(proacl) AS acl, prosecdef AS definer,
      proconfig AS config, md5(prosrc) AS body FROM pg_proc p WHERE pronamespace IN (SELECT oid FROM own_namespace)
      AND NOT EXISTS (SELECT FROM foreign_object WHERE classid = 'pg_proc'::regclass AND objid = p.oid)$$),
  'triggers', pg_temp.list($$SELECT pg_get_triggerdef(oid) AS name, tgenabled AS enabled FROM pg_trigger WHERE NOT tgisinternal$$),
  'types', pg_temp.list($$SELECT oid::regtype::text AS name, typtype AS kind, pg_get_userbyid(typowner) AS owner FROM pg_type t
      WHERE typnamespace IN (SELECT oid FROM own_namespace) AND typtype IN ('e', 'd', 'r')
      AND NOT EXISTS (SELECT FROM foreign_object WHERE classid = 'pg_type'::regclass AND objid = t.oid)$$),
  'extensions', pg_temp.list($$SELECT extname AS name, extversion AS version, extnamespace::regnamespace::text AS schema FROM pg_extension$$),
  'defaults', pg_temp.list($$SELECT pg_get_userbyid(defaclrole) || ' ' || coalesce(nspname, '') || ' ' || defaclobjtype::text AS name, pg_temp.acl(defaclacl) AS acl
      FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace$$),
  'comments', pg_temp.list($$SELECT pg_describe_object(classoid, objoid, objsubid) AS name, description FROM pg_description WHERE objoid >= 16384$$),
  'rows', pg_temp.rows());`

// catalogNow reads the server, and the inside of its databases. A spare that is given away, or dropped, while it is looked at has the look begun anew.
func (w *world) catalogNow() (*catalog, error) {
	c, err := w.catalogOnce()
	for tries := 1; err != nil && tries < mostTries && vanished.MatchString(err.Error()); tries++ {
		c, err = w.catalogOnce()
	}
	return c, err
}

var vanished = regexp.MustCompile(`database "[^"]*" does not exist`)

func (w *world) catalogOnce() (*catalog, error) {
	c := &catalog{Inside: map[string]map[string][]map[string]any{}}
	if err := w.psqlJSON("postgres", serverQuery, c); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	var failures []error
	for name, fields := range c.Databases {
		if fields["template"] == true {
			continue
		}
		group.Go(func() {
			inside, err := w.insideLocked(name, fields["connections"] != true)
			mu.Lock()
			defer mu.Unlock()
			c.Inside[name] = inside
			if err != nil {
				failures = append(failures, err)
			}
		})
	}
	group.Wait()
	return c, errors.Join(failures...)
}

// insideLocked is inside for a database that may be locked. Then it is opened for a moment; a tenant's roles may not connect even so.
func (w *world) insideLocked(database string, locked bool) (map[string][]map[string]any, error) {
	if !locked {
		return w.inside(database)
	}
	if err := w.allowConnections(database, true); err != nil {
		return nil, err
	}
	inside, err := w.inside(database)
	return inside, errors.Join(err, w.allowConnections(database, false))
}

func (w *world) allowConnections(database string, allow bool) error {
	_, err := w.psql("postgres", fmt.Sprintf(`ALTER DATABASE %s ALLOW_CONNECTIONS %t;`, quote(database), allow))
	return err
}

func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// leaveMiscounts leaves of the registry's counters of tenants those that are wrong. The right ones say how many tenants others have, too.
func leaveMiscounts(tables map[string][]map[string]any) {
	loads, counted := tables["public.server_loads"]
	if !counted {
		return
	}
	living := map[string]float64{}
	for _, row := range tables["public.tenants"] {
		if server, placed := row["server"].(string); placed && row["status"] != "deleted" {
			living[server]++
		}
	}
	var wrong []map[string]any
	for _, row := range loads {
		server, _ := row["server"].(string)
		if row["tenants"] != living[server] {
			wrong = append(wrong, row)
		}
		delete(living, server)
	}
	for server := range living {
		wrong = append(wrong, map[string]any{"server": server, "tenants": 0.0})
	}
	tables["public.server_loads"] = wrong
}

// inside reads one database: its objects, and every row of every table.
func (w *world) inside(database string) (map[string][]map[string]any, error) {
	text, err := w.psql(database, databaseQuery)
	if err != nil {
		return nil, err
	}
	var kinds map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &kinds); err != nil {
		return nil, err
	}
	list := map[string][]map[string]any{}
	for kind, value := range kinds {
		if kind == "rows" {
			var tables map[string][]map[string]any
			if err := json.Unmarshal(value, &tables); err != nil {
				return nil, err
			}
			leaveMiscounts(tables)
			for name, rows := range tables {
				list["rows "+name] = rows
			}
			continue
		}
		var things []map[string]any
		if err := json.Unmarshal(value, &things); err != nil {
			return nil, err
		}
		list[kind] = things
	}
	return list, nil
}
