package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

const maxEventBytes = 32 << 20

// A stream is a watch under way: rules made later can still strike it.
type stream struct {
	*exchange
	inject chan *Rule
	closed chan struct{}
	events int
	held   []byte      // by coalesce
	flush  *time.Timer // when held is due
}

// An eventFilter chooses events of a watch.
type eventFilter struct {
	object, types *regexp.Regexp
}

func newEventFilter(a *Action) (eventFilter, error) {
	object, err := regexp.Compile(a.Object)
	if err != nil {
		return eventFilter{}, err
	}
	types, err := regexp.Compile(a.Types)
	return eventFilter{object, types}, err
}

// An event is as much of a line as the filters look at.
type event struct {
	Type   string
	Object struct {
		Metadata struct{ Name, Namespace string }
	}
}

func (f eventFilter) matches(e *event) bool {
	name := e.Object.Metadata.Name
	if e.Object.Metadata.Namespace != "" {
		name = e.Object.Metadata.Namespace + "/" + name
	}
	return e.Type != "BOOKMARK" && e.Type != "ERROR" && f.types.MatchString(e.Type) && f.object.MatchString(name)
}

// strike hands a rule to the watches that are open and match it.
func (k *front) strike(rule *Rule) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for s := range k.streams {
		if k.rules.takeOpen(rule, s.request) {
			select {
			case s.inject <- rule:
			case <-s.closed:
			}
		}
	}
}

func (k *front) enter(s *stream) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.streams[s] = true
}

func (k *front) leave(s *stream) {
	close(s.closed)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.streams, s)
}

// watch passes a watch on, event by event where it is JSON and as bytes otherwise, until either side or a fault ends it.
func (x *exchange) watch(body io.Reader, contentType string) {
	s := &stream{exchange: x, inject: make(chan *Rule, 16), closed: make(chan struct{}), flush: time.NewTimer(time.Hour)}
	x.enter(s)
	defer x.leave(s)
	defer s.flush.Stop()
	// The headers go out now, and not with the first event, which may be long in coming.
	_ = http.NewResponseController(x.w).Flush()
	x.log.opened(x.entry)
	if err := s.run(lines(body, strings.HasPrefix(contentType, "application/json"), s.closed)); err != nil && err != io.EOF {
		x.end(err)
	}
}

// A line is an event as it came, or the error that ended the watch.
type line struct {
	text []byte
	err  error
}

// lines reads ahead by one, so that the loop can wait for other things as well.
func lines(body io.Reader, split bool, closed <-chan struct{}) <-chan line {
	channel := make(chan line)
	go func() {
		reader := bufio.NewReaderSize(body, 64<<10)
		for {
			var l line
			if split {
				l.text, l.err = reader.ReadBytes('\n')
			} else {
				l.text = make([]byte, 32<<10)
				var n int
				n, l.err = reader.Read(l.text)
				l.text = l.text[:n]
			}
			if len(l.text) > maxEventBytes {
				l.err = bufio.ErrTooLong
			}
			select {
			case channel <- l:
			case <-closed:
				return
			}
			if l.err != nil {
				return
			}
		}
	}()
	return channel
}

func (s *stream) run(source <-chan line) error {
	late := make(chan []byte)
	if err := s.atOnce(); err != nil {
		return err
	}
	for {
		select {
		case l := <-source:
			if err := s.pass(l.text, late); err != nil {
				return err
			}
			if l.err != nil {
				if err := s.out.write(s.held); err != nil {
					return err
				}
				return l.err
			}
		case text := <-late:
			if err := s.send(text); err != nil {
				return err
			}
		case <-s.flush.C:
			if err := s.out.write(s.held); err != nil {
				return err
			}
			s.held = nil
		case rule := <-s.inject:
			s.rules = append(s.rules, rule)
			s.entry.Faults = append(s.entry.Faults, rule.Action.Type+" open")
			s.out.arm(s.rules)
			if err := s.atOnce(); err != nil {
				return err
			}
		case <-s.r.Context().Done():
			return s.r.Context().Err()
		}
	}
}

// atOnce does what a rule wants of the watch without waiting for an event.
func (s *stream) atOnce() error {
	for _, rule := range s.rules {
		switch rule.Action.Type {
		case "blackhole":
			s.swallow(rule)
		case "reset":
			s.abort(scopeOf(rule), "reset", rule)
		case "watch-error":
			if s.events >= rule.Action.Events {
				return s.fail(rule)
			}
		}
	}
	if s.out.cutLeft == 0 {
		return s.out.write(nil)
	}
	return nil
}

// fail ends the watch by an event of type ERROR.
func (s *stream) fail(rule *Rule) error {
	text, err := json.Marshal(map[string]any{"type": "ERROR", "object": statusObject(&rule.Action)})
	if err != nil {
		return err
	}
	if err := s.out.write(append(text, '\n')); err != nil {
		return err
	}
	s.entry.Result = "watch-error"
	return io.EOF
}

// pass takes one event from upstream: on to the client, later, or nowhere.
func (s *stream) pass(text []byte, late chan<- []byte) error {
	if len(text) == 0 {
		return nil
	}
	s.events++
	var e event
	parsed := false
	for _, rule := range s.rules {
		kind := rule.Action.Type
		if kind != "drop-events" && kind != "delay-events" {
			continue
		}
		if !parsed {
			parsed = true
			// What is no JSON matches nothing.
			_ = json.Unmarshal(text, &e)
		}
		if !s.wants(rule, &e) {
			continue
		}
		if kind == "delay-events" {
			go s.later(text, rule, late)
		}
		return nil
	}
	if err := s.send(text); err != nil {
		return err
	}
	return s.atOnce()
}

// wants counts the events that a rule takes out of this watch.
func (s *stream) wants(rule *Rule, e *event) bool {
	select {
	case <-rule.gone:
		return false
	default:
	}
	if !rule.object.matches(e) {
		return false
	}
	limit := rule.Action.Events
	s.front.rules.mu.Lock()
	defer s.front.rules.mu.Unlock()
	if limit > 0 && rule.taken >= limit {
		return false
	}
	rule.taken++
	return true
}

// later brings an event back after its delay, or when the rule is removed.
func (s *stream) later(text []byte, rule *Rule, late chan<- []byte) {
	select {
	case <-time.After(time.Duration(rule.Action.Ms) * time.Millisecond):
	case <-rule.gone:
	case <-s.closed:
		return
	}
	select {
	case late <- text:
	case <-s.closed:
	}
}

// send writes an event, or adds it to those that go out together.
func (s *stream) send(text []byte) error {
	rule := pick(s.rules, "coalesce", false)
	if rule == nil {
		return s.out.write(text)
	}
	if len(s.held) == 0 {
		s.flush.Reset(time.Duration(rule.Action.Ms) * time.Millisecond)
	}
	s.held = append(s.held, text...)
	return nil
}
