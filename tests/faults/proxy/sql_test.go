package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestScan(t *testing.T) {
	for sql, wanted := range map[string]string{
		"SELECT  'it''s', 1":                       "SELECT '…', 1",
		`ALTER ROLE "a.b" PASSWORD 'SCRAM$x'`:      `ALTER ROLE "a.b" PASSWORD '…'`,
		`SELECT E'a\'b', "q""x"`:                   `SELECT '…', "q""x"`,
		"DO $x$ BEGIN; 'a' END $x$; SELECT $1, $2": "DO '…'; SELECT $1, $2",
		"SELECT 1 -- it's\n, /* a /* b */ ' */ 2":  "SELECT 1 , 2",
		"SELECT 'open":                             "SELECT '…'",
		"SELECT $$x":                               "SELECT '…'",
		`SELECT "open`:                             `SELECT "open`,
		`SELECT "`:                                 `SELECT "`,
		`SELECT e'\`:                               `SELECT '…'`,
		"/* open":                                  "",
		"--":                                       "",
		"":                                         "",
	} {
		if got, _ := scan(sql); got != wanted {
			t.Errorf("%q: %q", sql, got)
		}
	}
}

func TestWritesOfSQL(t *testing.T) {
	for sql, wanted := range map[string]bool{
		"SELECT 1": false, "select pg_terminate_backend(1)": false, "SELECT * FROM t FOR UPDATE": false, "BEGIN": false, "COMMIT": false,
		"SELECT pg_advisory_xact_lock(1)": false, "SELECT set_config('a', 'b', true)": false, "SHOW x": false, "SET ROLE \"a\"": false,
		"START TRANSACTION READ ONLY": false, "COPY t TO STDOUT": false, "LOCK TABLE t": false, "EXPLAIN SELECT 1": false,
		"WITH a AS (SELECT 1) SELECT * FROM a FOR UPDATE": false, "SELECT 'INSERT INTO x'": false, "SAVEPOINT a": false, "": false,
		"WITH a AS (SELECT 1) UPDATE t SET b = 1": true, "WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x": true,
		"CREATE ROLE x": true, "insert into t values (1)": true, "SELECT 1; DROP TABLE t": true, "DO $$ x $$": true, "COPY t FROM STDIN": true,
		"SELECT 1 INTO t": true, "GRANT a TO b": true, "COMMENT ON DATABASE x IS 'y'": true, "SELECT nextval('s')": true,
		"ALTER DATABASE x SET a = 'b'": true, "TRUNCATE t": true, "COMMIT PREPARED 'x'": true, "CALL p()": true,
	} {
		if got := newQuery(sql).writes; got != wanted {
			t.Errorf("%q: %v", sql, got)
		}
	}
}

func TestMask(t *testing.T) {
	got := mask(`DROP ROLE "x_0123456789abcdef"; SELECT 8C6f0000-0000-4000-8000-0123456789ab, tenant_deadbeef, 123456`)
	if got != `DROP ROLE "x_{hex}"; SELECT {uuid}, tenant_deadbeef, 123456` {
		t.Error(got)
	}
}

// A backend is a server that speaks just enough of the protocol; it keeps what it executed.
type backend struct {
	mu       sync.Mutex
	executed []string
	sessions int
}

func (b *backend) ran() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.executed, "|")
}

func (b *backend) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go b.session(c)
	}
}

func complete(tag string) message { return message{'C', append([]byte(tag), 0)} }

func (b *backend) session(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	if _, _, err := readStartup(r); err != nil {
		return
	}
	send := func(m message) { c.Write(m.bytes()) }
	send(message{'R', []byte{0, 0, 0, 0}})
	state := byte('I')
	ready := func() { send(message{'Z', []byte{state}}) }
	ready()
	prepared, failed := "", false
	execute := func(sql string) {
		b.mu.Lock()
		b.executed = append(b.executed, sql)
		b.mu.Unlock()
		switch {
		case strings.HasPrefix(sql, "FAIL"):
			send(errorMessage("ERROR", "22012", "as asked"))
			failed = true
		default:
			switch sql {
			case "BEGIN":
				state = 'T'
			case "COMMIT", "ROLLBACK":
				state = 'I'
			}
			send(complete(strings.Fields(sql)[0]))
		}
	}
	for {
		m, err := readMessage(r)
		if err != nil {
			return
		}
		switch {
		case m.kind == 'Q':
			text, _ := cString(m.body)
			execute(text)
			failed = false
			ready()
		case m.kind == 'S':
			failed = false
			ready()
		case failed:
		case m.kind == 'P':
			_, rest := cString(m.body)
			prepared, _ = cString(rest)
			send(message{'1', nil})
		case m.kind == 'B':
			send(message{'2', nil})
		case m.kind == 'E':
			execute(prepared)
		}
	}
}

type sqlFixture struct {
	*fixture
	backend *backend
	proxy   *sqlProxy
	address string
}

func newSQLFixture(t *testing.T) *sqlFixture {
	t.Helper()
	f := &sqlFixture{fixture: &fixture{t: t, log: newLog(nil), conns: newConns()}, backend: &backend{}}
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { upstream.Close() })
	go f.backend.serve(upstream)
	rules := newRules()
	p := newSQL(upstream.Addr().String(), rules, f.log)
	f.proxy = p
	rules.strike = append(rules.strike, p.strikeOpen)
	f.control = httptest.NewServer((&control{rules: rules, log: f.log, conns: f.conns}).handler())
	t.Cleanup(f.control.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go p.serve(&listener{l, "sql", f.conns})
	f.address = l.Addr().String()
	return f
}

// A client is the other side of it.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (f *sqlFixture) dial() *client {
	f.t.Helper()
	c, err := net.Dial("tcp", f.address)
	check(f.t, err)
	f.t.Cleanup(func() { c.Close() })
	check(f.t, c.SetDeadline(time.Now().Add(patience)))
	// Encryption is asked for first, as libpq does, and declined.
	_, err = c.Write(startupPacket(codeSSL, nil))
	check(f.t, err)
	var answer [1]byte
	_, err = io.ReadFull(c, answer[:])
	check(f.t, err)
	if answer[0] != 'N' {
		f.t.Fatalf("%c", answer[0])
	}
	_, err = c.Write(startupPacket(startupVersion, []byte("user\x00me\x00database\x00db\x00\x00")))
	check(f.t, err)
	return &client{f.t, c, bufio.NewReader(c)}
}

func (f *sqlFixture) login() *client {
	f.t.Helper()
	c := f.dial()
	if got := c.answer(); got != "RZI" {
		f.t.Fatal(got)
	}
	return c
}

// answer reads up to ReadyForQuery and returns types, with SQLSTATEs and the state.
func (c *client) answer() string {
	var got strings.Builder
	for {
		m, err := readMessage(c.r)
		if err != nil {
			return got.String() + " gone"
		}
		got.WriteByte(m.kind)
		switch m.kind {
		case 'E':
			got.WriteString(errorField(m.body, 'C'))
		case 'Z':
			got.WriteByte(m.body[0])
			return got.String()
		}
	}
}

func (c *client) query(sql string) string {
	c.t.Helper()
	_, err := c.Write(message{'Q', append([]byte(sql), 0)}.bytes())
	check(c.t, err)
	return c.answer()
}

// extended sends the statements by Parse, Bind and Execute, and one Sync.
func (c *client) extended(statements ...string) string {
	c.t.Helper()
	var b bytes.Buffer
	for _, sql := range statements {
		b.Write(message{'P', append([]byte("\x00"+sql), 0, 0, 0)}.bytes())
		b.Write(message{'B', []byte{0, 0, 0, 0, 0, 0, 0, 0}}.bytes())
		b.Write(message{'E', []byte{0, 0, 0, 0, 0}}.bytes())
	}
	b.Write(message{'S', nil}.bytes())
	_, err := c.Write(b.Bytes())
	check(c.t, err)
	return c.answer()
}

// summary of the log without the login.
func (f *sqlFixture) summary(n int) string {
	f.t.Helper()
	var list []string
	for _, e := range f.entries(n + 1)[1:] {
		list = append(list, fmt.Sprintf("%s,%v,%s,%s,%d", e.What, e.Write, e.Result, e.Tag+e.SQLState, e.Tx))
	}
	return strings.Join(list, "|")
}

func (f *sqlFixture) expect(got, wanted string) {
	f.t.Helper()
	if got != wanted {
		f.t.Errorf("got    %s\nwanted %s", got, wanted)
	}
}

func TestSQLPassesOnAndLogs(t *testing.T) {
	f := newSQLFixture(t)
	c := f.login()
	f.expect(c.query("SELECT 'x'"), "CZI")
	f.expect(c.extended("INSERT INTO t"), "12CZI")
	f.expect(c.query("FAIL"), "E22012ZI")
	f.expect(f.summary(3), "db: SELECT '…',false,ok,SELECT,0|db: INSERT INTO t,true,ok,INSERT,0|db: FAIL,true,error,22012,0")
	if e := f.entries(1)[0]; e.Verb != "CONNECT" || e.User != "me" || e.Path != "db" || e.Result != "ok" {
		t.Errorf("%+v", e)
	}
}

func TestSQLPipelineAndTransaction(t *testing.T) {
	f := newSQLFixture(t)
	c := f.login()
	f.expect(c.query("BEGIN"), "CZT")
	f.expect(c.extended("UPDATE a", "FAIL 1", "UPDATE b"), "12C12E22012ZT")
	f.expect(c.query("COMMIT"), "CZI")
	f.expect(c.query("BEGIN"), "CZT")
	f.expect(c.query("SELECT 1"), "CZT")
	f.expect(c.query("COMMIT"), "CZI")
	// A COMMIT counts as a write if its transaction wrote.
	f.expect(f.summary(8), "db: BEGIN,false,ok,BEGIN,1|db: UPDATE a,true,ok,UPDATE,1|db: FAIL 1,true,error,22012,1|db: UPDATE b,true,skipped,,1|"+
		"db: COMMIT,true,ok,COMMIT,1|db: BEGIN,false,ok,BEGIN,2|db: SELECT 1,false,ok,SELECT,2|db: COMMIT,false,ok,COMMIT,2")
}

func TestSQLError(t *testing.T) {
	f := newSQLFixture(t)
	c := f.login()
	f.rule(`{"match":{"kind":"sql","method":"^UPDATE$","count":-1},"action":{"type":"error","sqlstate":"40001"}}`)
	f.expect(c.query("UPDATE a"), "E40001ZI")
	f.expect(c.query("BEGIN"), "CZT")
	f.expect(c.extended("SELECT 1", "UPDATE b", "SELECT 2"), "12C12E40001ZE")
	f.expect(c.query("ROLLBACK"), "CZI")
	f.expect(f.backend.ran(), "BEGIN|SELECT 1|ROLLBACK")
}

func TestSQLErrorAtLogin(t *testing.T) {
	f := newSQLFixture(t)
	f.rule(`{"match":{"method":"CONNECT"},"action":{"type":"error","sqlstate":"53300"}}`)
	f.expect(f.dial().answer(), "E53300 gone")
	f.login()
}

func TestSQLKill(t *testing.T) {
	for _, way := range []func(*client, ...string) string{(*client).extended, func(c *client, sql ...string) string { return c.query(sql[0]) }} {
		for _, when := range []string{"before", "after"} {
			f := newSQLFixture(t)
			c := f.login()
			victim := exec.Command("sleep", "1000")
			check(t, victim.Start())
			f.rule(fmt.Sprintf(`{"match":{"text":"db: INSERT 2"},"action":{"type":"kill","when":%q,"pid":%d}}`, when, victim.Process.Pid))
			way(c, "INSERT 1")
			// That it was parsed and bound the client may learn, not that it was done.
			f.expect(strings.TrimLeft(way(c, "INSERT 2"), "12"), " gone")
			err := victim.Wait()
			if status := victim.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
				t.Error(err)
			}
			ran := map[string]string{"before": "INSERT 1", "after": "INSERT 1|INSERT 2"}[when]
			f.expect(f.backend.ran(), ran)
			if e := f.entries(3)[2]; e.Result != "killed "+when {
				t.Errorf("%+v", e)
			}
		}
	}
}

func TestSQLLoseAnswer(t *testing.T) {
	f := newSQLFixture(t)
	c := f.login()
	f.rule(`{"match":{"method":"INSERT"},"action":{"type":"lose"}}`)
	f.expect(c.query("INSERT 1"), " gone")
	f.expect(f.backend.ran(), "INSERT 1")
	f.expect(f.summary(1), "db: INSERT 1,true,lost,INSERT,0")
}

func TestSQLBlackhole(t *testing.T) {
	for _, rule := range []string{
		`{"match":{"method":"INSERT"},"action":{"type":"blackhole"}}`,
		`{"match":{"method":"INSERT"},"action":{"type":"lose","how":"hang"}}`,
		`{"match":{"method":"SESSION","path":"^db$","open":true},"action":{"type":"blackhole"}}`,
	} {
		f := newSQLFixture(t)
		c := f.login()
		id := f.rule(rule)
		_, err := c.Write(message{'Q', []byte("INSERT 1\x00")}.bytes())
		check(t, err)
		check(t, c.SetDeadline(time.Now().Add(200*time.Millisecond)))
		var timeout net.Error
		if _, err := readMessage(c.r); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatal("not silent:", err)
		}
		check(t, c.SetDeadline(time.Now().Add(patience)))
		f.remove(id)
		if _, err := readMessage(c.r); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatal("still silent after the rule went")
		}
		f.expect(f.login().query("SELECT 1"), "CZI")
	}
}

func TestSQLResetDelayAndPieces(t *testing.T) {
	f := newSQLFixture(t)
	c := f.login()
	f.rule(`{"match":{"method":"UPDATE"},"action":{"type":"delay","ms":150}}`)
	f.rule(`{"match":{"method":"UPDATE"},"action":{"type":"rechunk"}}`)
	f.rule(`{"match":{"method":"DELETE"},"action":{"type":"reset"}}`)
	begin := time.Now()
	f.expect(c.query("UPDATE a"), "CZI")
	if took := time.Since(begin); took < 150*time.Millisecond {
		t.Error(took)
	}
	f.expect(c.query("DELETE a"), " gone")
	f.expect(f.backend.ran(), "UPDATE a")
}

func TestSQLOutcomeIsLoggedWhenItsClientDies(t *testing.T) {
	f := newSQLFixture(t)
	c := f.login()
	f.rule(`{"match":{"method":"INSERT"},"action":{"type":"delay","ms":100}}`)
	_, err := c.Write(message{'Q', []byte("INSERT 1\x00")}.bytes())
	check(t, err)
	c.Close()
	f.expect(f.summary(1), "db: INSERT 1,true,ok,INSERT,0")
}

func TestSQLLoginOfADeadClientEndsAtOnce(t *testing.T) {
	f := newSQLFixture(t)
	// A server that asks for a password, and waits.
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer upstream.Close()
	ended := make(chan error, 1)
	go func() {
		c, err := upstream.Accept()
		if err == nil {
			_, _, err = readStartup(c)
		}
		if err == nil {
			c.Write(message{'R', []byte{0, 0, 0, 3}}.bytes())
			_, err = c.Read(make([]byte, 1))
		}
		ended <- err
	}()
	f.proxy.upstream = upstream.Addr().String()
	c := f.dial()
	_, err = readMessage(c.r)
	check(t, err)
	c.Close()
	select {
	case err := <-ended:
		if err != io.EOF {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the session upstream goes on")
	}
	if e := f.entries(1)[0]; e.Result != "client gone" {
		t.Errorf("%+v", e)
	}
}

func TestChannelBindingIsTakenOutOfTheOffer(t *testing.T) {
	offer := message{'R', []byte("\x00\x00\x00\x0aSCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00")}
	if got := withoutChannelBinding(offer); string(got.body) != "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00" {
		t.Errorf("%q", got.body)
	}
}

func TestLogLinesAreJSON(t *testing.T) {
	f := newSQLFixture(t)
	f.login().query("SELECT 'secret'")
	f.entries(2)
	for _, text := range f.log.since(0) {
		if !json.Valid(text) || bytes.Contains(text, []byte("secret")) {
			t.Errorf("%s", text)
		}
	}
}
