package main

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A conn is a client's TCP connection, with the faults that need one: reset, black hole, throttle.
type conn struct {
	net.Conn
	id     int64
	kind   string
	opened time.Time
	in     atomic.Int64
	out    atomic.Int64

	// In a black hole whatever is written is dropped, and what comes is read and thrown away: the client sees an open connection, silent for ever.
	hole  atomic.Bool
	table *conns
}

// conns are those that are open, and those in a black hole that our side has given up.
type conns struct {
	mu   sync.Mutex
	next int64
	open map[*conn]bool
}

func newConns() *conns {
	return &conns{open: map[*conn]bool{}}
}

func (t *conns) add(raw net.Conn, kind string) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	c := &conn{Conn: raw, id: t.next, kind: kind, opened: time.Now().UTC(), table: t}
	t.open[c] = true
	return c
}

// each calls do for every connection of the kind, or of any if kind is empty, and returns how many there were.
func (t *conns) each(kind string, do func(*conn)) int {
	t.mu.Lock()
	var list []*conn
	for c := range t.open {
		if kind == "" || c.kind == kind {
			list = append(list, c)
		}
	}
	t.mu.Unlock()
	for _, c := range list {
		do(c)
	}
	return len(list)
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err == nil && c.hole.Load() {
			continue
		}
		c.in.Add(int64(n))
		return n, err
	}
}

func (c *conn) Write(p []byte) (int, error) {
	if c.hole.Load() {
		return len(p), nil
	}
	n, err := c.Conn.Write(p)
	c.out.Add(int64(n))
	return n, err
}

// Close leaves a connection in a black hole open: the client must not be told. A goroutine holds on until the client gives up or the rule is removed.
func (c *conn) Close() error {
	if c.hole.Load() {
		go c.swallow()
		return nil
	}
	return c.closeNow()
}

func (c *conn) closeNow() error {
	c.table.mu.Lock()
	delete(c.table.open, c)
	c.table.mu.Unlock()
	return c.Conn.Close()
}

func (c *conn) swallow() {
	defer c.closeNow()
	_ = c.SetDeadline(time.Time{})
	buffer := make([]byte, 4096)
	for {
		if _, err := c.Conn.Read(buffer); err != nil {
			return
		}
	}
}

// reset ends the connection by RST.
func (c *conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.closeNow()
}

// blackhole starts the silence. It lasts as long as the rule; a connection that has lost bytes can then only be reset.
func (c *conn) blackhole(rule *Rule) {
	if c.hole.CompareAndSwap(false, true) {
		go func() {
			<-rule.gone
			c.reset()
		}()
	}
}

// A listener hands out conns.
type listener struct {
	net.Listener
	kind  string
	conns *conns
}

func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.conns.add(raw, l.kind), nil
}
