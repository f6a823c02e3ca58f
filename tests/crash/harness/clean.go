package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// stateOfOwn lists what is there and was not before the tenant: objects, databases, roles, buckets and users of the store.
func (t *tenant) stateOfOwn(now *seen) []string {
	var list []string
	for key := range now.objects {
		if !t.baseline.objects[key] {
			list = append(list, key)
		}
	}
	for name := range now.catalog.Databases {
		if _, stood := t.baseline.databases[name]; !stood {
			list = append(list, "database "+name)
		}
	}
	for name := range now.catalog.Roles {
		if _, stood := t.baseline.role[name]; !stood {
			list = append(list, "role "+name)
		}
	}
	for name := range now.store.buckets {
		if t.baseline.store.buckets[name] == nil {
			list = append(list, "bucket "+name)
		}
	}
	for name := range now.store.users {
		if t.baseline.store.users[name] == nil {
			list = append(list, "user "+name)
		}
	}
	return list
}

// takeApart removes all of it as an administrator. Rows in databases that were there before stay; they are in the next baseline.
func (w *world) takeApart(now *seen, t *tenant) error {
	if err := spares(0)(w, t); err != nil {
		return err
	}
	for key, o := range now.objects {
		if t.baseline.objects[key] {
			continue
		}
		path := o.pathIn(w)
		_, err := w.request(http.MethodPatch, path, "application/merge-patch+json", `{"metadata":{"finalizers":null}}`)
		if err == nil {
			_, err = w.request(http.MethodDelete, path, "", "")
		}
		// Much goes along with its namespace, and some may not be touched in one that is going.
		if err != nil && !errors.Is(err, errNotFound) && o.text("namespace") == "" {
			return err
		}
	}
	for name := range now.store.buckets {
		if t.baseline.store.buckets[name] == nil {
			if err := w.store.removeBucket(name); err != nil {
				return err
			}
		}
	}
	for name := range now.store.users {
		if t.baseline.store.users[name] == nil {
			if err := w.store.removeUser(name); err != nil {
				return err
			}
		}
	}
	var script strings.Builder
	for name := range now.catalog.Databases {
		if _, stood := t.baseline.databases[name]; !stood {
			fmt.Fprintf(&script, "DROP DATABASE %s WITH (FORCE);\n", quote(name))
		}
	}
	for name := range now.catalog.Roles {
		if _, stood := t.baseline.role[name]; !stood {
			fmt.Fprintf(&script, "DROP ROLE %s;\n", quote(name))
		}
	}
	if _, err := w.psql("postgres", script.String()); err != nil {
		return err
	}
	now, err := w.look(t.baseline)
	if left := t.stateOfOwn(now); err == nil && len(left) > 0 {
		err = fmt.Errorf("cannot be removed: %s", strings.Join(left, ", "))
	}
	return err
}

// nothingDies waits until all that was deleted is gone.
func (w *world) nothingDies() error {
	for deadline := time.Now().Add(settleTimeout); ; time.Sleep(100 * time.Millisecond) {
		objects, err := w.objects(w.resources, nil)
		if err != nil {
			return err
		}
		var left []string
		for key, o := range objects {
			if o.dying() {
				left = append(left, key)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("deleted and still there: %s", strings.Join(left, ", "))
		}
	}
}

// pathIn is where the API has the object.
func (o *object) pathIn(w *world) string {
	for _, r := range w.resources {
		if r.group == o.group && r.plural == o.resource {
			if space := o.text("namespace"); space != "" {
				return strings.TrimSuffix(r.path, r.plural) + "namespaces/" + space + "/" + r.plural + "/" + o.text("name")
			}
			return r.path + "/" + o.text("name")
		}
	}
	return ""
}
