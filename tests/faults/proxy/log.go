package main

import (
	"encoding/json"
	"io"
	"regexp"
	"sync"
	"time"
)

// A Request is what rules match and the log records.
type Request struct {
	Kind   string // kube, sql, s3 or iam
	Method string
	Path   string
	Query  string
	What   string
	Write  bool
	Watch  bool
}

// An Entry is a line of the log: one for each request once it is over, and one more for each watch when it opens.
type Entry struct {
	Seq        int64     `json:"seq"` // the order of the lines
	N          int64     `json:"n"`   // the order in which requests came
	Time       time.Time `json:"time"`
	Ms         float64   `json:"ms"` // from the request to the end of the answer
	Kind       string    `json:"kind"`
	Connection int64     `json:"connection"`
	Phase      string    `json:"phase,omitempty"` // open, of a watch that goes on
	Verb       string    `json:"verb"`
	Path       string    `json:"path"` // of the URL; the database
	Query      string    `json:"query,omitempty"`
	What       string    `json:"what"`
	Write      bool      `json:"write"`
	BytesIn    int64     `json:"bytes_in"`  // what the client sent, without headers
	BytesOut   int64     `json:"bytes_out"` // what it got
	Result     string    `json:"result"`    // ok, error, or what became of it otherwise
	Status     int       `json:"status,omitempty"`
	Name       string    `json:"name,omitempty"` // metadata.name of what was posted
	UserAgent  string    `json:"user_agent,omitempty"`
	Protocol   string    `json:"protocol,omitempty"`
	User       string    `json:"user,omitempty"`        // of a database session
	Tag        string    `json:"tag,omitempty"`         // what PostgreSQL says it did
	SQLState   string    `json:"sqlstate,omitempty"`    // of its error
	Tx         int64     `json:"transaction,omitempty"` // number of the explicit transaction on that connection
	Faults     []string  `json:"faults,omitempty"`

	idle bool // says nothing about whether anybody is at work: watches and Leases
}

// Log numbers requests, writes lines, and knows how many requests are under way.
type Log struct {
	mu       sync.Mutex
	out      io.Writer
	lines    [][]byte
	arrivals int64
	busy     int
	last     time.Time // when the last request came or ended
}

func newLog(out io.Writer) *Log {
	return &Log{out: out, last: time.Now()}
}

// begin numbers a request.
func (l *Log) begin(r *Request, connection int64) *Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrivals++
	now := time.Now()
	e := &Entry{N: l.arrivals, Time: now.UTC(), Kind: r.Kind, Connection: connection, Verb: r.Method, Path: r.Path,
		Query: r.Query, What: r.What, Write: r.Write}
	e.idle = r.Watch || leasePath.MatchString(r.Path)
	if !e.idle {
		l.busy++
		l.last = now
	}
	return e
}

// end writes the entry's line.
func (l *Log) end(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !e.idle {
		l.busy--
		l.last = now
	}
	e.Ms = float64(now.Sub(e.Time).Microseconds()) / 1000
	l.write(*e)
}

// opened writes a line for a watch that has begun.
func (l *Log) opened(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := *e
	line.Phase = "open"
	l.write(line)
}

func (l *Log) write(e Entry) {
	e.Seq = int64(len(l.lines)) + 1
	line, err := json.Marshal(&e)
	if err != nil {
		panic(err)
	}
	line = append(line, '\n')
	l.lines = append(l.lines, line)
	if l.out != nil {
		// The log is the tests' witness: one that cannot be kept must not look like one with nothing in it.
		if _, err := l.out.Write(line); err != nil {
			panic(err)
		}
	}
}

// since returns the lines after that of the number.
func (l *Log) since(seq int64) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < 0 || seq >= int64(len(l.lines)) {
		return nil
	}
	return l.lines[seq:]
}

// quietFor tells for how long nothing has been under way.
func (l *Log) quietFor() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy > 0 {
		return 0
	}
	return time.Since(l.last)
}

var (
	leasePath = regexp.MustCompile(`^/apis/coordination\.k8s\.io/`)
	uuid      = regexp.MustCompile(`\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b`)
	longHex   = regexp.MustCompile(`(^|[^0-9a-zA-Z])[0-9a-f]{12,}($|[^0-9a-zA-Z])`)
)

// mask hides what differs from run to run, so that the same request can be found again in another.
func mask(text string) string {
	text = uuid.ReplaceAllString(text, "{uuid}")
	return longHex.ReplaceAllString(text, "${1}{hex}${2}")
}
