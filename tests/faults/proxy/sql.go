package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// How long a session is kept upstream after its client died, so that the log knows what became of its last statement.
const drainTimeout = 60 * time.Second

// sqlProxy is the proxy in front of a PostgreSQL server.
type sqlProxy struct {
	upstream string
	server   *tls.Config // towards PostgreSQL; nil: no TLS
	client   *tls.Config // towards clients; nil: TLS is declined
	rules    *Rules
	log      *Log

	mu       sync.Mutex
	sessions map[*session]bool // that are logged in
}

// A session is one client's connection and the one upstream that belongs to it. Two goroutines share it: one reads the client, one the server.
type session struct {
	*sqlProxy
	conn     *conn
	client   net.Conn // conn, or TLS over it
	server   net.Conn
	tls      bool
	database string
	user     string

	mu       sync.Mutex
	queue    []*unit // sent, and not yet answered
	prepared map[string]query
	portals  map[string]query
	state    byte  // of the transaction, as of the last ReadyForQuery
	tx       int64 // number of the explicit transaction
	txWrites bool
	skip     *Rule         // an injected error: everything up to the next Sync is left out
	withhold bool          // from here on the client gets nothing more
	drained  chan struct{} // closed when nothing is left in the queue and the client is gone
	gone     bool
}

// A unit is something the server will answer: a simple query, one Execute, a Sync, the login.
type unit struct {
	kind     byte // Q, E, S; L is the login
	entry    *Entry
	rules    []*Rule
	query    query
	finished bool // an Execute that was answered but whose Sync was not
	copying  bool // the server waits for data
}

func newSQL(upstream string, rules *Rules, log *Log) *sqlProxy {
	return &sqlProxy{upstream: upstream, rules: rules, log: log, sessions: map[*session]bool{}}
}

func (p *sqlProxy) serve(l net.Listener) error {
	for {
		raw, err := l.Accept()
		if err != nil {
			return err
		}
		c := raw.(*conn)
		go func() {
			defer c.Close()
			p.handle(c)
		}()
	}
}

func (p *sqlProxy) handle(c *conn) {
	s := &session{sqlProxy: p, conn: c, client: c, prepared: map[string]query{}, portals: map[string]query{}, state: 'I',
		drained: make(chan struct{})}
	code, body, err := s.greet()
	if err != nil {
		return
	}
	if code == codeCancel {
		s.cancel(body)
		return
	}
	list := parameters(body)
	s.database, s.user = list["database"], list["user"]
	login := s.begin('L', query{text: "CONNECT", keyword: "CONNECT"})
	if s.strikeLogin(login) {
		return
	}
	if err := s.connect(); err != nil {
		s.finish(login, "upstream: "+err.Error())
		return
	}
	defer s.server.Close()
	s.queue = append(s.queue, login)
	if _, err := s.server.Write(startupPacket(code, body)); err != nil {
		s.finishAll("upstream: " + err.Error())
		return
	}
	p.mu.Lock()
	p.sessions[s] = true
	p.mu.Unlock()
	s.relay()
	p.mu.Lock()
	delete(p.sessions, s)
	p.mu.Unlock()
}

// greet answers requests for encryption until a login comes.
func (s *session) greet() (int, []byte, error) {
	for {
		code, body, err := readStartup(s.client)
		if err != nil {
			return 0, nil, err
		}
		switch {
		case code == codeSSL && s.sqlProxy.client != nil && !s.tls:
			if _, err := s.client.Write([]byte{'S'}); err != nil {
				return 0, nil, err
			}
			secured := tls.Server(s.conn, s.sqlProxy.client)
			if err := secured.Handshake(); err != nil {
				return 0, nil, err
			}
			s.client, s.tls = secured, true
		case code == codeSSL || code == codeGSS:
			if _, err := s.client.Write([]byte{'N'}); err != nil {
				return 0, nil, err
			}
		case code == codeCancel || code>>16 == startupVersion>>16:
			return code, body, nil
		default:
			return 0, nil, fmt.Errorf("protocol version %d.%d", code>>16, code&0xffff)
		}
	}
}

// connect opens the way upstream, encrypted if so configured.
func (s *session) connect() error {
	raw, err := net.DialTimeout("tcp", s.upstream, 10*time.Second)
	if err != nil {
		return err
	}
	s.server = raw
	if s.sqlProxy.server == nil {
		return nil
	}
	if _, err := raw.Write(startupPacket(codeSSL, nil)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(raw, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'S' {
		raw.Close()
		return errors.New("the server declines TLS")
	}
	secured := tls.Client(raw, s.sqlProxy.server)
	s.server = secured
	return secured.Handshake()
}

// cancel passes a cancellation on; the server answers by closing the connection.
func (s *session) cancel(body []byte) {
	if s.connect() != nil {
		return
	}
	defer s.server.Close()
	if _, err := s.server.Write(startupPacket(codeCancel, body)); err == nil {
		_, _ = io.Copy(io.Discard, s.server)
	}
}

// begin numbers and matches something that the client wants done.
func (s *session) begin(kind byte, q query) *unit {
	request := &Request{Kind: "sql", Method: q.keyword, Path: s.database, What: s.database + ": " + q.text, Write: q.writes}
	u := &unit{kind: kind, query: q, rules: s.sqlProxy.rules.take(request)}
	u.entry = s.log.begin(request, s.conn.id)
	u.entry.User = s.user
	u.entry.Faults = names(u.rules)
	return u
}

func (s *session) finish(u *unit, result string) {
	if u.entry == nil {
		return
	}
	if u.entry.Result == "" {
		u.entry.Result = result
	}
	s.log.end(u.entry)
	u.entry = nil
}

// finishAll ends whatever is left, with the lock not held.
func (s *session) finishAll(result string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.queue {
		s.finish(u, result)
	}
	s.queue = nil
}

// relay passes messages both ways until either side has gone.
func (s *session) relay() {
	done := make(chan string, 1)
	go func() { done <- s.fromServer() }()
	why := s.fromClient()
	s.mu.Lock()
	s.gone = true
	waiting := s.answerable()
	s.mu.Unlock()
	if waiting {
		// A statement does not stop when its client dies.
		select {
		case <-s.drained:
		case why = <-done:
		case <-time.After(drainTimeout):
		}
	}
	s.finishAll(why)
	s.server.Close()
}

// answerable tells whether the server owes an answer without being told more: a login and a COPY wait for the client, and without a Sync it may keep answers back.
func (s *session) answerable() bool {
	for _, u := range s.queue {
		if u.kind == 'L' || u.copying {
			return false
		}
		if u.kind != 'E' {
			return true
		}
	}
	return false
}

// strikeLogin does what rules want of a login; true means that there will be none.
func (s *session) strikeLogin(u *unit) bool {
	if rule := pick(u.rules, "error", false); rule != nil {
		u.entry.SQLState = rule.Action.SQLState
		s.refuse(rule, "FATAL")
		s.finish(u, "refused")
		return true
	}
	return s.strike(u)
}

func (s *session) refuse(rule *Rule, severity string) {
	text := rule.Action.Message
	if text == "" {
		text = "the fault proxy says so"
	}
	_, _ = s.client.Write(errorMessage(severity, rule.Action.SQLState, text).bytes())
}

// strike does what rules want before the server knows anything; true means that the session is over.
func (s *session) strike(u *unit) bool {
	if rule := pick(u.rules, "delay", false); rule != nil {
		select {
		case <-time.After(time.Duration(rule.Action.Ms) * time.Millisecond):
		case <-rule.gone:
		}
	}
	if rule := pick(u.rules, "kill", false); rule != nil {
		err := rule.process.strike()
		if err != nil {
			s.finish(u, "kill failed: "+err.Error())
		} else if rule.process.kills() {
			s.finish(u, "killed before")
		}
		if err != nil || rule.process.kills() {
			s.conn.reset()
			return true
		}
	}
	if rule := pick(u.rules, "blackhole", false); rule != nil {
		s.finish(u, "blackhole")
		s.conn.blackhole(rule)
		_, _ = io.Copy(io.Discard, s.client)
		return true
	}
	if rule := pick(u.rules, "reset", false); rule != nil {
		s.finish(u, "reset")
		s.conn.reset()
		return true
	}
	return false
}

// fromClient reads what the client wants. It returns why it stopped.
func (s *session) fromClient() string {
	reader := bufio.NewReader(s.client)
	for {
		m, err := readMessage(reader)
		if err != nil {
			return "client gone"
		}
		u := s.note(m)
		if u != nil && u.kind != 'S' && s.strike(u) {
			// Nothing of this session may go on upstream, as if the client's machine had died.
			s.server.Close()
			return "struck"
		}
		if m.kind == 'X' {
			_, _ = s.server.Write(m.bytes())
			return "closed"
		}
		if !s.enqueue(m, u) {
			continue
		}
		if _, err := s.server.Write(m.bytes()); err != nil {
			return "upstream: " + err.Error()
		}
	}
}

// note follows what is prepared and bound, and makes a unit of what the server will answer.
func (s *session) note(m message) *unit {
	switch m.kind {
	case 'Q':
		text, _ := cString(m.body)
		return s.beginStatement('Q', newQuery(text), len(m.body))
	case 'P':
		name, rest := cString(m.body)
		text, _ := cString(rest)
		s.prepared[name] = newQuery(text)
	case 'B':
		portal, rest := cString(m.body)
		name, _ := cString(rest)
		s.portals[portal] = s.prepared[name]
	case 'E':
		portal, _ := cString(m.body)
		return s.beginStatement('E', s.portals[portal], len(m.body))
	case 'F':
		return s.beginStatement('Q', query{text: "function call", keyword: "CALL", writes: true}, len(m.body))
	case 'S':
		return &unit{kind: 'S'}
	}
	return nil
}

// beginStatement also judges a COMMIT: it writes if its transaction did.
func (s *session) beginStatement(kind byte, q query, size int) *unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.skip != nil {
		return &unit{kind: kind, query: q}
	}
	q.writes = q.writes || q.commits && s.txWrites
	s.txWrites = (s.txWrites || q.writes) && !q.commits && q.keyword != "ROLLBACK" && q.keyword != "ABORT"
	u := s.begin(kind, q)
	u.entry.BytesIn = int64(size)
	return u
}

// enqueue puts the unit in the queue of answers to come, unless an injected error takes its place. It returns whether m goes upstream.
func (s *session) enqueue(m message, u *unit) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.skip != nil {
		if m.kind != 'S' {
			return false
		}
		s.queue = append(s.queue, &unit{kind: 'S', rules: []*Rule{s.skip}})
		s.skip = nil
		return true
	}
	if u == nil {
		return true
	}
	rule := pick(u.rules, "error", false)
	if rule == nil {
		s.queue = append(s.queue, u)
		return true
	}
	u.entry.SQLState = rule.Action.SQLState
	s.finish(u, "refused")
	if u.kind == 'E' {
		s.skip = rule
		return false
	}
	// A simple query brings its own end. An empty one in its place keeps the answers in order.
	s.queue = append(s.queue, &unit{kind: 'S', rules: []*Rule{rule}})
	_, _ = s.server.Write(message{'S', nil}.bytes())
	return false
}

// A verdict is what becomes of a message of the server's.
type verdict struct {
	over   bool    // the session has ended
	hold   bool    // the client does not get it
	inject *Rule   // an error goes out before it
	pause  *Rule   // it goes out later
	rules  []*Rule // that say in which pieces it goes out
}

// fromServer reads what the server answers, and returns why it stopped.
func (s *session) fromServer() string {
	reader := bufio.NewReader(s.server)
	for {
		m, err := readMessage(reader)
		if err != nil {
			s.finishAll("upstream gone")
			s.hangUp()
			return "upstream gone"
		}
		if !s.tls {
			m = withoutChannelBinding(m)
		}
		v := s.settle(m)
		if v.over {
			return "struck"
		}
		if !v.hold {
			s.pass(m, v)
		}
	}
}

// hangUp closes the client's side, unless it is in a black hole.
func (s *session) hangUp() {
	if !s.conn.hole.Load() {
		_ = s.client.Close()
	}
}

// settle counts a message of the server's towards what it answers.
func (s *session) settle(m message) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	var v verdict
	if u := s.open(); u != nil {
		v.rules = u.rules
		if u.entry != nil {
			u.entry.BytesOut += int64(len(m.body))
		}
		s.withhold = s.withhold || withholds(u.rules)
		switch m.kind {
		case 'C', 'I', 's':
			s.answered(u, m)
		case 'G', 'W':
			u.copying = true
		case 'E':
			s.failed(u, m)
		case 'Z':
			s.ready(m, &v)
		}
	}
	v.hold = v.hold || s.withhold
	if s.gone && !s.answerable() {
		select {
		case <-s.drained:
		default:
			close(s.drained)
		}
	}
	return v
}

// open returns the first unit that still waits for its answer.
func (s *session) open() *unit {
	for _, u := range s.queue {
		if !u.finished {
			return u
		}
	}
	return nil
}

// withholds tells whether the client must not learn the outcome.
func withholds(rules []*Rule) bool {
	for _, rule := range rules {
		if rule.Action.Type == "lose" || rule.Action.When == "after" && rule.Action.Type != "delay" {
			return true
		}
	}
	return false
}

// answered notes that a statement was executed. Of a simple query there may be more.
func (s *session) answered(u *unit, m message) {
	if u.entry == nil {
		return
	}
	u.copying = false
	tag, _ := cString(m.body)
	if u.entry.Tag != "" {
		tag = u.entry.Tag + "; " + tag
	}
	u.entry.Tag = tag
	u.finished = u.kind == 'E'
}

// failed notes an error. What follows up to the Sync is not executed.
func (s *session) failed(u *unit, m message) {
	if u.entry != nil {
		u.entry.SQLState, u.entry.Result = errorField(m.body, 'C'), "error"
	}
	for _, u := range s.queue {
		if u.kind != 'E' {
			return
		}
		if !u.finished && u.entry.Result == "" {
			u.entry.Result = "skipped"
		}
		u.finished = true
	}
}

// ready ends everything up to the next unit that ends by ReadyForQuery.
func (s *session) ready(m message, v *verdict) {
	before := s.state
	s.state = m.body[0]
	if before == 'I' && s.state != 'I' {
		s.tx++
	}
	if s.state == 'I' {
		s.txWrites = false
	}
	for len(s.queue) > 0 {
		u := s.queue[0]
		s.queue = s.queue[1:]
		if u.entry != nil {
			if before != 'I' || s.state != 'I' {
				u.entry.Tx = s.tx
			}
			s.strikeAfter(u, v)
			s.finish(u, "ok")
		} else {
			v.inject = pick(u.rules, "error", false)
		}
		if u.kind != 'E' {
			break
		}
	}
}

// strikeAfter does what rules want once the server has done it and before the client knows.
func (s *session) strikeAfter(u *unit, v *verdict) {
	for _, rule := range u.rules {
		after := rule.Action.When == "after"
		switch kind := rule.Action.Type; {
		case kind == "delay" && after:
			v.pause = rule
		case kind == "kill" && after:
			u.entry.Result = "killed after"
			if err := rule.process.strike(); err != nil {
				u.entry.Result = "kill failed: " + err.Error()
			}
			v.over = v.over || rule.process.kills()
			s.withhold = false
		case kind == "lose" && rule.Action.How == "hang" || kind == "blackhole" && after:
			u.entry.Result = "lost"
			s.conn.blackhole(rule)
		case kind == "lose" || kind == "reset" && after:
			u.entry.Result = "lost"
			v.over = true
		}
	}
	if v.over {
		s.conn.reset()
		_ = s.server.Close()
	}
}

// pass writes a message of the server to the client, after an injected error if there is one.
func (s *session) pass(m message, v verdict) {
	if v.pause != nil {
		select {
		case <-time.After(time.Duration(v.pause.Action.Ms) * time.Millisecond):
		case <-v.pause.gone:
		}
	}
	if v.inject != nil {
		s.refuse(v.inject, "ERROR")
		if m.body[0] == 'T' {
			m.body[0] = 'E'
		}
	}
	// That the client has gone is for fromClient to find out.
	_ = s.write(m.bytes(), v.rules)
}

// write sends bytes in the pieces and at the pace that the rules say.
func (s *session) write(p []byte, rules []*Rule) error {
	piece, rate := len(p), 0
	if rule := pick(rules, "rechunk", false); rule != nil {
		piece = max(rule.Action.Bytes, 1)
	}
	if rule := pick(rules, "throttle", false); rule != nil {
		rate = max(rule.Action.Rate, 1)
		piece = max(rate/20, 1)
	}
	for len(p) > 0 {
		n := min(piece, len(p))
		if _, err := s.client.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
		if rate > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
		}
	}
	return nil
}

// strikeOpen hands a rule to the sessions that are open and match it as SESSION.
func (p *sqlProxy) strikeOpen(rule *Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sessions {
		request := &Request{Kind: "sql", Method: "SESSION", Path: s.database, What: s.database + ": SESSION"}
		if !p.rules.takeOpen(rule, request) {
			continue
		}
		switch rule.Action.Type {
		case "blackhole":
			s.conn.blackhole(rule)
		case "reset":
			s.conn.reset()
		}
	}
}
