package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The sides of a write: the controller is killed before the server sees it, or when it has been done and the controller does not know; or it lives, and never gets the answer.
const (
	before = "before"
	after  = "after"
	lost   = "lost"
)

// A point is a place to kill the controller at: a write as the reference run knows it, and a side of it.
type point struct {
	order int    // among the stage's writes
	kind  string // kube, sql, s3 or iam
	text  string // the request in one line, in general terms
	nth   int    // of those with that text
	when  string // which side
	sure  bool   // every reference run came by it
	tries int
}

func (p point) String() string {
	again := ""
	if p.nth > 1 {
		again = fmt.Sprintf(" (%d)", p.nth)
	}
	return fmt.Sprintf("%-6s %s%s", p.when, p.text, again)
}

// short is String, cut so that a line of output stays one.
func (p point) short() string {
	const most = 140
	text := []rune(p.String())
	if len(text) > most {
		text = append(text[:most], '…')
	}
	return string(text)
}

// writes lists the writes of a run, in order of their arrival.
func writes(entries []entry) []entry {
	var list []entry
	for _, e := range entries {
		if e.Write && e.Phase == "" {
			list = append(list, e)
		}
	}
	// The log is in the order of the answers.
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && list[j].N < list[j-1].N; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	return list
}

// pointsOf makes a point for each side of each write that any of the reference runs made.
func pointsOf(runs [][]entry, tenants []*tenant, sides []string) []point {
	type key struct {
		kind, text string
		nth        int
	}
	var order []key
	count := map[key]int{}
	for i, run := range runs {
		nth := map[string]int{}
		for _, e := range writes(run) {
			text := tenants[i].general(e.What)
			nth[text]++
			k := key{e.Kind, text, nth[text]}
			if count[k] == 0 {
				order = append(order, k)
			}
			count[k]++
		}
	}
	var points []point
	for i, k := range order {
		for _, when := range sides {
			points = append(points, point{order: i + 1, kind: k.kind, text: k.text, nth: k.nth, when: when, sure: count[k] == len(runs)})
		}
	}
	return points
}

// concrete puts a tenant's names into a text in general terms, as the proxy will see it.
func (t *tenant) concrete(text string) string {
	return strings.NewReplacer("{T}", t.name, "{t}", strings.ReplaceAll(t.name, "-", "_"), "{UID}", "{uuid}", "{ID}", "{uuid}").Replace(text)
}

// spread picks n of the points, evenly, each from the middle of its share, their sides in turn.
func spread(points []point, n, sides int) []point {
	if n >= len(points) {
		return points
	}
	var list []point
	writes := len(points) / sides
	for i := range n {
		j := (2*i + 1) * writes / (2 * n)
		list = append(list, points[sides*j+(i+writes)%sides])
	}
	return list
}

var (
	createsAgain = regexp.MustCompile(`(?i)\bIF NOT EXISTS\b|\bOR REPLACE\b|\bDO UPDATE\b`)
	firstName    = regexp.MustCompile(`^[^"(]*("[^"]*"(\."[^"]*")?)?`)
	insertInto   = regexp.MustCompile(`(?i)\bINSERT INTO ([^\s(]+)`)
	// Buckets, objects, users. Not keys: one whose making was cut off nobody knows the secret of, so that it is made again.
	makes       = regexp.MustCompile(`^(PUT /[^?]*|CreateUser .*)$`)
	dropsRole   = regexp.MustCompile(`\bDROP (ROLE "[^"]*")`)
	dropsBucket = regexp.MustCompile(`^DELETE (/[^/?]*)$`)
	committed   = regexp.MustCompile(`(^|; )COMMIT$`)
)

// gone stands before the name of what was dropped.
const gone = "dropped: "

// creations counts what was made, by what it was: objects of the API, things in PostgreSQL, rows of a table, buckets, objects and users; and under gone, roles and buckets that were
// dropped. What was rolled back was not made.
func (t *tenant) creations(entries []entry) map[string]int {
	type transaction struct{ connection, number int64 }
	kept := map[transaction]bool{}
	for _, e := range entries {
		if e.Kind == "sql" && e.Transaction > 0 && committed.MatchString(e.Tag) {
			kept[transaction{e.Connection, e.Transaction}] = true
		}
	}
	made := map[string]int{}
	for _, e := range entries {
		if e.Kind == "kube" {
			if e.Write && e.Status == 201 {
				path := e.Path
				if e.Name != "" {
					path += "/" + e.Name
				}
				made[t.general(path)]++
			}
			continue
		}
		if e.Kind == "s3" || e.Kind == "iam" {
			what := t.general(e.What)
			if e.Status == 200 && makes.MatchString(what) {
				made[e.Kind+" "+what]++
			}
			if bucket := dropsBucket.FindStringSubmatch(what); bucket != nil && e.Status == 204 {
				made[gone+e.Kind+" PUT "+bucket[1]]++
			}
			continue
		}
		if e.Result == "error" || e.Tag == "" || e.Transaction > 0 && !kept[transaction{e.Connection, e.Transaction}] {
			continue
		}
		what := t.general(e.What)
		for _, dropped := range dropsRole.FindAllStringSubmatch(what, -1) {
			made[gone+t.general(e.Path)+": CREATE "+dropped[1]]++
		}
		if table := insertInto.FindStringSubmatch(what); table != nil && !createsAgain.MatchString(what) {
			made["rows of "+t.general(e.Path)+" "+table[1]] += rows(e.Tag)
		} else if e.Verb == "CREATE" && !createsAgain.MatchString(what) {
			made[firstName.FindString(what)]++
		}
	}
	return made
}

// rows is how many a command's tag counts: "INSERT 0 1" is one.
func rows(tag string) int {
	n, err := strconv.Atoi(tag[strings.LastIndexByte(tag, ' ')+1:])
	if err != nil {
		return 0
	}
	return n
}

// madeTwice lists what was made more often than in any undisturbed run.
func madeTwice(made map[string]int, references []map[string]int) []string {
	var list []string
	for what, n := range made {
		most, forOneUse := 0, false
		for _, reference := range references {
			most = max(most, reference[what])
			forOneUse = forOneUse || reference[gone+what] > 0
		}
		if forOneUse {
			// What a crash left goes, and another is made.
			n -= made[gone+what]
		}
		if strings.HasPrefix(what, gone) {
			continue
		}
		// What no undisturbed run makes at all is a matter of the end state.
		if n > max(most, 1) {
			list = append(list, fmt.Sprintf("made %d times, undisturbed %d: %s", n, most, what))
		}
	}
	return list
}
