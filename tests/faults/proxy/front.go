package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	maxRequestBytes = 32 << 20
	maxBufferBytes  = 64 << 20
	// How long a write goes on upstream after its client has gone: its outcome belongs in the log.
	detachedTimeout = 70 * time.Second
)

// A dialect is what one kind of server says over HTTP.
type dialect struct {
	kind string
	// describe makes of a request what rules match, and a name if it makes something of one.
	describe func(r *http.Request, body []byte) (*Request, string)
	refuse   func(w http.ResponseWriter, a *Action)
	sameHost bool // upstream has to see the Host that the client named, which it signed
}

// A front is the proxy in front of a server that speaks HTTP: an http.Handler.
type front struct {
	dialect
	upstream *url.URL
	plain    http.RoundTripper // for whoever brings a token
	identity http.RoundTripper // for client certificates, which end here: it acts as an administrator who impersonates
	rules    *Rules
	log      *Log

	mu      sync.Mutex
	streams map[*stream]bool
}

type connKey struct{}

func newFront(d dialect, upstream *url.URL, roots *x509.CertPool, identity *tls.Certificate, rules *Rules, log *Log) *front {
	transport := func(certificates []tls.Certificate) *http.Transport {
		return &http.Transport{
			TLSClientConfig:    &tls.Config{RootCAs: roots, Certificates: certificates, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:  true,
			DisableCompression: true,
			// A watch may be silent for long; everything else is bounded by its own context.
			IdleConnTimeout: 90 * time.Second,
		}
	}
	k := &front{dialect: d, upstream: upstream, plain: transport(nil), rules: rules, log: log, streams: map[*stream]bool{}}
	if identity != nil {
		k.identity = transport([]tls.Certificate{*identity})
	}
	return k
}

// An exchange is one request on its way.
type exchange struct {
	*front
	w       http.ResponseWriter
	r       *http.Request
	body    []byte
	conn    *conn
	request *Request
	entry   *Entry
	rules   []*Rule
	out     *output
	cancel  context.CancelFunc // ends what is under way upstream
}

func (k *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, _ := r.Context().Value(connKey{}).(*conn)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBytes+1))
	if err != nil {
		// The client went away within its own request.
		panic(http.ErrAbortHandler)
	}
	if len(body) > maxRequestBytes {
		k.refuse(w, &Action{Code: http.StatusRequestEntityTooLarge, Message: "the fault proxy takes no more than 32 MiB"})
		return
	}
	request, name := k.describe(r, body)
	x := &exchange{front: k, w: w, r: r, body: body, conn: c, request: request, cancel: func() {}}
	x.rules = k.rules.take(request)
	x.entry = k.log.begin(request, c.id)
	x.entry.Name, x.entry.UserAgent, x.entry.Protocol = name, r.UserAgent(), r.Proto
	x.entry.BytesIn = int64(len(body))
	x.entry.Faults = names(x.rules)
	x.out = &output{w: w, ctx: r.Context(), cutLeft: -1}
	defer func() {
		x.cancel()
		x.entry.BytesOut = x.out.written
		k.log.end(x.entry)
	}()
	x.run()
}

// abort ends the exchange without an answer. How is reset or close (of the connection), stream (of this request alone), hang or end.
func (x *exchange) abort(how, result string, rule *Rule) {
	x.entry.Result = result
	switch how {
	case "end":
		return
	case "hang":
		x.hang(rule)
	case "stream":
	case "close":
		// Not so fast that what was written last stays behind.
		_ = http.NewResponseController(x.w).Flush()
		_ = x.conn.closeNow()
	default:
		x.conn.reset()
	}
	panic(http.ErrAbortHandler)
}

// hang waits until the client gives up or the rule is removed.
func (x *exchange) hang(rule *Rule) {
	select {
	case <-x.r.Context().Done():
	case <-rule.gone:
	}
}

func (x *exchange) run() {
	if x.before() {
		return
	}
	response, err := x.forward()
	if err != nil {
		x.abort("stream", "upstream: "+err.Error(), nil)
	}
	defer response.Body.Close()
	x.entry.Status = response.StatusCode
	x.entry.Result = "ok"
	if response.StatusCode >= 400 {
		x.entry.Result = "error"
	}
	if x.request.Watch && response.StatusCode == http.StatusOK {
		x.head(response)
		x.watch(response.Body, response.Header.Get("Content-Type"))
		return
	}
	x.answer(response)
}

// before strikes while upstream knows nothing yet; true means that the request has been dealt with.
func (x *exchange) before() bool {
	if rule := pick(x.rules, "delay", false); rule != nil && !x.pause(rule) {
		x.abort("stream", "client gone", rule)
	}
	if rule := pick(x.rules, "kill", false); rule != nil {
		if err := rule.process.strike(); err != nil {
			x.abort("reset", "kill failed: "+err.Error(), rule)
		}
		if rule.process.kills() {
			x.abort("reset", "killed before", rule)
		}
	}
	if rule := pick(x.rules, "blackhole", false); rule != nil {
		x.swallow(rule)
	}
	if rule := pick(x.rules, "reset", false); rule != nil {
		x.abort(scopeOf(rule), "reset", rule)
	}
	if rule := pick(x.rules, "status", false); rule != nil {
		x.entry.Status, x.entry.Result = rule.Action.Code, "refused"
		x.refuse(x.w, &rule.Action)
		return true
	}
	if rule := pick(x.rules, "frozen", false); rule != nil {
		x.frozen(rule)
		return true
	}
	return false
}

func scopeOf(rule *Rule) string {
	if rule.Action.Scope == "stream" {
		return "stream"
	}
	return "reset"
}

// swallow is the black hole: the request is never answered.
func (x *exchange) swallow(rule *Rule) {
	if rule.Action.Scope != "stream" {
		x.conn.blackhole(rule)
	}
	x.abort("hang", "blackhole", rule)
}

// pause waits as long as the rule says; false if the client went meanwhile.
func (x *exchange) pause(rule *Rule) bool {
	timer := time.NewTimer(time.Duration(rule.Action.Ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-rule.gone:
	case <-x.r.Context().Done():
		return false
	}
	return true
}

// hopHeaders belong to one connection, not to the request.
var hopHeaders = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Te", "Trailer"}

// forward sends the request upstream. A write goes on when its client dies: what became of it must be known.
func (x *exchange) forward() (*http.Response, error) {
	ctx := x.r.Context()
	if x.request.Write {
		ctx, x.cancel = context.WithTimeout(context.WithoutCancel(ctx), detachedTimeout)
	}
	target := *x.r.URL
	target.Scheme, target.Host = x.upstream.Scheme, x.upstream.Host
	request, err := http.NewRequestWithContext(ctx, x.r.Method, target.String(), bytes.NewReader(x.body))
	if err != nil {
		return nil, err
	}
	if x.sameHost {
		request.Host = x.r.Host
	}
	request.Header = x.r.Header.Clone()
	for _, name := range hopHeaders {
		request.Header.Del(name)
	}
	if len(x.body) == 0 {
		request.Body = http.NoBody
	}
	return x.transportFor(request).RoundTrip(request)
}

// transportFor chooses how to log in upstream, and passes on who the client's certificate says it is.
func (x *exchange) transportFor(request *http.Request) http.RoundTripper {
	state := x.r.TLS
	if x.identity == nil || request.Header.Get("Authorization") != "" || state == nil || len(state.PeerCertificates) == 0 {
		return x.plain
	}
	if request.Header.Get("Impersonate-User") == "" {
		subject := state.PeerCertificates[0].Subject
		request.Header.Set("Impersonate-User", subject.CommonName)
		for _, group := range subject.Organization {
			request.Header.Add("Impersonate-Group", group)
		}
	}
	return x.identity
}

// head passes on status and headers.
func (x *exchange) head(response *http.Response) {
	header := x.w.Header()
	for name, values := range response.Header {
		header[name] = values
	}
	for _, name := range hopHeaders {
		header.Del(name)
	}
	if pick(x.rules, "goaway", false) != nil {
		// To net/http's HTTP/2 this means GOAWAY; it is how the API server itself says it.
		header.Set("Connection", "close")
	}
	x.out.arm(x.rules)
	x.w.WriteHeader(response.StatusCode)
}

// answer passes on an answer that ends.
func (x *exchange) answer(response *http.Response) {
	var body io.Reader = response.Body
	if x.request.Write || pick(x.rules, "kill", true) != nil || pick(x.rules, "lose", false) != nil || pick(x.rules, "lose", true) != nil {
		whole, err := io.ReadAll(io.LimitReader(response.Body, maxBufferBytes))
		if err != nil {
			x.abort("stream", "upstream: "+err.Error(), nil)
		}
		body = bytes.NewReader(whole)
	}
	x.after()
	x.head(response)
	if err := x.copy(body); err != nil {
		x.end(err)
	}
}

// after strikes once upstream has answered and the client knows nothing of it.
func (x *exchange) after() {
	if rule := pick(x.rules, "kill", true); rule != nil {
		if err := rule.process.strike(); err != nil {
			x.abort("reset", "kill failed: "+err.Error(), rule)
		}
		if rule.process.kills() {
			x.abort("reset", "killed after", rule)
		}
	}
	for _, after := range []bool{false, true} {
		if rule := pick(x.rules, "lose", after); rule != nil {
			x.abort(rule.Action.How, "lost", rule)
		}
	}
	if rule := pick(x.rules, "reset", true); rule != nil {
		x.abort(scopeOf(rule), "lost", rule)
	}
	if rule := pick(x.rules, "blackhole", true); rule != nil {
		x.swallow(rule)
	}
	if rule := pick(x.rules, "delay", true); rule != nil && !x.pause(rule) {
		x.abort("stream", "client gone", rule)
	}
}

// copy passes bytes on as they come.
func (x *exchange) copy(body io.Reader) error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if failed := x.out.write(buffer[:n]); failed != nil {
				return failed
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// end deals with what interrupted an answer.
func (x *exchange) end(err error) {
	var cut *cutError
	switch {
	case errors.As(err, &cut):
		x.abort(cut.how, "cut", cut.rule)
	case x.r.Context().Err() != nil:
		x.abort("stream", "client gone", nil)
	default:
		x.abort("stream", "upstream: "+err.Error(), nil)
	}
}

// An output passes an answer's bytes on to the client, with the faults that concern bytes.
type output struct {
	w       http.ResponseWriter
	ctx     context.Context
	piece   int // most bytes in one write; 0 is any
	rate    int // bytes a second; 0 is any
	cutLeft int // bytes until the cut; -1 is never
	cut     *Rule
	written int64
}

// A cutError says that the answer is to end here.
type cutError struct {
	how  string
	rule *Rule
}

func (e *cutError) Error() string { return "cut" }

// arm takes from the rules what concerns bytes.
func (o *output) arm(rules []*Rule) {
	if rule := pick(rules, "rechunk", false); rule != nil {
		o.piece = max(rule.Action.Bytes, 1)
	}
	if rule := pick(rules, "throttle", false); rule != nil {
		o.rate = max(rule.Action.Rate, 1)
		o.piece = max(o.rate/20, 1)
	}
	if rule := pick(rules, "cut", false); rule != nil && rule != o.cut {
		o.cut, o.cutLeft = rule, rule.Action.Bytes
	}
}

func (o *output) write(p []byte) error {
	for len(p) > 0 && o.cutLeft != 0 {
		n := len(p)
		if o.piece > 0 {
			n = min(n, o.piece)
		}
		if o.cutLeft > 0 {
			n = min(n, o.cutLeft)
			o.cutLeft -= n
		}
		if _, err := o.w.Write(p[:n]); err != nil {
			return err
		}
		o.written += int64(n)
		_ = http.NewResponseController(o.w).Flush()
		p = p[n:]
		if o.rate > 0 {
			select {
			case <-time.After(time.Duration(n) * time.Second / time.Duration(o.rate)):
			case <-o.ctx.Done():
				return o.ctx.Err()
			}
		}
	}
	if o.cutLeft == 0 {
		return &cutError{o.cut.Action.How, o.cut}
	}
	return nil
}
