package main

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
)

// A Match says which requests a rule is about. Every pattern that is given has to match (unanchored, RE2); what is absent matches all.
type Match struct {
	Kind     string `json:"kind,omitempty"`   // kube, sql, s3 or iam
	Method   string `json:"method,omitempty"` // GET, PATCH, ...; a statement's first word; CONNECT for a login
	Path     string `json:"path,omitempty"`   // of the URL; a database's name
	Query    string `json:"query,omitempty"`  // of the URL, as sent
	What     string `json:"what,omitempty"`   // the request in one line, as in the log
	Text     string `json:"text,omitempty"`   // that line, compared as a whole and not as a pattern
	Write    *bool  `json:"write,omitempty"`  // does it change anything?
	Watch    *bool  `json:"watch,omitempty"`  // is it a watch?
	Nth      int    `json:"nth,omitempty"`    // the first match that counts (1)
	Count    int    `json:"count,omitempty"`  // for how many matches (1); -1 is for ever
	Open     bool   `json:"open,omitempty"`   // strike watches and SQL sessions that are open already, too
	patterns []pattern
}

type pattern struct {
	expression *regexp.Regexp
	of         func(*Request) string
}

// An Action is what happens to a request. README.md has the list; what a field means depends on Type.
type Action struct {
	Type       string `json:"type"`
	When       string `json:"when,omitempty"`        // before (the default): upstream sees nothing of it; or after: it was done and answered
	Scope      string `json:"scope,omitempty"`       // connection (the default) or stream
	How        string `json:"how,omitempty"`         // of cut and lose: reset (the default), close, stream, end, hang
	Ms         int    `json:"ms,omitempty"`          // of delay, delay-events, coalesce
	Bytes      int    `json:"bytes,omitempty"`       // of cut (after how many), rechunk (pieces of how many)
	Events     int    `json:"events,omitempty"`      // of watch-error: after how many; of drop-events: how many, 0 is all
	Rate       int    `json:"rate,omitempty"`        // of throttle: bytes a second
	Code       int    `json:"code,omitempty"`        // of status and watch-error
	RetryAfter int    `json:"retry_after,omitempty"` // of status: seconds
	Reason     string `json:"reason,omitempty"`      // of status and watch-error; by default what Kubernetes says for the code
	Message    string `json:"message,omitempty"`
	SQLState   string `json:"sqlstate,omitempty"` // of error
	Object     string `json:"object,omitempty"`   // of drop-events and delay-events: pattern of namespace/name or name
	Types      string `json:"types,omitempty"`    // of the same: pattern of ADDED, MODIFIED, DELETED
	View       string `json:"view,omitempty"`     // of frozen: a file with the list to serve
	Pid        int    `json:"pid,omitempty"`      // of kill
	Signal     string `json:"signal,omitempty"`   // of kill: KILL (the default), STOP, TERM
}

// A Rule joins both, and counts.
type Rule struct {
	ID     int    `json:"id"`
	Name   string `json:"name,omitempty"`
	Match  Match  `json:"match"`
	Action Action `json:"action"`
	Seen   int    `json:"seen"`
	Fired  int    `json:"fired"`

	process *process      // of kill
	object  eventFilter   // of drop-events and delay-events
	view    *view         // of frozen
	taken   int           // events taken out of watches
	gone    chan struct{} // closed when the rule is removed: whoever it holds up goes on
}

// Rules is the table in force.
type Rules struct {
	mu     sync.Mutex
	next   int
	rules  []*Rule
	fired  chan struct{} // closed and made anew whenever a rule fires
	strike []func(*Rule) // told of a new rule that is for what is open already
}

func newRules() *Rules {
	return &Rules{next: 1, fired: make(chan struct{})}
}

func (m *Match) compile() error {
	for _, each := range []struct {
		text string
		of   func(*Request) string
	}{
		{m.Kind, func(r *Request) string { return r.Kind }},
		{m.Method, func(r *Request) string { return r.Method }},
		{m.Path, func(r *Request) string { return r.Path }},
		{m.Query, func(r *Request) string { return r.Query }},
		{m.What, func(r *Request) string { return r.What }},
	} {
		if each.text == "" {
			continue
		}
		expression, err := regexp.Compile(each.text)
		if err != nil {
			return err
		}
		m.patterns = append(m.patterns, pattern{expression, each.of})
	}
	if m.Nth < 1 {
		m.Nth = 1
	}
	if m.Count == 0 {
		m.Count = 1
	}
	return nil
}

func (m *Match) matches(r *Request) bool {
	if m.Text != "" && m.Text != r.What {
		return false
	}
	if m.Write != nil && *m.Write != r.Write || m.Watch != nil && *m.Watch != r.Watch {
		return false
	}
	for _, p := range m.patterns {
		if !p.expression.MatchString(p.of(r)) {
			return false
		}
	}
	return true
}

// add takes a rule in and returns it with its number.
func (rs *Rules) add(rule *Rule) error {
	if err := rule.Match.compile(); err != nil {
		return err
	}
	if err := rule.prepare(); err != nil {
		return err
	}
	rule.gone = make(chan struct{})
	rs.mu.Lock()
	rule.ID = rs.next
	rs.next++
	rs.rules = append(rs.rules, rule)
	rs.mu.Unlock()
	if rule.Match.Open {
		for _, strike := range rs.strike {
			strike(rule)
		}
	}
	return nil
}

// prepare checks the action and makes what it needs.
func (r *Rule) prepare() error {
	var err error
	a := &r.Action
	if a.When != "" && a.When != "before" && a.When != "after" {
		return fmt.Errorf("when is before or after, not %q", a.When)
	}
	switch a.Type {
	case "delay", "blackhole", "reset", "lose", "cut", "rechunk", "coalesce", "throttle", "goaway":
	case "status":
		if a.Code < 400 || a.Code > 599 {
			return fmt.Errorf("status needs a code from 400 to 599")
		}
	case "watch-error":
		if a.Code == 0 {
			a.Code = 410
		}
	case "error":
		if len(a.SQLState) != 5 {
			return fmt.Errorf("error needs an sqlstate of five characters")
		}
	case "drop-events", "delay-events":
		r.object, err = newEventFilter(a)
	case "frozen":
		r.view, err = newView(a.View)
	case "kill":
		r.process, err = findProcess(a.Pid, a.Signal)
	default:
		return fmt.Errorf("unknown action %q", a.Type)
	}
	return err
}

// take returns the rules that strike this request, and counts them.
func (rs *Rules) take(r *Request) []*Rule {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var hit []*Rule
	for _, rule := range rs.rules {
		if !rule.Match.matches(r) {
			continue
		}
		rule.Seen++
		if rule.Seen < rule.Match.Nth || rule.Match.Count > 0 && rule.Fired >= rule.Match.Count {
			continue
		}
		rs.fire(rule)
		hit = append(hit, rule)
	}
	return hit
}

// fire counts a stroke; the lock is held.
func (rs *Rules) fire(rule *Rule) {
	rule.Fired++
	close(rs.fired)
	rs.fired = make(chan struct{})
}

// takeOpen is take for one rule and a stream that is open already.
func (rs *Rules) takeOpen(rule *Rule, r *Request) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if !rule.Match.matches(r) {
		return false
	}
	rule.Seen++
	rs.fire(rule)
	return true
}

// get returns a copy of the rule, and a channel that closes when any rule fires next.
func (rs *Rules) get(id int) (Rule, <-chan struct{}, bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, rule := range rs.rules {
		if rule.ID == id {
			return *rule, rs.fired, true
		}
	}
	return Rule{}, nil, false
}

func (rs *Rules) list() []Rule {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	list := make([]Rule, 0, len(rs.rules))
	for _, rule := range rs.rules {
		list = append(list, *rule)
	}
	return list
}

// remove drops the rule of this number, or all if it is 0, and lets go whoever they hold up.
func (rs *Rules) remove(id int) int {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	before := len(rs.rules)
	rs.rules = slices.DeleteFunc(rs.rules, func(rule *Rule) bool {
		if id != 0 && rule.ID != id {
			return false
		}
		close(rule.gone)
		return true
	})
	return before - len(rs.rules)
}

// pick returns the first of the rules with that action at that time.
func pick(rules []*Rule, action string, after bool) *Rule {
	for _, rule := range rules {
		if rule.Action.Type == action && (rule.Action.When == "after") == after {
			return rule
		}
	}
	return nil
}

// names of the actions that struck, for the log.
func names(rules []*Rule) []string {
	var list []string
	for _, rule := range rules {
		name := rule.Action.Type
		if rule.Action.When != "" {
			name += " " + rule.Action.When
		}
		list = append(list, name)
	}
	return list
}
