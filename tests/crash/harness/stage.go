package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	driftPeriod     = "5s"
	convergeTimeout = 90 * time.Second
	// How long the end state may take to be the reference's once the Tenant says that it is: a few drift checks.
	settleTimeout = 25 * time.Second
	calm          = 200 * time.Millisecond
	// The controller gathers up changes of what tenants share, and writes them a moment later.
	rest       = 1300 * time.Millisecond
	migrations = "crash-migrations" // a ConfigMap that is there from the first moment on
	tenants    = "/apis/tenantry.dev/v1alpha1/tenants"
	serverPath = "/apis/tenantry.dev/v1alpha1/databaseservers/primary"
)

// A stage is something that a user does to a tenant, and what tells that it has been done.
type stage struct {
	name      string
	act       func(w *world, t *tenant) error
	converged func(w *world, t *tenant) (bool, string, error)
	last      bool // nothing has to work afterwards
}

func apply(spec string) func(*world, *tenant) error {
	return func(w *world, t *tenant) error {
		manifest := fmt.Sprintf(`{"apiVersion":"tenantry.dev/v1alpha1","kind":"Tenant","metadata":{"name":%q},"spec":%s}`, t.name, t.concrete(spec))
		_, err := w.request(http.MethodPatch, tenants+"/"+t.name+"?fieldManager=user&force=true", "application/apply-patch+yaml", manifest)
		return err
	}
}

// rotate asks for another login.
func rotate(w *world, t *tenant) error {
	_, err := w.request(http.MethodPatch, tenants+"/"+t.name, "application/merge-patch+json", `{"metadata":{"annotations":{"tenantry.dev/rotate-requested-at":"now"}}}`)
	return err
}

// isRotated: the Secret names the new login, and the one before is closed.
func isRotated(w *world, t *tenant) (bool, string, error) {
	var o struct {
		Status struct {
			LastHandledRotateAt string
			Database            struct {
				Login struct{ User, RetiringUser string }
			}
		}
	}
	if err := w.get(tenants+"/"+t.name, &o); err != nil {
		return false, "", err
	}
	if o.Status.LastHandledRotateAt != "now" || o.Status.Database.Login.RetiringUser != "" {
		return false, fmt.Sprintf("rotation: %+v", o.Status), nil
	}
	return isReady(w, t)
}

// isRotatedAlone: the login that is left has the tenant's whole limit again, of which both had a share. In a database of the tenant's own that limit is the
// database's.
func isRotatedAlone(w *world, t *tenant) (bool, string, error) {
	if done, why, err := isRotated(w, t); !done || err != nil {
		return false, why, err
	}
	var o struct{ Spec struct{ Tier string } }
	var tier struct {
		Spec struct {
			Database struct{ ConnectionLimit int }
		}
	}
	if err := w.get(tenants+"/"+t.name, &o); err != nil {
		return false, "", err
	}
	if err := w.get("/apis/tenantry.dev/v1alpha1/tenanttiers/"+o.Spec.Tier, &tier); err != nil {
		return false, "", err
	}
	limits, err := w.psql("postgres", fmt.Sprintf("SELECT rolconnlimit FROM pg_roles WHERE rolname IN ('tenant_%[1]s.a', 'tenant_%[1]s.b') AND rolcanlogin",
		strings.ReplaceAll(t.name, "-", "_")))
	return err == nil && limits == fmt.Sprint(tier.Spec.Database.ConnectionLimit), "limits of the open logins: " + limits, err
}

func remove(w *world, t *tenant) error {
	_, err := w.request(http.MethodDelete, tenants+"/"+t.name, "", "")
	return err
}

// A tenantObject is as much of a Tenant as tells whether it is done.
type tenantObject struct {
	Metadata struct {
		UID        string
		Generation int64
	}
	Status struct {
		ObservedGeneration int64
		TenantID           string
		Conditions         []struct{ Type, Status, Reason, Message string }
	}
}

// isReady: Ready, for the generation of the spec, with nothing left to do.
func isReady(w *world, t *tenant) (bool, string, error) {
	var o tenantObject
	if err := w.get(tenants+"/"+t.name, &o); err != nil {
		return false, "", err
	}
	t.uid, t.id = o.Metadata.UID, o.Status.TenantID
	ready, why := false, fmt.Sprintf("observedGeneration %d of %d", o.Status.ObservedGeneration, o.Metadata.Generation)
	for _, c := range o.Status.Conditions {
		if c.Type == "Ready" {
			ready = c.Status == "True"
		}
		if c.Status != "True" || c.Type == "Reconciling" || c.Type == "Stalled" {
			why += fmt.Sprintf("; %s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return ready && o.Status.ObservedGeneration == o.Metadata.Generation, why, nil
}

// isGone: nothing of the Tenant is left in the API.
func isGone(w *world, t *tenant) (bool, string, error) {
	var o tenantObject
	err := w.get(tenants+"/"+t.name, &o)
	if errors.Is(err, errNotFound) {
		return true, "", nil
	}
	why := "the Tenant is still there"
	for _, c := range o.Status.Conditions {
		if c.Status != "True" {
			why += fmt.Sprintf("; %s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return false, why, err
}

const (
	specAtFirst = `{"displayName":"Crash {T}","tier":"premium","deletionPolicy":%q,"owner":{"email":"admin@{T}.example.com","name":"First Name"},"members":[{"email":"dev@{T}.example.com","name":"Dev"}]}`
	specChanged = `{"displayName":"Crash {T}","tier":"enterprise","deletionPolicy":%q,"quotas":{"storage_mb":12345},` +
		`"buckets":[{"name":"uploads"},{"name":"media"},{"name":"backups"}],"sandboxes":[{"name":"box","template":"python"}],` +
		`"owner":{"email":"admin@{T}.example.com","name":"Second Name"},"members":[{"email":"ops@{T}.example.com","role":"admin"}]}`
)

// A course is the life of a tenant, stage after stage.
type course struct {
	name   string
	stages []*stage
	rest   []*stage // that take long: not for every commit
	sample int      // at least so many points of a stage for every commit
}

func courses() []*course {
	first, changed := fmt.Sprintf(specAtFirst, "Delete"), fmt.Sprintf(specChanged, "Delete")
	provision := &stage{"provision", apply(first), isReady, false}
	list := []*course{
		{"Delete", []*stage{
			provision,
			{"change", apply(changed), isReady, false},
			{"rotation", rotate, isRotated, false},
			{"deletion Delete", remove, isGone, true},
		}, nil, 2},
		{"Snapshot", []*stage{
			provision,
			{"migrations", apply(with(specAtFirst, "Snapshot", `"database":{"migrationsRef":{"name":"`+migrations+`"}}`)), isReady, false},
			{"deletion Snapshot", remove, isGone, true},
		}, nil, 1},
	}
	// In a database that tenants share. Each tenant is the first that it is made for, and the one that comes back finds it.
	for _, mode := range []string{"Schema", "Row"} {
		first, changed := with(specAtFirst, "Delete", isolation(mode)), with(specChanged, "Delete", isolation(mode))
		list = append(list, &course{mode, []*stage{
			{"provision " + mode, apply(first), isReady, false},
			{"change " + mode, apply(changed), isReady, false},
			{"deletion " + mode, remove, isGone, true},
		}, []*stage{
			{"return " + mode, apply(first), isReady, false},
			{"rotation " + mode, rotate, isRotatedAlone, false},
		}, 1})
	}
	// Mode Row has least of its own.
	row := list[len(list)-1]
	row.stages, row.rest = nil, append(row.stages, row.rest...)
	// A snapshot of a part of what tenants share.
	for _, mode := range []string{"Schema", "Row"} {
		list = append(list, &course{"Snapshot" + mode, nil, []*stage{
			{"provision " + mode, apply(with(specAtFirst, "Snapshot", isolation(mode))), isReady, false},
			{"deletion Snapshot " + mode, remove, isGone, true},
		}, 0})
	}
	return append(list,
		// What is put off, and taken up again: a suspension, a deletion that keeps for days, one that keeps for good.
		&course{"Grace", []*stage{
			provision,
			{"suspension", apply(with(specAtFirst, "Delete", `"state":"Suspended"`)), isReady, true},
			{"resumption", apply(with(specAtFirst, "Delete", `"state":"Active","deletionGraceDays":7`)), isReady, false},
			{"deletion Grace", remove, isGone, true},
		}, []*stage{
			{"adoption", adopt(with(specAtFirst, "Delete", `"deletionGraceDays":7`)), isReady, false},
			{"deletion again", remove, isGone, true},
			{"purge", letTimePass, isPurged, true},
		}, 1},
		// What the shared parts do: the store is tried out anew when its object changes.
		&course{"Store", nil, []*stage{{"store", changeStore, isTried, true}}, 0},
		// A database that was made ahead is given away, and another takes its place.
		&course{"Spares", nil, []*stage{
			{"spares", spares(1), hasSpares(1), false},
			{"provision of a spare", apply(first), hasSpares(1), false},
			{"deletion Delete", remove, isGone, true},
			{"no spares", spares(0), hasSpares(0), true},
		}, 0},
		&course{"Retain", nil, []*stage{
			{"provision", apply(fmt.Sprintf(specAtFirst, "Retain")), isReady, false},
			{"deletion Retain", remove, isGone, true},
		}, 0})
}

// with is a spec with more in it.
func with(spec, policy, more string) string {
	return strings.Replace(fmt.Sprintf(spec, policy), "{", "{"+more+",", 1)
}

func isolation(mode string) string {
	return fmt.Sprintf(`"database":{"isolation":%q}`, mode)
}

// adopt makes the Tenant anew, and has it take back what the one before it left.
func adopt(spec string) func(*world, *tenant) error {
	return func(w *world, t *tenant) error {
		manifest := fmt.Sprintf(`{"apiVersion":"tenantry.dev/v1alpha1","kind":"Tenant","metadata":{"name":%q,"annotations":{"tenantry.dev/adopt":%q}},"spec":%s}`,
			t.name, t.id, t.concrete(spec))
		_, err := w.request(http.MethodPatch, tenants+"/"+t.name+"?fieldManager=user&force=true", "application/apply-patch+yaml", manifest)
		return err
	}
}

// changeStore changes what the ObjectStore says, there and back.
func changeStore(w *world, _ *tenant) error {
	var o struct {
		Spec struct{ VersionRetentionDays int }
	}
	if err := w.get(storePath, &o); err != nil {
		return err
	}
	return w.merge(storePath, fmt.Sprintf(`{"spec":{"versionRetentionDays":%d}}`, 61-o.Spec.VersionRetentionDays))
}

// isTried: what the store can do is known for the generation of its spec.
func isTried(w *world, _ *tenant) (bool, string, error) {
	var o struct {
		Metadata struct{ Generation int64 }
		Status   struct {
			ProbedGeneration int64
			Conditions       []struct{ Type, Status, Reason, Message string }
		}
	}
	err := w.get(storePath, &o)
	return err == nil && o.Status.ProbedGeneration == o.Metadata.Generation, fmt.Sprintf("%+v", o), err
}

// spares says how many databases are to stand ready.
func spares(count int) func(*world, *tenant) error {
	return func(w *world, _ *tenant) error {
		return w.merge(serverPath, fmt.Sprintf(`{"spec":{"spareDatabases":{"count":%d,"perMinute":600}}}`, count))
	}
}

// hasSpares: so many stand ready, and the tenant, if there is one, is Ready.
func hasSpares(count int) func(*world, *tenant) (bool, string, error) {
	return func(w *world, t *tenant) (bool, string, error) {
		var o struct {
			Metadata struct{ Generation int64 }
			Status   struct {
				ObservedGeneration int64
				SpareDatabases     int
			}
		}
		if err := w.get(serverPath, &o); err != nil {
			return false, "", err
		}
		if o.Status.SpareDatabases != count || o.Status.ObservedGeneration != o.Metadata.Generation {
			return false, fmt.Sprintf("%+v", o), nil
		}
		ready, why, err := isReady(w, t)
		if errors.Is(err, errNotFound) {
			return true, "", nil
		}
		return ready, why, err
	}
}

// letTimePass ends the days of grace.
func letTimePass(w *world, t *tenant) error {
	_, err := w.psql("tenantry_registry", fmt.Sprintf("UPDATE tenant_retained SET delete_after = '2020-01-01' WHERE tenant_id = '%s'", t.id))
	return err
}

// isPurged: nothing is kept for the tenant any more.
func isPurged(w *world, t *tenant) (bool, string, error) {
	left, err := w.psql("tenantry_registry", fmt.Sprintf("SELECT coalesce(string_agg(kind || ' ' || name, ', '), '') FROM tenant_retained WHERE tenant_id = '%s'", t.id))
	left = strings.TrimSpace(left)
	return err == nil && left == "", "still kept: " + left, err
}

// wait waits until the stage is done, the controller has ended, or the time is over.
func (w *world) wait(s *stage, t *tenant) error {
	var why string
	for deadline := time.Now().Add(convergeTimeout); time.Now().Before(deadline); {
		done, reason, err := s.converged(w, t)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
		why = reason
		select {
		case <-w.controller.exited:
			return errEnded
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("not done after %s: %s", convergeTimeout, why)
}

var errEnded = errors.New("the controller has ended")

// rest waits until nothing has been written for a while: what the controller does later, and not at once.
func (w *world) rest(mark int64) error {
	last := time.Time{}
	for deadline := time.Now().Add(settleTimeout); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		entries, err := w.log(mark)
		if err != nil {
			return err
		}
		mark += int64(len(entries))
		for _, e := range entries {
			if e.Write && e.Time.After(last) {
				last = e.Time
			}
		}
		if time.Since(last) >= rest || !w.alive() {
			return nil
		}
	}
	return fmt.Errorf("the controller still writes %s after it was done", settleTimeout)
}

// calmDown waits until the controller has nothing under way.
func (w *world) calmDown() error {
	quiet, err := w.quiet(calm, settleTimeout)
	if err == nil && !quiet {
		err = fmt.Errorf("the controller was not at rest for %s within %s", calm, settleTimeout)
	}
	return err
}

// An outcome is what a run of a stage came to.
type outcome struct {
	state    state
	entries  []entry
	changed  map[string]bool // keys of Secrets that had another value afterwards
	duration time.Duration
}
