package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// A certificate is what one of the listeners shows; it can be swapped while connections go on.
type certificate struct {
	current atomic.Pointer[tls.Certificate]
}

func (c *certificate) load(certFile, keyFile string) error {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	c.current.Store(&pair)
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// control is the loopback endpoint through which tests steer the proxy. README.md describes it.
type control struct {
	rules        *Rules
	log          *Log
	conns        *conns
	certificates map[string]*certificate
}

const longestWait = 10 * time.Minute

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("POST /rules", c.addRule)
	mux.HandleFunc("GET /rules", func(w http.ResponseWriter, _ *http.Request) { reply(w, c.rules.list()) })
	mux.HandleFunc("GET /rules/{id}", c.getRule)
	mux.HandleFunc("DELETE /rules", c.removeRule)
	mux.HandleFunc("DELETE /rules/{id}", c.removeRule)
	mux.HandleFunc("GET /log", c.readLog)
	mux.HandleFunc("GET /quiet", c.quiet)
	mux.HandleFunc("GET /connections", c.listConnections)
	mux.HandleFunc("DELETE /connections", c.resetConnections)
	mux.HandleFunc("POST /certificate", c.swapCertificate)
	return mux
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	// A rule with a misspelt field would match what nobody meant.
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func (c *control) addRule(w http.ResponseWriter, r *http.Request) {
	rule := &Rule{}
	if !decode(w, r, rule) {
		return
	}
	if err := c.rules.add(rule); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusCreated)
	reply(w, map[string]int{"id": rule.ID})
}

// getRule shows a rule; ?fired=N waits until it has fired N times, up to ?timeout.
func (c *control) getRule(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		http.Error(w, "a rule has a number", http.StatusBadRequest)
		return
	}
	wanted, _ := strconv.Atoi(r.URL.Query().Get("fired"))
	timeout := time.After(waitOf(r))
	for {
		rule, fired, ok := c.rules.get(id)
		if !ok {
			http.Error(w, "no such rule", http.StatusNotFound)
			return
		}
		if rule.Fired >= wanted {
			reply(w, rule)
			return
		}
		select {
		case <-fired:
		case <-timeout:
			w.WriteHeader(http.StatusRequestTimeout)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// waitOf reads ?timeout, a duration such as 10s.
func waitOf(r *http.Request) time.Duration {
	timeout, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || timeout < 0 || timeout > longestWait {
		return 30 * time.Second
	}
	return timeout
}

func (c *control) removeRule(w http.ResponseWriter, r *http.Request) {
	id := 0
	if text := r.PathValue("id"); text != "" {
		var err error
		if id, err = strconv.Atoi(text); err != nil || id < 1 {
			http.Error(w, "a rule has a number", http.StatusBadRequest)
			return
		}
	}
	if c.rules.remove(id) == 0 && id != 0 {
		http.Error(w, "no such rule", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// readLog prints the lines after ?since, a line's seq.
func (c *control) readLog(w http.ResponseWriter, r *http.Request) {
	since, _ := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	w.Header().Set("Content-Type", "application/jsonl")
	for _, line := range c.log.since(since) {
		_, _ = w.Write(line)
	}
}

// quiet waits until nothing was under way for ?for, watches and Leases aside.
func (c *control) quiet(w http.ResponseWriter, r *http.Request) {
	wanted, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err != nil {
		http.Error(w, "for needs a duration such as 300ms", http.StatusBadRequest)
		return
	}
	deadline := time.Now().Add(waitOf(r))
	for {
		quiet := c.log.quietFor()
		if quiet >= wanted {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if time.Now().After(deadline) {
			w.WriteHeader(http.StatusRequestTimeout)
			return
		}
		select {
		case <-time.After(max(min(wanted-quiet, 50*time.Millisecond), time.Millisecond)):
		case <-r.Context().Done():
			return
		}
	}
}

func (c *control) listConnections(w http.ResponseWriter, r *http.Request) {
	type row struct {
		ID        int64     `json:"id"`
		Kind      string    `json:"kind"`
		Opened    time.Time `json:"opened"`
		Client    string    `json:"client"`
		BytesIn   int64     `json:"bytes_in"`
		BytesOut  int64     `json:"bytes_out"`
		Blackhole bool      `json:"blackhole,omitempty"`
	}
	list := []row{}
	c.conns.each(r.URL.Query().Get("kind"), func(each *conn) {
		list = append(list, row{each.id, each.kind, each.opened, each.RemoteAddr().String(), each.in.Load(), each.out.Load(), each.hole.Load()})
	})
	reply(w, list)
}

// resetConnections ends those of ?kind, or all, by RST.
func (c *control) resetConnections(w http.ResponseWriter, r *http.Request) {
	reply(w, map[string]int{"reset": c.conns.each(r.URL.Query().Get("kind"), (*conn).reset)})
}

// swapCertificate makes a listener show another certificate from now on.
func (c *control) swapCertificate(w http.ResponseWriter, r *http.Request) {
	var wanted struct{ Kind, Cert, Key string }
	if !decode(w, r, &wanted) {
		return
	}
	holder := c.certificates[wanted.Kind]
	if holder == nil {
		http.Error(w, "kind is kube or sql", http.StatusBadRequest)
		return
	}
	if err := holder.load(wanted.Cert, wanted.Key); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(http.StatusNoContent)
}
