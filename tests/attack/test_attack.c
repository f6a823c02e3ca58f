/* Every attack, tenant against tenant, in every isolation mode and, where two modes share a
 * database, across them. The attacker logs in with the tenant's own credentials and may send any
 * SQL. After each attack nothing of the other's may have come back to it, in a row, a notice or an
 * error; nothing of the other's and no right, role, policy or function may have changed. */
#include "tests/attack/attacks.h"

#include <libpq-fe.h>

#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#define PASSWORD "a-password-of-some-length"
#define SECRET "SECRET-OF-THEIRS"
#define THEIR_USER "11111111-1111-4111-8111-000000000030"
#define NOBODY "99999999-9999-4999-8999-999999999999"
#define THEIR_MAIL SECRET "-30@theirs.test"
#define NOBODYS_MAIL "ABSENT-OF-ALL___-30@theirs.test"

enum {
    ANSWER_MAX_BYTES = 64 << 20,
    STATEMENT_MAX_BYTES = 64 * 1024,
    ROWS = 60,
};

/* ---- tenants ---- */

static const struct {
    enum isolation isolation;
    unsigned bit;
    const char *suffix;
} modes[] = {
    {ISOLATION_DATABASE, IN_DATABASE, "d"},
    {ISOLATION_SCHEMA, IN_SCHEMA, "s"},
    {ISOLATION_ROW, IN_ROW, "r"},
};
enum { MODES = 3 };

struct party {
    struct run run;
    char *name; /* "ours-d" */
    struct scope scope;
    struct sql_conn *session; /* of the other's, alive while it is attacked */
    char *pid;
    char *object; /* a large object */
};

struct arena_of_tenants {
    struct fixture *fixture;
    struct party ours[MODES];
    struct party theirs[MODES];
    int tried;
};

static struct sql_conn *log_in(const struct fixture *fixture, const struct party *party)
{
    struct err err = {0};
    struct sql_conn *conn = fixture_connect_as(fixture, party->scope.database,
                                               party->scope.roles[ROLE_A], PASSWORD, &err);

    if (!conn) {
        fail_msg("\"%s\" cannot log in: %s", party->scope.roles[ROLE_A], err.message);
    }
    return conn;
}

static void make_party(struct party *party, const struct fixture *fixture, const char *who,
                       size_t mode)
{
    party->name = xasprintf("%s-%s", who, modes[mode].suffix);
    struct tenant tenant = fixture_tenant(party->name, party->name);
    tenant.isolation = modes[mode].isolation;
    run_provision(&party->run, fixture, &tenant);
    run_make_login(&party->run, fixture, PASSWORD);
    party->run.work.tenant = &party->run.tenant;
    scope_init(&party->scope, &party->run.arena, &party->run.work);
}

static void fill_theirs(struct party *party, const struct fixture *fixture)
{
    struct sql_conn *conn = log_in(fixture, party);

    postgres_run(conn,
                 "SET search_path TO %s; "
                 "INSERT INTO users (id, email, password_hash, full_name) SELECT "
                 "('11111111-1111-4111-8111-0000000000' || lpad(i::text, 2, '0'))::uuid, '" SECRET
                 "-' || i || '@theirs.test', '" SECRET "', '" SECRET
                 "' FROM generate_series(1, %d) i; "
                 "INSERT INTO applications (user_id, name, description) SELECT id, '" SECRET
                 "', '" SECRET "' FROM users; "
                 "INSERT INTO deployments (application_id, version) SELECT id, '" SECRET
                 "' FROM applications; "
                 "INSERT INTO api_keys (user_id, key_hash) SELECT id, email FROM users",
                 party->scope.schema, ROWS);
    party->object =
        postgres_text(conn, "SELECT pg_catalog.lo_from_bytea(0, '" SECRET "'::bytea)::text");
    party->pid = postgres_text(conn, "SELECT pg_backend_pid()::text");
    AUTO(free) char *seen = postgres_text(conn, "SELECT '" SECRET " runs'");
    party->session = conn;
}

static void fill_ours(const struct party *party, const struct fixture *fixture)
{
    AUTO(sql_conn) struct sql_conn *conn = log_in(fixture, party);

    postgres_run(
        conn,
        "SET search_path TO %s; "
        "INSERT INTO users (email, password_hash) VALUES ('one@ours.test', 'x'), "
        "('two@ours.test', 'x'); "
        "INSERT INTO applications (user_id, name) SELECT id, email FROM users; "
        "INSERT INTO deployments (application_id, version) SELECT id, name FROM "
        "applications; INSERT INTO api_keys (user_id, key_hash) SELECT id, email FROM users",
        party->scope.schema);
}

static struct sql_conn *superuser(const char *database)
{
    AUTO(free) char *more = xasprintf("dbname=%s", database);
    return postgres_connect(more);
}

static void analyze(const char *database)
{
    AUTO(sql_conn) struct sql_conn *conn = superuser(database);
    postgres_run(conn, "ANALYZE");
}

static int set_up(void **state)
{
    struct arena_of_tenants *all = xcalloc(1, sizeof(*all));
    void *fixture = NULL;

    CHECK_INT(fixture_set_up(&fixture), 0);
    all->fixture = fixture;
    for (size_t i = 0; i < MODES; i++) {
        make_party(&all->ours[i], fixture, "ours", i);
        make_party(&all->theirs[i], fixture, "theirs", i);
        fill_ours(&all->ours[i], fixture);
        fill_theirs(&all->theirs[i], fixture);
        analyze(all->ours[i].scope.database);
    }
    AUTO(sql_conn) struct sql_conn *conn = log_in(fixture, &all->theirs[1]);
    postgres_run(conn, "BEGIN; SELECT 1; PREPARE TRANSACTION 'theirs'");
    *state = all;
    return 0;
}

static void release(struct party *party)
{
    sql_close(party->session);
    free(party->pid);
    free(party->object);
    run_release(&party->run);
    free(party->name);
}

static int tear_down(void **state)
{
    struct arena_of_tenants *all = *state;
    void *fixture = all->fixture;

    AUTO(sql_conn) struct sql_conn *conn = superuser("tenantry_shared");
    postgres_run(conn, "ROLLBACK PREPARED 'theirs'");
    sql_close(TAKE(conn));
    for (size_t i = 0; i < MODES; i++) {
        release(&all->ours[i]);
        release(&all->theirs[i]);
    }
    free(all);
    return fixture_tear_down(&fixture);
}

/* ---- what must not change ---- */

/* A hash of every role, right, policy and function, and of all that the other tenant has. */
static char *fingerprint(struct sql_conn *conn, const struct party *theirs, const struct party *at)
{
    bool same = text_equal(at->scope.database, theirs->scope.database);
    AUTO(free)
    char *catalogs = postgres_text(
        conn,
        "WITH s AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> "
        "'information_schema'), lines AS ("
        "SELECT r::text AS line FROM (SELECT * FROM pg_authid) r "
        "UNION ALL SELECT m::text FROM (SELECT roleid, member, grantor, admin_option FROM "
        "pg_auth_members) m "
        "UNION ALL SELECT d::text FROM (SELECT datname, datdba, datacl, datallowconn, datconnlimit "
        "FROM pg_database) d "
        "UNION ALL SELECT n::text FROM (SELECT nspname, nspowner, nspacl FROM pg_namespace JOIN s "
        "USING (oid)) n "
        "UNION ALL SELECT c::text FROM (SELECT relname, relowner, relacl, relrowsecurity, "
        "relforcerowsecurity, relkind, relnatts FROM pg_class WHERE relnamespace IN (SELECT oid "
        "FROM "
        "s)) c "
        "UNION ALL SELECT p::text FROM pg_policy p "
        "UNION ALL SELECT f::text FROM (SELECT * FROM pg_proc WHERE pronamespace IN (SELECT oid "
        "FROM s)) f "
        "UNION ALL SELECT a::text FROM pg_default_acl a "
        "UNION ALL SELECT x::text FROM pg_shdescription x "
        "UNION ALL SELECT x::text FROM pg_description x WHERE classoid = 'pg_namespace'::regclass "
        "UNION ALL SELECT x::text FROM pg_prepared_xacts x "
        "UNION ALL SELECT x::text FROM pg_extension x "
        "UNION ALL SELECT x::text FROM pg_db_role_setting x) "
        "SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM lines");
    if (!same) {
        return TAKE(catalogs);
    }
    AUTO(free)
    char *rows = postgres_text(
        conn,
        "SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM ("
        "SELECT u::text AS line FROM %1$s.users u WHERE tenant_id = '%2$s' "
        "UNION ALL SELECT a::text FROM %1$s.applications a WHERE tenant_id = '%2$s' "
        "UNION ALL SELECT d::text FROM %1$s.deployments d WHERE tenant_id = '%2$s' "
        "UNION ALL SELECT k::text FROM %1$s.api_keys k WHERE tenant_id = '%2$s' "
        "UNION ALL SELECT encode(data, 'hex') FROM pg_largeobject WHERE loid = %3$s) l",
        theirs->scope.schema, theirs->run.work.tenant_id, theirs->object);
    return xasprintf("%s %s", catalogs, rows);
}

/* ---- an attack ---- */

static void append_quoted(struct buf *out, const char *name)
{
    (void)buf_printf(out, "\"%s\"", name);
}

/* false: no placeholder of that name */
static bool append_value(struct buf *out, struct str name, const struct party *ours,
                         const struct party *theirs, bool absent)
{
    const struct {
        const char *name;
        const char *value;
        bool quoted;
    } values[] = {
        {"schema", ours->scope.schema, true},
        {"database", ours->scope.database, true},
        {"login", ours->scope.roles[ROLE_A], true},
        {"login_name", ours->scope.roles[ROLE_A], false},
        {"group", ours->scope.roles[ours->scope.mode->login_group], true},
        {"rw", ours->scope.roles[ROLE_RW], true},
        {"owner", ours->scope.roles[ROLE_OWNER], true},
        {"id", ours->run.work.tenant_id, false},
        {"their_schema", theirs->scope.schema, true},
        {"their_login", theirs->scope.roles[ROLE_A], true},
        {"their_login_name", theirs->scope.roles[ROLE_A], false},
        {"their_owner", theirs->scope.roles[ROLE_OWNER], true},
        {"their_id", theirs->run.work.tenant_id, false},
        {"their_pid", theirs->pid, false},
        {"their_object", theirs->object, false},
        {"probe", absent ? NOBODY : THEIR_USER, false},
        {"mail", absent ? NOBODYS_MAIL : THEIR_MAIL, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        if (str_equal_c(name, values[i].name)) {
            if (values[i].quoted) {
                append_quoted(out, values[i].value);
            } else {
                (void)buf_append_text(out, values[i].value);
            }
            return true;
        }
    }
    return false;
}

static void expand(struct buf *out, const char *text, const struct party *ours,
                   const struct party *theirs, bool absent)
{
    buf_clear(out);
    while (*text) {
        const char *end = *text == '{' ? strchr(text, '}') : NULL;
        struct str name = {text + 1, end ? (size_t)(end - text - 1) : 0};
        if (end && append_value(out, name, ours, theirs, absent)) {
            text = end + 1;
        } else {
            (void)buf_append_char(out, *text++);
        }
    }
}

static PGconn *connect_raw(const struct party *party)
{
    const char *uri = getenv("TENANTRY_SERVER_URL");
    const char *colon = strrchr(uri ? uri : "", ':');
    AUTO(free) char *port = xasprintf("%ld", strtol(colon + 1, NULL, 10));
    const char *const keys[] = {"host", "port", "dbname", "user", "password", "sslmode", NULL};
    const char *const values[] = {
        "127.0.0.1", port, party->scope.database, party->scope.roles[ROLE_A], PASSWORD,
        "require",   NULL};
    PGconn *conn = PQconnectdbParams(keys, values, 0);

    if (PQstatus(conn) != CONNECTION_OK) {
        fail_msg("%s", PQerrorMessage(conn));
    }
    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
    PQsetErrorContextVisibility(conn, PQSHOW_CONTEXT_ALWAYS);
    return conn;
}

static void take_notice(void *context, const PGresult *result)
{
    struct buf *answer = context;
    (void)buf_append_text(answer, PQresultErrorMessage(result));
}

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static void take_rows(struct buf *answer, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < PQnfields(result); column++) {
            (void)buf_append_text(answer, PQgetvalue(result, row, column));
            (void)buf_append_char(answer, '|');
        }
        (void)buf_append_char(answer, '\n');
    }
}

static void take_copy(struct buf *answer, PGconn *conn)
{
    char *line = NULL;
    int length = 0;
    while ((length = PQgetCopyData(conn, &line, 0)) > 0) {
        (void)buf_append(answer, line, (size_t)length);
        PQfreemem(line);
    }
}

/* As a new session finds it. */
static void start_afresh(PGconn *conn)
{
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    PQclear(PQexec(conn, "ROLLBACK"));
    PGresult *result = PQexec(conn, "DISCARD ALL");
    CHECK_INT(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
}

/* Everything that comes back; ret_state: the SQLSTATE, "" when all of it ran. */
static void send(PGconn *conn, const char *sql, struct buf *answer, char ret_state[8])
{
    PGresult *result = NULL;

    buf_clear(answer);
    ret_state[0] = '\0';
    start_afresh(conn);
    PQsetNoticeReceiver(conn, take_notice, answer);
    CHECK(PQsendQuery(conn, sql));
    while ((result = PQgetResult(conn))) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        if (PQresultStatus(result) == PGRES_COPY_OUT) {
            take_copy(answer, conn);
        }
        if (PQresultStatus(result) == PGRES_COPY_IN) {
            (void)PQputCopyEnd(conn, NULL);
        }
        take_rows(answer, result);
        (void)buf_append_text(answer, PQresultErrorMessage(result));
        if (state) {
            (void)snprintf(ret_state, 8, "%s", state);
        }
        PQclear(result);
    }
}

/* What the attacker knew before says nothing. */
static void blot_out(struct buf *answer, const char *word)
{
    for (char *at = answer->len > 0 ? strstr(answer->ptr, word) : NULL; at; at = strstr(at, word)) {
        memset(at, '_', strlen(word));
    }
}

static void fail_attack(const struct attack *attack, const struct party *ours,
                        const struct party *theirs, const char *how, const struct buf *answer)
{
    fail_msg("\"%s\" of %s against %s: %s\n%.2000s", attack->name, ours->name, theirs->name, how,
             answer->len > 0 ? buf_text(answer) : "");
}

static void try_once(PGconn *conn, const struct attack *attack, const struct party *ours,
                     const struct party *theirs, bool absent, struct buf *answer)
{
    AUTO(buf) struct buf sql = BUF(STATEMENT_MAX_BYTES);
    char state[8];

    expand(&sql, attack->sql, ours, theirs, absent);
    send(conn, buf_text(&sql), answer, state);
    blot_out(answer, absent ? NOBODY : THEIR_USER);
    blot_out(answer, absent ? NOBODYS_MAIL : THEIR_MAIL);
    if (attack->refusal && !text_equal(state, attack->refusal)) {
        AUTO(free)
        char *how = xasprintf("expected \"%s\", got \"%s\"", attack->refusal, state);
        fail_attack(attack, ours, theirs, how, answer);
    }
    if (answer->len > 0 && strstr(buf_text(answer), SECRET)) {
        fail_attack(attack, ours, theirs, "it saw what is the other's", answer);
    }
}

static void try_attack(PGconn *conn, const struct attack *attack, const struct party *ours,
                       const struct party *theirs)
{
    AUTO(buf) struct buf answer = BUF(ANSWER_MAX_BYTES);
    AUTO(buf) struct buf other = BUF(ANSWER_MAX_BYTES);

    try_once(conn, attack, ours, theirs, false, &answer);
    if (strstr(attack->sql, "{probe}") || strstr(attack->sql, "{mail}")) {
        try_once(conn, attack, ours, theirs, true, &other);
        if (!str_equal(buf_str(&answer), buf_str(&other))) {
            AUTO(free)
            char *how =
                xasprintf("the answers differ; the other:\n%s\nand this:", buf_text(&other));
            fail_attack(attack, ours, theirs, how, &answer);
        }
    }
}

static void report(const struct attack *attack, const struct party *ours,
                   const struct party *theirs)
{
    const char *result = !attack->refusal   ? "gains nothing"
                         : *attack->refusal ? "refused"
                                            : "runs, gains nothing";
    print_message("    %-7s %-9s %s: %s\n", ours->name, theirs->name, attack->name, result);
}

static void try_all(struct arena_of_tenants *all, const struct attack *attacks, size_t count,
                    size_t ours, size_t theirs)
{
    const struct party *attacker = &all->ours[ours];
    const struct party *victim = &all->theirs[theirs];
    AUTO(sql_conn) struct sql_conn *conn = superuser(attacker->scope.database);
    AUTO(free) char *before = fingerprint(conn, victim, attacker);
    PGconn *session = connect_raw(attacker);

    for (size_t i = 0; i < count; i++) {
        if (!(attacks[i].modes & modes[ours].bit)) {
            continue;
        }
        try_attack(session, &attacks[i], attacker, victim);
        AUTO(free) char *after = fingerprint(conn, victim, attacker);
        if (!text_equal(before, after)) {
            fail_msg("\"%s\" of %s against %s changed something", attacks[i].name, attacker->name,
                     victim->name);
        }
        report(&attacks[i], attacker, victim);
        all->tried++;
    }
    PQfinish(session);
    CHECK(sql_is_healthy(victim->session));
    CHECK_INT(postgres_int(victim->session, "SELECT count(*) FROM %s.users", victim->scope.schema),
              ROWS);
}

/* Each against its like; and across modes where they share a database. */
static const struct {
    size_t ours;
    size_t theirs;
} pairs[] = {{0, 0}, {1, 1}, {2, 2}, {1, 2}, {2, 1}};

static void try_everywhere(void **state, const struct attack *attacks, size_t count)
{
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        try_all(*state, attacks, count, pairs[i].ours, pairs[i].theirs);
    }
}

static void nobody_becomes_somebody_else(void **state)
{
    try_everywhere(state, attacks_identity, attacks_identity_count);
}

static void nobody_gets_at_anothers_rows(void **state)
{
    try_everywhere(state, attacks_rows, attacks_rows_count);
}

static void nobody_gets_at_the_server(void **state)
{
    try_everywhere(state, attacks_server, attacks_server_count);
}

/* CNPG #10831 and kin: any role can connect to any database. */
static void no_other_database_lets_a_login_in(void **state)
{
    const struct arena_of_tenants *all = *state;
    static const char *const databases[] = {"tenant_theirs_d", "tenantry_shared", "postgres",
                                            "template1", "registry_of_database_test"};

    for (size_t m = 0; m < MODES; m++) {
        for (size_t i = 0; i < ARRAY_COUNT(databases); i++) {
            struct err err = {0};
            if (text_equal(databases[i], all->ours[m].scope.database)) {
                continue;
            }
            AUTO(sql_conn)
            struct sql_conn *conn = fixture_connect_as(
                all->fixture, databases[i], all->ours[m].scope.roles[ROLE_A], PASSWORD, &err);
            CHECK_NULL(conn);
            CHECK_TEXT(err.code, "42501");
        }
    }
}

static void the_number_of_attacks_is_told(void **state)
{
    const struct arena_of_tenants *all = *state;

    print_message("    %d attacks in %zu pairs of isolation modes\n", all->tried,
                  ARRAY_COUNT(pairs));
    CHECK(all->tried > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_becomes_somebody_else),
        cmocka_unit_test(nobody_gets_at_anothers_rows),
        cmocka_unit_test(nobody_gets_at_the_server),
        cmocka_unit_test(no_other_database_lets_a_login_in),
        cmocka_unit_test(the_number_of_attacks_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
