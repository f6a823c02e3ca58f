package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const patience = 10 * time.Second

// A fixture is an upstream that stands in for an API server, the proxy before it, its control endpoint, and a client.
type fixture struct {
	t        *testing.T
	control  *httptest.Server
	client   *http.Client
	base     string
	log      *Log
	conns    *conns
	shown    *certificate
	requests sync.Map      // what upstream saw: "METHOD path" → how often
	events   chan string   // lines for whoever watches upstream
	stopped  chan struct{} // gets a value when upstream's watch ends
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, events: make(chan string), stopped: make(chan struct{}, 10), log: newLog(nil), conns: newConns()}
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	t.Cleanup(upstream.Close)
	pool := x509.NewCertPool()
	pool.AddCert(upstream.Certificate())

	f.shown = &certificate{}
	f.shown.current.Store(&upstream.TLS.Certificates[0])
	rules := newRules()
	target, err := url.Parse(upstream.URL)
	check(t, err)
	k := newFront(kubeDialect, target, pool, nil, rules, f.log)
	rules.strike = append(rules.strike, k.strike)
	c := &control{rules: rules, log: f.log, conns: f.conns, certificates: map[string]*certificate{"kube": f.shown}}
	f.control = httptest.NewServer(c.handler())
	t.Cleanup(f.control.Close)

	server := newKubeServer(k, f.shown, pool, false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	go server.ServeTLS(&listener{l, "kube", f.conns}, "", "")
	t.Cleanup(func() { server.Close() })
	// Whoever hangs in a rule is let go before the servers are closed.
	t.Cleanup(func() { rules.remove(0) })
	f.base = "https://" + l.Addr().String()
	f.client = newClient(pool)
	return f
}

func newClient(pool *x509.CertPool) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve is upstream: it counts, watches, lists, and creates.
func (f *fixture) serve(w http.ResponseWriter, r *http.Request) {
	key := r.Method + " " + r.URL.Path
	count, _ := f.requests.LoadOrStore(key, new(atomic.Int64))
	count.(*atomic.Int64).Add(1)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Upstream", "yes")
	switch {
	case r.URL.Query().Get("watch") == "true":
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		defer func() { f.stopped <- struct{}{} }()
		for {
			select {
			case text := <-f.events:
				io.WriteString(w, text)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	case r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		w.Write(body)
	case r.URL.Path == "/whoami":
		io.WriteString(w, r.Header.Get("Authorization"))
	default:
		io.WriteString(w, `{"kind":"ThingList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"one"}}]}`)
	}
}

func (f *fixture) count(key string) int {
	count, ok := f.requests.Load(key)
	if !ok {
		return 0
	}
	return int(count.(*atomic.Int64).Load())
}

// rule adds a rule and returns its number.
func (f *fixture) rule(text string) int {
	f.t.Helper()
	response, err := http.Post(f.control.URL+"/rules", "application/json", strings.NewReader(text))
	check(f.t, err)
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusCreated {
		f.t.Fatalf("rule %s: %s %s", text, response.Status, body)
	}
	var made struct{ ID int }
	check(f.t, json.Unmarshal(body, &made))
	return made.ID
}

func (f *fixture) remove(id int) {
	f.t.Helper()
	request, _ := http.NewRequest(http.MethodDelete, fmt.Sprintf("%s/rules/%d", f.control.URL, id), nil)
	response, err := http.DefaultClient.Do(request)
	check(f.t, err)
	response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		f.t.Fatal(response.Status)
	}
}

func (f *fixture) get(path string) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	f.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.base+path, nil)
	check(f.t, err)
	response, err := f.client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

func (f *fixture) post(path, body string) (*http.Response, error) {
	response, err := f.client.Post(f.base+path, "application/json", strings.NewReader(body))
	if err == nil {
		response.Body.Close()
	}
	return response, err
}

// watch opens one and returns a reader of its lines.
func (f *fixture) watch(path string) *bufio.Reader {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	f.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.base+path+"?watch=true", nil)
	check(f.t, err)
	response, err := f.client.Do(request)
	check(f.t, err)
	f.t.Cleanup(func() { response.Body.Close() })
	return bufio.NewReader(response.Body)
}

func (f *fixture) send(text string) {
	f.t.Helper()
	select {
	case f.events <- text:
	case <-time.After(patience):
		f.t.Fatal("nobody watches upstream")
	}
}

func eventText(kind, name string) string {
	return fmt.Sprintf(`{"type":%q,"object":{"metadata":{"name":%q}}}`+"\n", kind, name)
}

func (f *fixture) expectLine(r *bufio.Reader, wanted string) {
	f.t.Helper()
	text, err := r.ReadString('\n')
	if err != nil || text != wanted {
		f.t.Fatalf("got %q (%v), wanted %q", text, err, wanted)
	}
}

// entries are the log's, once there are at least n.
func (f *fixture) entries(n int) []Entry {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	for len(f.log.since(0)) < n && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	var list []Entry
	for _, text := range f.log.since(0) {
		var e Entry
		check(f.t, json.Unmarshal(text, &e))
		list = append(list, e)
	}
	if len(list) < n {
		f.t.Fatalf("the log has %d entries, wanted %d", len(list), n)
	}
	return list
}

func TestPassesOnAndLogs(t *testing.T) {
	f := newFixture(t)
	request, _ := http.NewRequest(http.MethodGet, f.base+"/whoami?a=b", nil)
	request.Header.Set("Authorization", "Bearer xyz")
	response, err := f.client.Do(request)
	check(t, err)
	body, _ := io.ReadAll(response.Body)
	if string(body) != "Bearer xyz" || response.ProtoMajor != 2 || response.Header.Get("X-Upstream") != "yes" {
		t.Fatalf("%s %s %v", body, response.Proto, response.Header)
	}
	_, err = f.post("/api/v1/namespaces?fieldManager=me", `{"metadata":{"name":"ns-1"}}`)
	check(t, err)
	log := f.entries(2)
	if e := log[0]; e.Verb != "GET" || e.Path != "/whoami" || e.Query != "a=b" || e.Write || e.Status != 200 || e.BytesOut != 10 || e.Protocol != "HTTP/2.0" {
		t.Errorf("%+v", e)
	}
	if e := log[1]; !e.Write || e.Name != "ns-1" || e.Status != 201 || e.What != "POST /api/v1/namespaces by me of ns-1" || e.BytesIn != 28 {
		t.Errorf("%+v", e)
	}
	if strings.Contains(string(bytes.Join(f.log.since(0), nil)), "xyz") {
		t.Error("the token is in the log")
	}
	if n := f.conns.each("kube", func(*conn) {}); n != 1 {
		t.Errorf("%d connections for 2 requests over HTTP/2", n)
	}
}

func TestWritesOfKubernetes(t *testing.T) {
	for text, wanted := range map[string]bool{
		"GET /api/v1/namespaces": false, "POST /api/v1/namespaces": true, "DELETE /api/v1/namespaces/a": true,
		"PATCH /apis/tenantry.dev/v1alpha1/tenants/a/status":                     true,
		"PATCH /apis/tenantry.dev/v1alpha1/tenants/a?dryRun=All":                 false,
		"PUT /apis/coordination.k8s.io/v1/namespaces/a/leases/b":                 false,
		"POST /apis/events.k8s.io/v1/namespaces/a/events":                        false,
		"PATCH /apis/events.k8s.io/v1/namespaces/a/events/b":                     false,
		"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews":            false,
		"PATCH /api/v1/namespaces/events/secrets/b":                              true,
		"POST /apis/rbac.authorization.k8s.io/v1/namespaces/leases/rolebindings": true,
	} {
		method, target, _ := strings.Cut(text, " ")
		r := httptest.NewRequest(method, target, nil)
		if request, _ := describeKube(r, nil); request.Write != wanted {
			t.Errorf("%s: write is %v", text, request.Write)
		}
	}
}

func TestPathsOfTheAPI(t *testing.T) {
	for path, wanted := range map[string]apiName{
		"/api/v1/nodes":                                {"/api/v1/nodes", "nodes", "", "", ""},
		"/api/v1/namespaces/a":                         {"/api/v1/namespaces", "namespaces", "", "a", ""},
		"/api/v1/namespaces/a/status":                  {"/api/v1/namespaces", "namespaces", "", "a", "status"},
		"/api/v1/namespaces/a/secrets/b":               {"/api/v1/namespaces/a/secrets", "secrets", "a", "b", ""},
		"/apis/tenantry.dev/v1alpha1/tenants/a/status": {"/apis/tenantry.dev/v1alpha1/tenants", "tenants", "", "a", "status"},
		"/healthz": {}, "/apis/x": {},
	} {
		if got := apiPath(path); got != wanted {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func TestNthAndCount(t *testing.T) {
	f := newFixture(t)
	f.rule(`{"match":{"path":"^/a$","nth":2,"count":2},"action":{"type":"status","code":503,"retry_after":4}}`)
	var codes []int
	for range 5 {
		response, body, err := f.get("/a")
		check(t, err)
		codes = append(codes, response.StatusCode)
		if response.StatusCode == 503 && (response.Header.Get("Retry-After") != "4" || !strings.Contains(body, `"retryAfterSeconds":4`)) {
			t.Errorf("%v %s", response.Header, body)
		}
	}
	if fmt.Sprint(codes) != "[200 503 503 200 200]" {
		t.Error(codes)
	}
	if f.count("GET /a") != 3 {
		t.Error("a refused request reached upstream")
	}
}

func TestStatusTooLarge(t *testing.T) {
	f := newFixture(t)
	f.rule(`{"match":{},"action":{"type":"status","code":504,"reason":"ResourceVersionTooLarge"}}`)
	_, body, err := f.get("/a")
	check(t, err)
	if !strings.Contains(body, `"reason":"Timeout"`) || !strings.Contains(body, `"reason":"ResourceVersionTooLarge"`) {
		t.Error(body)
	}
}

func TestDelay(t *testing.T) {
	f := newFixture(t)
	f.rule(`{"match":{},"action":{"type":"delay","ms":150}}`)
	begin := time.Now()
	_, _, err := f.get("/a")
	check(t, err)
	if took := time.Since(begin); took < 150*time.Millisecond {
		t.Error(took)
	}
	if e := f.entries(1)[0]; e.Ms < 150 || len(e.Faults) != 1 {
		t.Errorf("%+v", e)
	}
}

func TestReset(t *testing.T) {
	for _, scope := range []string{"connection", "stream"} {
		f := newFixture(t)
		f.rule(`{"match":{},"action":{"type":"reset","scope":"` + scope + `"}}`)
		if _, err := f.post("/a", "{}"); err == nil {
			t.Fatal("an answer")
		} else if scope == "connection" && !errors.Is(err, syscall.ECONNRESET) && !strings.Contains(err.Error(), "EOF") {
			t.Error(err)
		} else if scope == "stream" && !strings.Contains(err.Error(), "stream error") {
			t.Error(err)
		}
		if f.count("POST /a") != 0 {
			t.Error("upstream saw it")
		}
	}
}

func TestLoseAnswer(t *testing.T) {
	f := newFixture(t)
	f.rule(`{"match":{"method":"POST"},"action":{"type":"lose"}}`)
	if _, err := f.post("/a", "{}"); err == nil {
		t.Fatal("an answer")
	}
	if f.count("POST /a") != 1 {
		t.Error("upstream did not see it, once")
	}
	if e := f.entries(1)[0]; e.Result != "lost" || e.Status != 201 {
		t.Errorf("%+v", e)
	}
}

func TestBlackhole(t *testing.T) {
	f := newFixture(t)
	id := f.rule(`{"match":{"path":"/hole"},"action":{"type":"blackhole"}}`)
	done := make(chan error, 1)
	go func() {
		_, _, err := f.get("/hole")
		done <- err
	}()
	waitFired(t, f, id)
	select {
	case err := <-done:
		t.Fatal("it ended", err)
	case <-time.After(200 * time.Millisecond):
	}
	if f.count("GET /hole") != 0 {
		t.Error("upstream saw it")
	}
	f.remove(id)
	select {
	case err := <-done:
		if err == nil {
			t.Error("an answer")
		}
	case <-time.After(patience):
		t.Fatal("still silent after the rule went")
	}
	if _, _, err := f.get("/after"); err != nil {
		t.Error(err)
	}
}

func waitFired(t *testing.T, f *fixture, id int) {
	t.Helper()
	response, err := http.Get(fmt.Sprintf("%s/rules/%d?fired=1&timeout=10s", f.control.URL, id))
	check(t, err)
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
}

func TestKill(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		f := newFixture(t)
		victim := exec.Command("sleep", "1000")
		check(t, victim.Start())
		f.rule(fmt.Sprintf(`{"match":{"write":true,"nth":2},"action":{"type":"kill","when":%q,"pid":%d}}`, when, victim.Process.Pid))
		_, err := f.post("/a", "{}")
		check(t, err)
		if _, err = f.post("/b", "{}"); err == nil {
			t.Fatal("an answer")
		}
		err = victim.Wait()
		if status := victim.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
			t.Error(err)
		}
		if wanted := map[string]int{"before": 0, "after": 1}[when]; f.count("POST /b") != wanted {
			t.Errorf("%s: upstream saw %d", when, f.count("POST /b"))
		}
		if e := f.entries(2)[1]; e.Result != "killed "+when {
			t.Errorf("%+v", e)
		}
	}
}

func TestKillNeedsALiveProcess(t *testing.T) {
	victim := exec.Command("true")
	check(t, victim.Run())
	for _, pid := range []int{0, 1, victim.Process.Pid} {
		if _, err := findProcess(pid, ""); err == nil {
			t.Errorf("pid %d was taken", pid)
		}
	}
}

func TestWatchPassesEventsAtOnce(t *testing.T) {
	f := newFixture(t)
	r := f.watch("/things")
	f.send(eventText("ADDED", "a"))
	f.expectLine(r, eventText("ADDED", "a"))
	if e := f.entries(1)[0]; e.Phase != "open" {
		t.Errorf("%+v", e)
	}
}

func TestWatchError(t *testing.T) {
	f := newFixture(t)
	f.rule(`{"match":{"watch":true},"action":{"type":"watch-error","code":410,"events":1}}`)
	r := f.watch("/things")
	f.send(eventText("ADDED", "a"))
	f.expectLine(r, eventText("ADDED", "a"))
	text, err := r.ReadString('\n')
	check(t, err)
	if !strings.Contains(text, `"type":"ERROR"`) || !strings.Contains(text, `"code":410`) || !strings.Contains(text, `"reason":"Expired"`) {
		t.Error(text)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Error("not ended cleanly:", err)
	}
	select {
	case <-f.stopped:
	case <-time.After(patience):
		t.Error("the watch upstream goes on")
	}
}

func TestCutWatch(t *testing.T) {
	for how, wanted := range map[string]string{"end": "EOF", "stream": "stream error", "close": "EOF", "reset": "reset"} {
		f := newFixture(t)
		f.rule(`{"match":{"watch":true},"action":{"type":"cut","bytes":10,"how":"` + how + `"}}`)
		r := f.watch("/things")
		f.send(eventText("ADDED", "a"))
		text, err := io.ReadAll(r)
		if how == "end" && err == nil {
			err = io.EOF
		}
		got := string(text)
		if how == "reset" && strings.HasPrefix(eventText("ADDED", "a"), got) {
			// A reset may take bytes along that the client has not yet read.
			got = eventText("ADDED", "a")[:10]
		}
		if got != eventText("ADDED", "a")[:10] || err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("%s: %q %v", how, text, err)
		}
	}
}

func TestRechunk(t *testing.T) {
	f := newFixture(t)
	f.rule(`{"match":{"watch":true},"action":{"type":"rechunk","bytes":1}}`)
	request, _ := http.NewRequest(http.MethodGet, f.base+"/things?watch=true", nil)
	response, err := f.client.Do(request)
	check(t, err)
	defer response.Body.Close()
	wanted := eventText("ADDED", "größe")
	f.send(wanted)
	got := make([]byte, len(wanted))
	_, err = io.ReadFull(response.Body, got)
	check(t, err)
	var sent int64
	f.conns.each("kube", func(c *conn) { sent = c.out.Load() })
	// What the client reads at once is up to it, but each byte came in a frame of its own, in a TLS record of its own.
	if string(got) != wanted || sent < int64(len(wanted)*25) {
		t.Errorf("%q in %d bytes", got, sent)
	}
}

func TestCoalesce(t *testing.T) {
	f := newFixture(t)
	f.rule(`{"match":{"watch":true},"action":{"type":"coalesce","ms":200}}`)
	request, _ := http.NewRequest(http.MethodGet, f.base+"/things?watch=true", nil)
	response, err := f.client.Do(request)
	check(t, err)
	defer response.Body.Close()
	wanted := ""
	for i := range 5 {
		f.send(eventText("ADDED", fmt.Sprint(i)))
		wanted += eventText("ADDED", fmt.Sprint(i))
	}
	buffer := make([]byte, 4096)
	n, err := response.Body.Read(buffer)
	check(t, err)
	if string(buffer[:n]) != wanted {
		t.Errorf("%q", buffer[:n])
	}
}

func TestThrottle(t *testing.T) {
	f := newFixture(t)
	f.rule(`{"match":{},"action":{"type":"throttle","rate":400}}`)
	begin := time.Now()
	_, body, err := f.get("/list")
	check(t, err)
	if took := time.Since(begin); took < time.Duration(len(body))*time.Second/400*8/10 {
		t.Errorf("%d bytes in %s", len(body), took)
	}
}

func TestDropAndDelayEvents(t *testing.T) {
	f := newFixture(t)
	drop := f.rule(`{"match":{"watch":true},"action":{"type":"drop-events","object":"^b$","types":"MODIFIED"}}`)
	late := f.rule(`{"match":{"watch":true},"action":{"type":"delay-events","object":"^c$","ms":60000}}`)
	r := f.watch("/things")
	f.send(eventText("MODIFIED", "b"))
	f.send(eventText("ADDED", "c"))
	f.send(eventText("ADDED", "b"))
	f.expectLine(r, eventText("ADDED", "b"))
	f.remove(late)
	f.expectLine(r, eventText("ADDED", "c"))
	f.remove(drop)
	f.send(eventText("MODIFIED", "b"))
	f.expectLine(r, eventText("MODIFIED", "b"))
}

func TestRuleForOpenWatches(t *testing.T) {
	f := newFixture(t)
	r := f.watch("/things")
	f.send(eventText("ADDED", "a"))
	f.expectLine(r, eventText("ADDED", "a"))
	f.rule(`{"match":{"watch":true,"path":"things","open":true},"action":{"type":"watch-error","code":500}}`)
	text, err := r.ReadString('\n')
	check(t, err)
	if !strings.Contains(text, `"code":500`) {
		t.Error(text)
	}
}

func TestOpenWatchFallsIntoABlackHole(t *testing.T) {
	f := newFixture(t)
	r := f.watch("/things")
	f.send(eventText("ADDED", "a"))
	f.expectLine(r, eventText("ADDED", "a"))
	id := f.rule(`{"match":{"watch":true,"open":true},"action":{"type":"blackhole"}}`)
	got := make(chan error, 1)
	go func() {
		_, err := r.ReadByte()
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatal("not silent:", err)
	case <-time.After(200 * time.Millisecond):
	}
	f.remove(id)
	if err := <-got; err == nil {
		t.Error("a byte")
	}
}

func TestGoaway(t *testing.T) {
	f := newFixture(t)
	_, _, err := f.get("/a")
	check(t, err)
	f.rule(`{"match":{},"action":{"type":"goaway"}}`)
	_, _, err = f.get("/a")
	check(t, err)
	// The client leaves the connection, and so does the proxy once nothing is under way.
	_, _, err = f.get("/a")
	check(t, err)
	log := f.entries(3)
	if log[0].Connection != log[1].Connection || log[1].Connection == log[2].Connection {
		t.Errorf("connections %d %d %d", log[0].Connection, log[1].Connection, log[2].Connection)
	}
}

func TestFrozenView(t *testing.T) {
	f := newFixture(t)
	id := f.rule(`{"match":{"method":"GET","path":"^/api/v1/things","count":-1},"action":{"type":"frozen"}}`)
	for path, wanted := range map[string]string{
		"/api/v1/things":     `"resourceVersion":"7"`,
		"/api/v1/things/one": `"kind":"Thing"`,
		"/api/v1/things/two": `"reason":"NotFound"`,
	} {
		if _, body, err := f.get(path); err != nil || !strings.Contains(body, wanted) {
			t.Errorf("%s: %s %v", path, body, err)
		}
	}
	if f.count("GET /api/v1/things") != 1 || f.count("GET /api/v1/things/one") != 0 {
		t.Error("the view was not taken just once")
	}
	response, err := f.client.Get(f.base + "/api/v1/things?watch=true&sendInitialEvents=true")
	check(t, err)
	r := bufio.NewReader(response.Body)
	text, err := r.ReadString('\n')
	check(t, err)
	if !strings.Contains(text, `"type":"ADDED"`) || !strings.Contains(text, `"name":"one"`) {
		t.Error(text)
	}
	text, err = r.ReadString('\n')
	check(t, err)
	if !strings.Contains(text, `"type":"BOOKMARK"`) || !strings.Contains(text, `"k8s.io/initial-events-end":"true"`) {
		t.Error(text)
	}
	f.remove(id)
	if _, err := r.ReadByte(); err != io.EOF {
		t.Error("the frozen watch did not end:", err)
	}
}

func TestFrozenViewOfAFile(t *testing.T) {
	f := newFixture(t)
	file := filepath.Join(t.TempDir(), "view.json")
	check(t, os.WriteFile(file, []byte(`{"kind":"ThingList","apiVersion":"v1","metadata":{"resourceVersion":"3"},"items":[]}`), 0o600))
	f.rule(`{"match":{"count":-1},"action":{"type":"frozen","view":"` + file + `"}}`)
	if _, body, err := f.get("/api/v1/things"); err != nil || !strings.Contains(body, `"resourceVersion":"3"`) {
		t.Error(body, err)
	}
	if f.count("GET /api/v1/things") != 0 {
		t.Error("upstream was asked")
	}
}

func TestSwapCertificate(t *testing.T) {
	f := newFixture(t)
	_, _, err := f.get("/a")
	check(t, err)
	folder := t.TempDir()
	cert, key := filepath.Join(folder, "crt"), filepath.Join(folder, "key")
	output, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other",
		"-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %s", output)
	}
	response, err := http.Post(f.control.URL+"/certificate", "application/json",
		strings.NewReader(fmt.Sprintf(`{"kind":"kube","cert":%q,"key":%q}`, cert, key)))
	check(t, err)
	if response.StatusCode != http.StatusNoContent {
		t.Fatal(response.Status)
	}
	if _, _, err := f.get("/a"); err != nil {
		t.Error("the open connection suffered:", err)
	}
	f.client.CloseIdleConnections()
	var unknown x509.UnknownAuthorityError
	if _, err := f.post("/a", "{}"); !errors.As(err, &unknown) {
		t.Error("the old certificate is still shown:", err)
	}
	other, err := roots(cert)
	check(t, err)
	f.client = newClient(other)
	if _, _, err := f.get("/a"); err != nil {
		t.Error(err)
	}
}

func TestWriteGoesOnWhenItsClientDies(t *testing.T) {
	f := newFixture(t)
	f.rule(`{"match":{"method":"POST"},"action":{"type":"lose","how":"hang"}}`)
	ctx, cancel := context.WithCancel(context.Background())
	request, _ := http.NewRequestWithContext(ctx, http.MethodPost, f.base+"/a", strings.NewReader("{}"))
	done := make(chan error, 1)
	go func() {
		_, err := f.client.Do(request)
		done <- err
	}()
	deadline := time.Now().Add(patience)
	for f.count("POST /a") == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if e := f.entries(1)[0]; e.Status != 201 {
		t.Errorf("%+v", e)
	}
}

func TestQuiet(t *testing.T) {
	f := newFixture(t)
	ask := func(query string) int {
		response, err := http.Get(f.control.URL + "/quiet?" + query)
		check(t, err)
		response.Body.Close()
		return response.StatusCode
	}
	// A watch is no work.
	f.watch("/things")
	if code := ask("for=100ms&timeout=5s"); code != http.StatusNoContent {
		t.Error(code)
	}
	id := f.rule(`{"match":{"path":"/slow"},"action":{"type":"delay","ms":60000}}`)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = f.get("/slow")
	}()
	waitFired(t, f, id)
	if code := ask("for=50ms&timeout=200ms"); code != http.StatusRequestTimeout {
		t.Error(code)
	}
	f.remove(id)
	<-done
	if code := ask("for=50ms&timeout=5s"); code != http.StatusNoContent {
		t.Error(code)
	}
}

func TestRulesAreChecked(t *testing.T) {
	f := newFixture(t)
	for _, text := range []string{
		`{"match":{},"action":{"type":"nonsense"}}`, `{"match":{"path":"("},"action":{"type":"reset"}}`, `{"match":{},"action":{"type":"status"}}`,
		`{"match":{"pth":"x"},"action":{"type":"reset"}}`, `{"match":{},"action":{"type":"kill","pid":0}}`,
		`{"match":{},"action":{"type":"reset","when":"later"}}`, `{"match":{},"action":{"type":"error","sqlstate":"1"}}`, `no json`,
	} {
		response, err := http.Post(f.control.URL+"/rules", "application/json", strings.NewReader(text))
		check(t, err)
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", text, response.Status)
		}
	}
	if err := loopback("0.0.0.0:1"); err == nil {
		t.Error("a control address open to others was taken")
	}
}
