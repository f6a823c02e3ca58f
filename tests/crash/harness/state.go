package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// A baseline is what was there before a tenant: everything beyond it is the tenant's, or debris.
type baseline struct {
	objects         map[string]bool
	databases, role map[string]string // as they were
	store           *holding
	rows            map[string]bool // where, and row
}

// A seen is the whole world at one moment.
type seen struct {
	objects map[string]*object
	catalog *catalog
	store   *holding
}

// look takes in everything. What is being deleted counts as gone already, with what is in it: the last steps of that are up to Kubernetes, which gives
// a namespace five seconds. That it really goes is looked at once, at the end.
// Databases that have been there before are looked into as well: tenants register in one, and may share another.
func (w *world) look(b *baseline) (*seen, error) {
	now := &seen{}
	var group sync.WaitGroup
	var first, second, third error
	var before map[string]bool
	var held *holding
	if b != nil {
		before, held = b.objects, b.store
	}
	group.Go(func() { now.objects, first = w.objects(w.resources, before) })
	group.Go(func() { now.catalog, second = w.catalogNow() })
	group.Go(func() { now.store, third = w.store.holding(held) })
	group.Wait()
	dying := map[string]bool{}
	for _, o := range now.objects {
		if o.resource == "namespaces" && o.dying() {
			dying[o.text("name")] = true
		}
	}
	maps.DeleteFunc(now.objects, func(_ string, o *object) bool {
		return o.dying() && o.group != ownGroup || dying[o.text("namespace")]
	})
	return now, errors.Join(first, second, third)
}

func newBaseline(now *seen) *baseline {
	b := &baseline{map[string]bool{}, map[string]string{}, map[string]string{}, now.store, map[string]bool{}}
	for key := range now.objects {
		b.objects[key] = true
	}
	for name, fields := range now.catalog.Databases {
		b.databases[name] = text(fields)
	}
	for name, fields := range now.catalog.Roles {
		b.role[name] = text(fields)
	}
	for _, row := range now.catalog.Memberships {
		b.rows[rowKey("", "memberships", row)] = true
	}
	for _, row := range now.catalog.Settings {
		b.rows[rowKey("", "settings", row)] = true
	}
	for database, kinds := range now.catalog.Inside {
		for kind, rows := range kinds {
			for _, row := range rows {
				b.rows[rowKey(database, kind, row)] = true
			}
		}
	}
	return b
}

func text(fields map[string]any) string {
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func rowKey(database, table string, row map[string]any) string {
	return database + "\x00" + table + "\x00" + text(row)
}

// A state is what a tenant has, as paths with values, with names and identities put in general terms: comparable from tenant to tenant.
type state map[string]string

// A tenant is one that the harness made.
type tenant struct {
	name     string
	uid, id  string // of the object, of the registry
	baseline *baseline
}

// general replaces what is this tenant's by placeholders, and hides what differs from run to run.
func (t *tenant) general(text string) string {
	pairs := []string{}
	for _, pair := range [][2]string{{t.uid, "{UID}"}, {t.id, "{ID}"}, {t.name, "{T}"}, {strings.ReplaceAll(t.name, "-", "_"), "{t}"}} {
		if pair[0] != "" {
			pairs = append(pairs, pair[0], pair[1])
		}
	}
	text = strings.NewReplacer(pairs...).Replace(text)
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.with)
	}
	return text
}

// opaque values say nothing about the order of rows.
var opaque = regexp.MustCompile(`[0-9a-f]{16,}|[A-Za-z0-9+/]{32,}=*`)

var masks = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "{uuid}"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?`), "{time}"},
	{regexp.MustCompile(`\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}`), "{bcrypt}"},
	// Text of a JSON object that is a value itself; of others, measured() takes care.
	{regexp.MustCompile(`("storage_mb":\{[^{}]*"used":)\d+`), "${1}0"},
}

// stateOf picks the tenant's part out of the world.
func (t *tenant) stateOf(now *seen) state {
	s := state{}
	for key, o := range now.objects {
		// Objects of our own kinds count always: a tenant may leave its mark on one that others share.
		if !t.baseline.objects[key] || o.group == ownGroup {
			t.flatten(s, "kube "+t.general(key), o.plain())
		}
	}
	for name, fields := range now.store.buckets {
		if t.baseline.store.buckets[name] == nil {
			t.flatten(s, "bucket "+t.general(name), fields)
		}
	}
	for name, fields := range now.store.users {
		if t.baseline.store.users[name] == nil {
			t.flatten(s, "user "+t.general(name), fields)
		}
	}
	c := now.catalog
	for name, fields := range c.Databases {
		// As of roles: what others share counts once it has changed.
		if t.baseline.databases[name] != text(fields) {
			t.flatten(s, "database "+t.general(name), fields)
		}
	}
	for name, fields := range c.Roles {
		if t.baseline.role[name] != text(fields) {
			t.flatten(s, "role "+t.general(name), fields)
		}
	}
	t.list(s, "membership", c.Memberships, func(row map[string]any) bool { return !t.baseline.rows[rowKey("", "memberships", row)] })
	t.list(s, "setting", c.Settings, func(row map[string]any) bool { return !t.baseline.rows[rowKey("", "settings", row)] })
	for database, kinds := range c.Inside {
		for kind, rows := range kinds {
			t.list(s, "in "+t.general(database)+" "+t.general(kind), rows, func(row map[string]any) bool {
				return !t.baseline.rows[rowKey(database, kind, row)]
			})
		}
	}
	return s
}

// list puts those rows that keep() wants into the state, in an order that does not depend on names or time.
func (t *tenant) list(s state, path string, rows []map[string]any, keep func(map[string]any) bool) {
	var texts []string
	for _, row := range rows {
		if !keep(row) {
			continue
		}
		// Before they are sorted.
		text, err := json.Marshal(measured(row))
		if err != nil {
			panic(err)
		}
		texts = append(texts, t.general(string(text)))
	}
	slices.SortFunc(texts, func(a, b string) int {
		return cmp.Or(strings.Compare(opaque.ReplaceAllString(a, ""), opaque.ReplaceAllString(b, "")), strings.Compare(a, b))
	})
	for i, text := range texts {
		var row map[string]any
		if err := json.Unmarshal([]byte(text), &row); err != nil {
			panic(err)
		}
		place := fmt.Sprint(i)
		// Rows may share a name; catalog entries do not.
		if name, ok := row["name"].(string); ok && !strings.Contains(path, " rows ") {
			place = name
		}
		t.flatten(s, path+" "+place, row)
	}
}

// measured hides how much storage is used. It is measured at drift checks, and how many of these there were depends on the machine.
// It hides how often too something was tried: what a crash cut off is tried again, and counted; and how long a dump is, which is compressed, and
// holds identifiers and hashes that are others each time.
func measured(fields map[string]any) map[string]any {
	for column, word := range map[string]string{"attempts": "counted", "size_bytes": "measured"} {
		if _, has := fields[column].(float64); has {
			fields = maps.Clone(fields)
			fields[column] = word
		}
	}
	for _, each := range [][2]string{{"resource", "used"}, {"resource_type", "current_usage"}} {
		if _, has := fields[each[1]]; has && fields[each[0]] == "storage_mb" {
			fields = maps.Clone(fields)
			fields[each[1]] = "measured"
		}
	}
	return fields
}

// flatten puts a value into the state, leaf by leaf.
func (t *tenant) flatten(s state, path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		s[path] = "{}"
		for name, each := range measured(v) {
			t.flatten(s, path+"/"+t.general(name), each)
		}
	case []any:
		s[path] = "[]"
		for i, each := range ordered(v) {
			t.flatten(s, fmt.Sprintf("%s[%d]", path, i), each)
		}
	case string:
		s[path] = t.general(v)
	default:
		s[path] = fmt.Sprint(v)
	}
}

// ordered sorts a list of conditions and the like, which is a map by type or name.
func ordered(list []any) []any {
	key := func(value any) string {
		fields, _ := value.(map[string]any)
		for _, name := range []string{"type", "name", "Key"} {
			if text, ok := fields[name].(string); ok {
				return text
			}
		}
		return ""
	}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b any) int { return strings.Compare(key(a), key(b)) })
	return sorted
}

// A reference is what undisturbed runs came to. Where they differ among themselves, a value is volatile and only has to be there; a path that only some have may be there.
type reference struct {
	values             state
	volatile, optional map[string]bool
}

func newReference(states []state) *reference {
	r := &reference{state{}, map[string]bool{}, map[string]bool{}}
	for _, s := range states {
		for path, value := range s {
			if known, ok := r.values[path]; ok && known != value {
				r.volatile[path] = true
			}
			r.values[path] = value
		}
	}
	for path := range r.values {
		for _, s := range states {
			if _, ok := s[path]; !ok {
				r.optional[path] = true
			}
		}
	}
	return r
}

// String tells how much is compared, and how much of it but loosely.
func (r *reference) String() string {
	return fmt.Sprintf("%d values to be found again, %d of them with any content, %d of them if at all", len(r.values), len(r.volatile), len(r.optional))
}

// sameMeasure: sizes of databases and the like are large, and never twice quite the same.
func sameMeasure(a, b string) bool {
	x, first := strconv.ParseFloat(a, 64)
	y, second := strconv.ParseFloat(b, 64)
	return first == nil && second == nil && min(x, y) >= 1e6 && max(x, y) <= min(x, y)*1.05
}

// differences lists what a state lacks, has too much, or has otherwise.
func (r *reference) differences(s state) []string {
	var list []string
	for path, wanted := range r.values {
		got, ok := s[path]
		switch {
		case !ok && !r.optional[path]:
			list = append(list, fmt.Sprintf("missing: %s = %s", path, wanted))
		case ok && got != wanted && !r.volatile[path] && !sameMeasure(got, wanted):
			list = append(list, fmt.Sprintf("differs: %s\n          is     %s\n          wanted %s", path, got, wanted))
		}
	}
	for path, got := range s {
		if _, ok := r.values[path]; !ok {
			list = append(list, fmt.Sprintf("stray:   %s = %s", path, got))
		}
	}
	sort.Strings(list)
	return list
}
