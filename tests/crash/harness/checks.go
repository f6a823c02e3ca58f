package main

import (
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// A secretsView is what Secrets hold, at one moment: namespace/name/key → identity of the object and value.
type secretsView map[string]string

func splitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

// secretsNow reads those of a tenant.
func (w *world) secretsNow(t *tenant) (secretsView, error) {
	objects, err := w.objects([]resource{secretsResource}, t.baseline.objects)
	if err != nil {
		return nil, err
	}
	return secretsIn(objects, t), nil
}

func secretsIn(objects map[string]*object, t *tenant) secretsView {
	view := secretsView{}
	for key, o := range objects {
		if o.resource != "secrets" || t.baseline.objects[key] {
			continue
		}
		for name, value := range o.data() {
			view[t.general(strings.TrimPrefix(key, "secrets "))+"/"+name] = o.text("uid") + " " + value
		}
	}
	return view
}

// changes lists the keys that are in both and differ.
func (before secretsView) changes(after secretsView) map[string]bool {
	changed := map[string]bool{}
	for key, value := range before {
		if now, ok := after[key]; ok && now != value {
			changed[key] = true
		}
	}
	return changed
}

// regenerated lists what changed although no undisturbed run changes it.
func regenerated(before, after secretsView, usual []map[string]bool) []string {
	var list []string
	for key := range before.changes(after) {
		expected := false
		for _, each := range usual {
			expected = expected || each[key]
		}
		if !expected {
			list = append(list, "changed after it was written: Secret "+key)
		}
	}
	sort.Strings(list)
	return list
}

// credentials tries what the Secrets promise: whoever holds a database's URI gets in, and the owner's temporary password fits the hash that stands in
// the tenant's users. It returns what does not work.
func (w *world) credentials(now *seen, t *tenant) []string {
	var list []string
	for key, o := range now.objects {
		if o.resource != "secrets" || t.baseline.objects[key] {
			continue
		}
		data := o.data()
		if uri := data["uri"]; strings.HasPrefix(uri, "postgresql://") {
			if err := w.login(uri); err != nil {
				list = append(list, fmt.Sprintf("%s does not open the database: %s", t.general(key), err))
			}
		}
		if data["AWS_ACCESS_KEY_ID"] != "" && data["buckets"] != "" {
			if err := w.store.opens(data); err != nil {
				list = append(list, fmt.Sprintf("%s does not open its buckets: %s", t.general(key), err))
			}
		}
		if key == "secrets "+namespace+"/"+t.name+"-owner" {
			list = append(list, ownerFits(now, data["email"], data["password"])...)
		}
	}
	return list
}

func (w *world) login(uri string) error {
	command := exec.Command("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", "SELECT 1", uri)
	command.Env = append(os.Environ(), "PGSSLROOTCERT="+w.path("postgres-ca.crt"), "PGCONNECT_TIMEOUT=10")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(output)))
	}
	return nil
}

func ownerFits(now *seen, email, password string) []string {
	for database, kinds := range now.catalog.Inside {
		for kind, rows := range kinds {
			if !strings.HasPrefix(kind, "rows ") {
				continue
			}
			for _, row := range rows {
				hash, ok := row["password_hash"].(string)
				if !ok || row["email"] != email {
					continue
				}
				if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
					return []string{"the owner's password in the Secret does not fit the hash in " + database}
				}
				return nil
			}
		}
	}
	return []string{"no row of a table with users has the e-mail of the owner's Secret"}
}
