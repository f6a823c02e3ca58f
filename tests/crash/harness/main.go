// The crash harness kills the controller before and after each write that it makes, one run at a time, and compares what comes of it with
// what comes of undisturbed runs. README.md one folder above.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

const (
	undisturbed   = " undisturbed"
	referenceRuns = 2
	smokePoints   = 14
	mostTries     = 3
	mostLines     = 40
)

// A lesson is what the reference runs of one stage taught.
type lesson struct {
	reference *reference
	creations []map[string]int
	changed   []map[string]bool
}

type harness struct {
	w       *world
	courses []*course
	lessons map[string]*lesson // by course and stage
	left    *seen              // what the last tenant left, where that is nothing of its own
	points  map[string][]point // still to be tried, by stage
	serial  int

	passed, failed int
	tally          map[string]*tally // by stage
	verbose        bool
	sides          []string
	traced         time.Time
	missed         []string
}

// A tally counts the points of a stage.
type tally struct{ passed, failed, missed int }

func (h *harness) count(stage string) *tally {
	if h.tally[stage] == nil {
		h.tally[stage] = &tally{}
	}
	return h.tally[stage]
}

// trace says what has happened, and how long it took.
func (h *harness) trace(lines ...string) {
	if h.verbose {
		fmt.Printf("     %6.2f s %s\n", time.Since(h.traced).Seconds(), strings.Join(lines, "\n              "))
		h.traced = time.Now()
	}
}

func key(c *course, s *stage) string { return c.name + " " + s.name }

func main() {
	run := flag.String("run", "", "run folder with the servers and the proxy")
	binary := flag.String("controller", "", "the controller's program")
	smoke := flag.Bool("smoke", false, "a spread sample of the points instead of all")
	sample := flag.Int("sample", 0, "so many points of each stage, spread, instead of all")
	only := flag.String("only", "", "pattern: only points whose line, as printed, matches")
	which := flag.String("course", "", "pattern: only courses whose name matches")
	list := flag.Bool("list", false, "record the undisturbed runs, print the points, and stop")
	losing := flag.Bool("lose", false, "do not kill, but lose the answer to each write")
	verbose := flag.Bool("verbose", false, "say what takes how long, and what is not yet as it should be")
	flag.Parse()
	sides := []string{before, after}
	if *losing {
		sides = []string{lost}
	}
	failed, err := start(*run, *binary, *only, *which, *sample, *smoke, *list, *verbose, sides)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests/crash:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

func start(run, binary, only, which string, sample int, smoke, list, verbose bool, sides []string) (bool, error) {
	filter, err := regexp.Compile(only)
	if err != nil {
		return false, err
	}
	wanted, err := regexp.Compile(which)
	if err != nil {
		return false, err
	}
	w, err := newWorld(run, binary)
	if err != nil {
		return false, err
	}
	lives := slices.DeleteFunc(courses(), func(c *course) bool { return !wanted.MatchString(c.name) })
	for _, c := range lives {
		if !smoke {
			c.stages = append(c.stages, c.rest...)
		}
	}
	lives = slices.DeleteFunc(lives, func(c *course) bool { return len(c.stages) == 0 })
	h := &harness{w: w, courses: lives, lessons: map[string]*lesson{}, tally: map[string]*tally{}, points: map[string][]point{}, verbose: verbose, sides: sides, traced: time.Now()}
	if err := h.learn(); err != nil {
		return false, fmt.Errorf("undisturbed run: %w", err)
	}
	h.choose(smoke, sample, filter)
	if list {
		h.print()
		return false, w.stop()
	}
	for h.remaining() > 0 {
		if err := h.course(); err != nil {
			return false, err
		}
	}
	if err := errors.Join(w.stop(), w.nothingDies()); err != nil {
		h.fail("the end", []string{err.Error()})
	}
	for _, line := range h.missed {
		fmt.Println("not reached:", line)
	}
	for _, name := range h.stageNames() {
		c := h.count(name)
		fmt.Printf("%-20s %4d passed %4d failed %4d not reached\n", name, c.passed, c.failed, c.missed)
	}
	fmt.Printf("%d passed, %d failed\n", h.passed, h.failed)
	return h.failed > 0 || h.passed == 0, nil
}

func (h *harness) ensureRunning() error {
	if h.w.alive() {
		return nil
	}
	return h.w.start()
}

func (h *harness) newTenant() (*tenant, error) {
	now := h.left
	if h.left = nil; now == nil {
		var err error
		if now, err = h.w.look(nil); err != nil {
			return nil, err
		}
	}
	h.serial++
	// All of one length, and with the character that PostgreSQL's names have to do without.
	return &tenant{name: fmt.Sprintf("crash-%04d", h.serial), baseline: newBaseline(now)}, nil
}

// learn takes a few tenants through their lives without disturbance.
func (h *harness) learn() error {
	type record struct {
		states []state
		lesson lesson
	}
	records := map[string]*record{}
	runs := map[string][][]entry{}
	tenantsOf := map[string][]*tenant{}
	for range referenceRuns {
		for _, c := range h.courses {
			// What a start brings about is no part of a stage: the registry's tables, say.
			if err := h.ensureRunning(); err != nil {
				return err
			}
			if err := errors.Join(h.settle(), h.w.calmDown()); err != nil {
				return err
			}
			t, err := h.newTenant()
			if err != nil {
				return err
			}
			for _, s := range c.stages {
				o, err := h.undisturbed(s, t)
				if err != nil {
					return fmt.Errorf("%s of %s: %w", s.name, t.name, err)
				}
				r := records[key(c, s)]
				if r == nil {
					r = &record{}
					records[key(c, s)] = r
				}
				r.states = append(r.states, o.state)
				r.lesson.creations = append(r.lesson.creations, t.creations(o.entries))
				r.lesson.changed = append(r.lesson.changed, o.changed)
				runs[s.name] = append(runs[s.name], o.entries)
				tenantsOf[s.name] = append(tenantsOf[s.name], t)
				fmt.Printf("undisturbed %s: %d writes, %.1f s\n", s.name, len(writes(o.entries)), o.duration.Seconds())
			}
			if err := h.clean(t); err != nil {
				return err
			}
		}
	}
	for name, r := range records {
		r.lesson.reference = newReference(r.states)
		h.lessons[name] = &r.lesson
		fmt.Printf("%s: %s\n", name, r.lesson.reference)
	}
	for name, entries := range runs {
		h.points[name] = pointsOf(entries, tenantsOf[name], h.sides)
	}
	return nil
}

// undisturbed runs a stage and waits until everything has come to rest.
func (h *harness) undisturbed(s *stage, t *tenant) (*outcome, error) {
	before, mark, err := h.begin(t)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.act(h.w, t); err != nil {
		return nil, err
	}
	if err := h.w.wait(s, t); err != nil {
		return nil, err
	}
	took := time.Since(began)
	if err := errors.Join(h.w.rest(mark), h.w.calmDown()); err != nil {
		return nil, err
	}
	now, err := h.w.look(t.baseline)
	if err != nil {
		return nil, err
	}
	if problems := h.w.credentials(now, t); len(problems) > 0 && !s.last {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	entries, err := h.w.log(mark)
	if err != nil {
		return nil, err
	}
	return &outcome{t.stateOf(now), entries, before.changes(secretsIn(now.objects, t)), took}, nil
}

// begin notes how things stand before a stage.
func (h *harness) begin(t *tenant) (secretsView, int64, error) {
	before, err := h.w.secretsNow(t)
	if err != nil {
		return nil, 0, err
	}
	mark, err := h.w.mark()
	return before, mark, err
}

// settle waits until what a start brings about is done.
func (h *harness) settle() error {
	mark, err := h.w.mark()
	if err != nil {
		return err
	}
	return h.w.rest(mark)
}

// choose drops the points that are not wanted.
func (h *harness) choose(smoke bool, sample int, filter *regexp.Regexp) {
	stages := h.stageNames()
	all := 0
	for _, name := range stages {
		h.points[name] = slices.DeleteFunc(h.points[name], func(p point) bool { return !filter.MatchString(name + " " + p.String()) })
		all += len(h.points[name])
	}
	fmt.Printf("%d points in %d stages\n", all, len(stages))
	if sample > 0 {
		for _, name := range stages {
			h.points[name] = spread(h.points[name], sample, len(h.sides))
		}
		fmt.Printf("sample: %d of them\n", h.remaining())
	}
	if smoke {
		for _, name := range stages {
			sure := slices.DeleteFunc(h.points[name], func(p point) bool { return !p.sure })
			h.points[name] = spread(sure, max(smokePoints*len(sure)/max(all, 1), h.sharers(name)[0].sample), len(h.sides))
		}
		fmt.Printf("smoke: %d of them\n", h.remaining())
	}
}

func (h *harness) stageNames() []string {
	var list []string
	for _, c := range h.courses {
		for _, s := range c.stages {
			if !slices.Contains(list, s.name) {
				list = append(list, s.name)
			}
		}
	}
	return list
}

func (h *harness) print() {
	for _, name := range h.stageNames() {
		for _, p := range h.points[name] {
			fmt.Printf("%s %3d %s\n", name, p.order, p.short())
		}
	}
}

func (h *harness) remaining() int {
	n := 0
	for _, points := range h.points {
		n += len(points)
	}
	return n
}

// next is the course that has most to do at one of its stages. What several courses have spreads over them.
func (h *harness) next() *course {
	most := func(c *course) int {
		n := 0
		for _, s := range c.stages {
			sharers := len(h.sharers(s.name))
			n = max(n, (len(h.points[s.name])+sharers-1)/sharers)
		}
		return n
	}
	return slices.MaxFunc(h.courses, func(a, b *course) int { return most(a) - most(b) })
}

// sharers are the courses that have the stage.
func (h *harness) sharers(name string) []*course {
	return slices.DeleteFunc(slices.Clone(h.courses), func(c *course) bool {
		return !slices.ContainsFunc(c.stages, func(s *stage) bool { return s.name == name })
	})
}

// course takes one tenant through its life, killing the controller once at each stage that has points left.
func (h *harness) course() error {
	c := h.next()
	t, err := h.newTenant()
	if err != nil {
		return err
	}
	for i, s := range c.stages {
		var p *point
		if points := h.points[s.name]; len(points) > 0 {
			p = &points[0]
			h.points[s.name] = points[1:]
		}
		if p == nil && !h.needs(c, i) {
			break
		}
		fine, err := h.stage(c, s, t, p)
		if err != nil {
			return err
		}
		if !fine {
			break
		}
	}
	return h.clean(t)
}

// needs tells whether a stage of the course has points left, from that one on.
func (h *harness) needs(c *course, from int) bool {
	return slices.ContainsFunc(c.stages[from:], func(s *stage) bool { return len(h.points[s.name]) > 0 })
}

// stage runs one stage, with the controller killed at p if there is one, and judges what came of it.
func (h *harness) stage(c *course, s *stage, t *tenant, p *point) (bool, error) {
	if err := h.ensureRunning(); err != nil {
		return false, err
	}
	before, mark, err := h.begin(t)
	if err != nil {
		return false, err
	}
	began := time.Now()
	h.trace("prepared")
	label := s.name + undisturbed
	var problems []string
	if p == nil {
		err = h.act(s, t)
	} else {
		label = fmt.Sprintf("%s %3d %s", s.name, p.order, p.short())
		var reached bool
		before, reached, err = h.crash(s, t, p, before, mark)
		if err == nil && !reached {
			p.tries++
			if p.tries < mostTries {
				h.points[s.name] = append(h.points[s.name], *p)
			} else if p.sure {
				h.count(s.name).failed++
				h.fail(label, []string{fmt.Sprintf("every undisturbed run made this write, and none of %d runs came by it", mostTries)})
			} else {
				h.count(s.name).missed++
				h.missed = append(h.missed, label)
			}
			p = nil
		}
	}
	switch {
	case err != nil:
		problems = []string{err.Error()}
	case label == s.name+undisturbed:
		err = h.w.calmDown()
	default:
		problems, err = h.judge(c, s, t, before, mark)
		if err != nil {
			return false, err
		}
	}
	if len(problems) > 0 {
		h.count(s.name).failed++
		h.fail(label, problems)
		return false, nil
	}
	if p != nil {
		h.passed++
		h.count(s.name).passed++
		fmt.Printf("ok   %s (%.1f s)\n", label, time.Since(began).Seconds())
	}
	return true, nil
}

func (h *harness) fail(label string, problems []string) {
	h.failed++
	fmt.Printf("FAIL %s\n", label)
	for i, line := range problems {
		if i == mostLines {
			fmt.Printf("     ... and %d more\n", len(problems)-i)
			break
		}
		fmt.Printf("     %s\n", line)
	}
}

// act runs a stage undisturbed.
func (h *harness) act(s *stage, t *tenant) error {
	if err := s.act(h.w, t); err != nil {
		return err
	}
	return h.w.wait(s, t)
}

// crash runs a stage with the fault at the point. After a kill it starts the controller again. It returns what Secrets held in
// between, and whether the point was reached at all.
func (h *harness) crash(s *stage, t *tenant, p *point, before secretsView, mark int64) (secretsView, bool, error) {
	id, err := h.w.addRule(*p, t.concrete(p.text))
	if err != nil {
		return before, false, err
	}
	if err := h.act(s, t); err == nil {
		if err := h.w.rest(mark); err != nil {
			return before, false, err
		}
	} else if !errors.Is(err, errEnded) {
		return before, false, err
	}
	fired, err := h.w.fired(id)
	if err != nil {
		return before, false, err
	}
	if err := h.w.removeRules(); err != nil || !fired {
		return before, false, err
	}
	between, err := h.w.secretsNow(t)
	if err != nil || p.when == lost {
		return between, true, err
	}
	if err := h.w.died(); err != nil {
		return between, true, err
	}
	h.trace("killed")
	if err := h.w.start(); err != nil {
		return between, true, err
	}
	h.trace("started again")
	return between, true, h.w.wait(s, t)
}

// judge compares the end with the undisturbed one. The last word has the state that no longer moves.
func (h *harness) judge(c *course, s *stage, t *tenant, before secretsView, mark int64) ([]string, error) {
	l := h.lessons[key(c, s)]
	var problems []string
	// After the last stage nothing is left that would look again; elsewhere what is told a moment later is waited for only if it is missed.
	late := s == c.stages[len(c.stages)-1]
	for deadline := time.Now().Add(settleTimeout); ; late = true {
		h.trace("done")
		if late {
			if err := h.w.rest(mark); err != nil {
				return []string{err.Error()}, nil
			}
		}
		if err := h.w.calmDown(); err != nil {
			return []string{err.Error()}, nil
		}
		h.trace("calm")
		now, err := h.w.look(t.baseline)
		if err != nil {
			return nil, err
		}
		problems = l.reference.differences(t.stateOf(now))
		h.trace(append([]string{"compared"}, problems...)...)
		if len(problems) == 0 || time.Now().After(deadline) {
			if !s.last {
				problems = append(problems, h.w.credentials(now, t)...)
			}
			problems = append(problems, regenerated(before, secretsIn(now.objects, t), l.changed)...)
			break
		}
	}
	if !h.w.alive() {
		problems = append(problems, fmt.Sprintf("the controller ended by itself: %s", h.w.controller.command.ProcessState))
	}
	entries, err := h.w.log(mark)
	if err != nil {
		return nil, err
	}
	made := madeTwice(t.creations(entries), l.creations)
	sort.Strings(made)
	return append(problems, made...), nil
}

// clean takes away by force whatever a tenant left, so that the next finds the same world.
func (h *harness) clean(t *tenant) error {
	now, err := h.w.look(t.baseline)
	if err != nil {
		return err
	}
	if len(t.stateOfOwn(now)) == 0 {
		h.left = now
		return nil
	}
	// A tenant that failed must not be mended while it is taken apart.
	if h.w.alive() {
		_ = h.w.controller.command.Process.Kill()
		<-h.w.controller.exited
		if now, err = h.w.look(t.baseline); err != nil {
			return err
		}
	}
	return h.w.takeApart(now, t)
}
