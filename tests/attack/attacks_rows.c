/* Getting at the other's rows: directly, past the policies, by what an error or estimate tells. */
#include "tests/attack/attacks.h"

#include "controller/base/attributes.h"

/* Says what it is given, and costs next to nothing, so that the planner would like to run it first.
 */
#define LEAK                                                                                       \
    "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS "       \
    "$$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$; "

const struct attack attacks_rows[] = {
    {"reading the other's schema", IN_SCHEMA, "SELECT * FROM {their_schema}.users", NULL},
    {"INSERT for the other", ANYWHERE,
     "INSERT INTO {schema}.users (tenant_id, email, password_hash) VALUES ('{their_id}', 'x', 'x')",
     "42501"},
    {"INSERT for the other as the group", ANYWHERE,
     "SET ROLE {rw}; INSERT INTO {schema}.users (tenant_id, email, password_hash) VALUES "
     "('{their_id}', 'x', 'x')",
     "42501"},
    {"giving rows to the other", ANYWHERE, "UPDATE {schema}.users SET tenant_id = '{their_id}'",
     "42501"},
    {"UPDATE of everything", ANYWHERE,
     "BEGIN; UPDATE {schema}.users SET full_name = 'x' RETURNING *; ROLLBACK", ""},
    {"UPDATE with the other's setting", ANYWHERE,
     "SET app.tenant_id = '{their_id}'; UPDATE {schema}.users SET full_name = 'x' RETURNING *", ""},
    {"DELETE of everything", ANYWHERE,
     "BEGIN; DELETE FROM {schema}.deployments RETURNING *; DELETE FROM {schema}.users RETURNING *; "
     "ROLLBACK",
     ""},
    {"DELETE of one of the other's", ANYWHERE,
     "DELETE FROM {schema}.users WHERE id = '{probe}' RETURNING *", ""},
    {"UPDATE of one of the other's", ANYWHERE,
     "UPDATE {schema}.users SET full_name = 'x' WHERE id = '{probe}' RETURNING *", ""},
    {"SELECT FOR UPDATE of one of the other's", ANYWHERE,
     "SELECT * FROM {schema}.users WHERE id = '{probe}' FOR UPDATE", ""},
    {"rows by their place in the file", ANYWHERE,
     "SELECT * FROM {schema}.users WHERE ctid = ANY (ARRAY(SELECT format('(%s,%s)', p, i)::tid "
     "FROM "
     "generate_series(0, 3) p, generate_series(1, 60) i))",
     ""},
    {"TABLESAMPLE", ANYWHERE, "SELECT * FROM {schema}.users TABLESAMPLE SYSTEM (100)", ""},
    {"ON CONFLICT DO UPDATE on the other's id", ANYWHERE,
     "BEGIN; INSERT INTO {schema}.users (id, email, password_hash) VALUES ('{probe}', "
     "'y@ours.test', 'x') ON CONFLICT DO NOTHING; ROLLBACK",
     ""},
    {"MERGE on the other's id", ANYWHERE,
     "BEGIN; MERGE INTO {schema}.users u USING (SELECT '{probe}'::uuid AS id) n ON u.id = n.id "
     "WHEN MATCHED THEN UPDATE SET full_name = 'x' WHEN NOT MATCHED THEN INSERT (id, email, "
     "password_hash) VALUES (n.id, 'z@ours.test', 'x'); ROLLBACK",
     ""},
    {"a unique key as an oracle: id", ANYWHERE,
     "BEGIN; INSERT INTO {schema}.users (id, email, password_hash) VALUES ('{probe}', "
     "'p@ours.test', 'x'); ROLLBACK",
     ""},
    {"a unique key as an oracle: address", ANYWHERE,
     "BEGIN; INSERT INTO {schema}.users (email, password_hash) VALUES ('{mail}', 'x'); ROLLBACK",
     ""},
    {"a unique key as an oracle: key", ANYWHERE,
     "BEGIN; INSERT INTO {schema}.api_keys (key_hash) VALUES ('{mail}'); ROLLBACK", ""},
    {"a reference as an oracle", ANYWHERE,
     "INSERT INTO {schema}.applications (user_id, name) VALUES ('{probe}', 'x')", "23503"},
    {"a changed reference as an oracle", ANYWHERE,
     "UPDATE {schema}.applications SET user_id = '{probe}'", "23503"},
    {"division by zero as an oracle", ANYWHERE,
     "SELECT count(*) FROM {schema}.users WHERE 1 / (CASE WHEN email = '{mail}' THEN 0 ELSE 1 END) "
     "= "
     "1",
     ""},
    {"a cast's error", ANYWHERE, "SELECT * FROM {schema}.users WHERE email::integer = 1", "22P02"},
    {"the planner's estimate as an oracle: a value", ANYWHERE,
     "EXPLAIN SELECT * FROM {schema}.users WHERE email = '{mail}'", ""},
    {"the planner's estimate as an oracle: a range", IN_ROW,
     "EXPLAIN SELECT * FROM {schema}.users WHERE email < '{mail}'", ""},
    {"the executor's counts as an oracle", ANYWHERE,
     "SET enable_indexscan TO off; SET enable_bitmapscan TO off; SET enable_indexonlyscan TO off; "
     "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM {schema}.users WHERE "
     "email = '{mail}'",
     ""},
    {"the executor's counts of an index as an oracle", ANYWHERE,
     "SET enable_seqscan TO off; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * "
     "FROM {schema}.users WHERE email = '{mail}'",
     ""},
    {"statistics of columns", ANYWHERE,
     "SELECT * FROM pg_stats WHERE tablename = 'users'; SELECT * FROM pg_stats_ext", ""},
    {"statistics behind the view", ANYWHERE, "SELECT * FROM pg_statistic", "42501"},
    {"a leaky function in the condition", ANYWHERE,
     LEAK "SELECT * FROM {schema}.users WHERE pg_temp.leak(email)", ""},
    {"a leaky function in a join", ANYWHERE,
     LEAK "SELECT 1 FROM {schema}.users u JOIN {schema}.applications a ON pg_temp.leak(u.email || "
          "a.name)",
     ""},
    {"a leaky function in LATERAL", ANYWHERE,
     LEAK "SELECT 1 FROM {schema}.users u, LATERAL (SELECT pg_temp.leak(u.email)) l", ""},
    {"a leaky function in an UPDATE", ANYWHERE,
     LEAK "BEGIN; UPDATE {schema}.users SET full_name = 'x' WHERE pg_temp.leak(email); ROLLBACK",
     ""},
    {"a leaky function in an aggregate", ANYWHERE,
     LEAK "SELECT count(*) FILTER (WHERE pg_temp.leak(email)) FROM {schema}.users", ""},
    {"a leaky function said to be leakproof", ANYWHERE,
     "CREATE FUNCTION pg_temp.quiet(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS "
     "$$ SELECT true $$",
     "42501"},
    {"a leaky operator", ANYWHERE,
     "CREATE FUNCTION pg_temp.leaky(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS "
     "$$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$; "
     "CREATE OPERATOR pg_temp.<<< (FUNCTION = pg_temp.leaky, LEFTARG = text, RIGHTARG = text, "
     "RESTRICT = eqsel); "
     "SELECT * FROM {schema}.users WHERE email OPERATOR(pg_temp.<<<) 'x'",
     ""},
    {"a function that runs as its maker", ANYWHERE,
     "CREATE FUNCTION pg_temp.all_of_it() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS "
     "$$ SELECT email FROM {schema}.users $$; SELECT * FROM pg_temp.all_of_it()",
     ""},
    {"a view", ANYWHERE,
     "CREATE TEMP VIEW everyone AS SELECT * FROM {schema}.users; SELECT * FROM everyone", ""},
    {"a view without a barrier under a leaky function", ANYWHERE,
     LEAK "CREATE TEMP VIEW everyone WITH (security_barrier = false) AS SELECT * FROM "
          "{schema}.users; SELECT * FROM everyone WHERE pg_temp.leak(email)",
     ""},
    {"a materialised copy", ANYWHERE,
     "CREATE TEMP TABLE mine AS TABLE {schema}.users; SELECT * FROM mine", ""},
    {"a table that inherits", ANYWHERE, "CREATE TEMP TABLE mine () INHERITS ({schema}.users)",
     "42501"},
    {"a reference from a table of one's own", SHARED,
     "CREATE TEMP TABLE probe (tenant_id uuid, id uuid REFERENCES {schema}.users)", "42P16"},
    {"a reference from a table of one's own, in app", IN_DATABASE,
     "CREATE TABLE app.probe (id uuid REFERENCES {schema}.users (id))", "42501"},
    {"a prepared statement, and then the setting", ANYWHERE,
     "PREPARE p AS SELECT * FROM {schema}.users; EXECUTE p; SET app.tenant_id = '{their_id}'; "
     "EXECUTE p; RESET app.tenant_id; SET plan_cache_mode TO force_generic_plan; EXECUTE p",
     ""},
    {"a prepared statement across roles", ANYWHERE,
     "PREPARE p AS SELECT * FROM {schema}.users; EXECUTE p; SET ROLE {rw}; EXECUTE p; RESET ROLE; "
     "EXECUTE p; DEALLOCATE p",
     ""},
    {"a cursor held across a transaction", ANYWHERE,
     "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM {schema}.users; SET app.tenant_id = "
     "'{their_id}'; COMMIT; FETCH ALL FROM c",
     ""},
    {"parallel workers", ANYWHERE,
     "SET parallel_setup_cost TO 0; SET parallel_tuple_cost TO 0; SET min_parallel_table_scan_size "
     "TO 0; SELECT * FROM {schema}.users u JOIN {schema}.applications a ON a.user_id = u.id",
     ""},
    {"row_security off", ANYWHERE, "SET row_security TO off; SELECT * FROM {schema}.users",
     "42501"},
    {"TRUNCATE", ANYWHERE, "TRUNCATE {schema}.users CASCADE", "42501"},
    {"COPY TO STDOUT", ANYWHERE, "COPY {schema}.users TO STDOUT", ""},
    {"COPY of a query", ANYWHERE, "COPY (SELECT * FROM {schema}.users) TO STDOUT", ""},
    {"COPY FROM STDIN", ANYWHERE, "COPY {schema}.users FROM STDIN", "0A000"},
    {"rows as XML", ANYWHERE,
     "SELECT query_to_xml('SELECT * FROM {schema}.users', true, false, '')", NULL},
    {"a whole database as XML", ANYWHERE, "SELECT database_to_xml(true, false, '')", NULL},
    {"DISABLE ROW LEVEL SECURITY", ANYWHERE,
     "ALTER TABLE {schema}.users DISABLE ROW LEVEL SECURITY", "42501"},
    {"NO FORCE ROW LEVEL SECURITY", ANYWHERE,
     "ALTER TABLE {schema}.users NO FORCE ROW LEVEL SECURITY", "42501"},
    {"DROP POLICY", ANYWHERE, "DROP POLICY tenant ON {schema}.users", "42501"},
    {"CREATE POLICY", ANYWHERE, "CREATE POLICY all_of_it ON {schema}.users USING (true)", "42501"},
    {"ALTER TABLE OWNER", ANYWHERE, "ALTER TABLE {schema}.users OWNER TO {login}", "42501"},
    {"ALTER TABLE ADD COLUMN", ANYWHERE, "ALTER TABLE {schema}.users ADD COLUMN mine text",
     "42501"},
    {"DROP TABLE", ANYWHERE, "DROP TABLE {schema}.users CASCADE", "42501"},
    {"CREATE INDEX", ANYWHERE, "CREATE INDEX ON {schema}.users (email)", "42501"},
    {"CREATE STATISTICS", ANYWHERE,
     "CREATE STATISTICS pg_temp.mine ON email, role FROM {schema}.users", "42501"},
    {"CREATE TRIGGER", ANYWHERE,
     "CREATE FUNCTION pg_temp.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END "
     "$$; CREATE TRIGGER spy BEFORE INSERT ON {schema}.users FOR EACH ROW EXECUTE FUNCTION "
     "pg_temp.spy()",
     "42501"},
    {"CREATE RULE", ANYWHERE, "CREATE RULE spy AS ON INSERT TO {schema}.users DO ALSO SELECT 1",
     "42501"},
    {"CREATE TABLE in the tenant schema", ANYWHERE, "CREATE TABLE {schema}.mine ()", "42501"},
    {"CREATE FUNCTION in the tenant schema", ANYWHERE,
     "CREATE FUNCTION {schema}.mine() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$", "42501"},
    {"CREATE TABLE in public", SHARED, "CREATE TABLE public.mine ()", "42501"},
    {"CREATE FUNCTION in public", SHARED,
     "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$", "42501"},
    {"CLUSTER", ANYWHERE, "CLUSTER {schema}.users USING users_pkey", "42501"},
    {"REINDEX", ANYWHERE, "REINDEX TABLE {schema}.users", "42501"},
    {"LOCK TABLE, and giving it up", ANYWHERE,
     "BEGIN; LOCK TABLE {schema}.users IN ACCESS EXCLUSIVE MODE NOWAIT; ROLLBACK", ""},
};
const size_t attacks_rows_count = ARRAY_COUNT(attacks_rows);
