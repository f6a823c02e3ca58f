package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
)

// A resource is something that the API server can list.
type resource struct {
	group, path, plural string // path is the list of all namespaces
}

// What is no state: it comes and goes by itself. Everything else that the server has is looked at.
var transient = map[string]bool{"events": true, "pods": true, "replicasets": true, "leases": true, "componentstatuses": true, "endpoints": true, "endpointslices": true,
	// Of a Service, which has it in its spec; it goes some time after that.
	"ipaddresses": true}

type resourceList struct {
	Resources []struct {
		Name  string
		Verbs []string
	}
}

var secretsResource = resource{"", "/api/v1/secrets", "secrets"}

// discover finds everything that can be listed, in the preferred version of each group.
func (w *world) discover() ([]resource, error) {
	var groups struct {
		Groups []struct {
			Name             string
			PreferredVersion struct{ GroupVersion string }
		}
	}
	if err := w.get("/apis", &groups); err != nil {
		return nil, err
	}
	roots := map[string]string{"/api/v1": ""}
	for _, group := range groups.Groups {
		roots["/apis/"+group.PreferredVersion.GroupVersion] = group.Name
	}
	var list []resource
	for root, group := range roots {
		var resources resourceList
		if err := w.get(root, &resources); err != nil {
			return nil, err
		}
		for _, r := range resources.Resources {
			for _, verb := range r.Verbs {
				if verb == "list" && !transient[r.Name] {
					list = append(list, resource{group, root + "/" + r.Name, r.Name})
				}
			}
		}
	}
	return list, nil
}

// An object is one of the API, under a key such as "secrets tenantry-system/acme-owner".
type object struct {
	key      string
	group    string
	resource string
	fields   map[string]any
}

func (o *object) metadata() map[string]any {
	metadata, _ := o.fields["metadata"].(map[string]any)
	return metadata
}

func (o *object) text(field string) string {
	text, _ := o.metadata()[field].(string)
	return text
}

// objects lists what there is of these resources: in full where something may be the tenant's, which is what was not there before it and
// everything of our own kinds; of the rest metadata alone, since most of it is large and never changes.
func (w *world) objects(resources []resource, before map[string]bool) (map[string]*object, error) {
	all := map[string]*object{}
	var mu sync.Mutex
	var group sync.WaitGroup
	var failures []error
	for _, r := range resources {
		group.Go(func() {
			list, err := w.list(r, onlyMetadata)
			for key, o := range list {
				if err == nil && (!before[key] || o.group == ownGroup) && before != nil {
					list, err = w.list(r, "application/json")
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
			}
			maps.Copy(all, list)
		})
	}
	group.Wait()
	return all, errors.Join(failures...)
}

const (
	ownGroup     = "tenantry.dev"
	onlyMetadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

func (w *world) list(r resource, accept string) (map[string]*object, error) {
	var list struct{ Items []map[string]any }
	text, err := w.requestAs(http.MethodGet, r.path, accept, "", "")
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil && !errors.Is(err, errNotFound) {
		return nil, err
	}
	objects := map[string]*object{}
	for _, item := range list.Items {
		o := &object{group: r.group, resource: r.plural, fields: item}
		o.key = r.plural
		if r.group != "" {
			o.key += "." + r.group
		}
		o.key += " "
		if o.text("namespace") != "" {
			o.key += o.text("namespace") + "/"
		}
		o.key += o.text("name")
		objects[o.key] = o
	}
	return objects, nil
}

func (o *object) dying() bool { return o.text("deletionTimestamp") != "" }

// plain is the object without what the API server keeps about it, with a Secret's values decoded.
func (o *object) plain() map[string]any {
	fields := map[string]any{}
	for name, value := range o.fields {
		fields[name] = value
	}
	metadata := map[string]any{}
	for name, value := range o.metadata() {
		switch name {
		case "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation":
		default:
			metadata[name] = value
		}
	}
	fields["metadata"] = metadata
	if o.resource == "secrets" {
		decoded := map[string]any{}
		for name, value := range o.data() {
			decoded[name] = value
		}
		fields["data"] = decoded
	}
	if o.resource == "resourcequotas" {
		delete(fields, "status") // Kubernetes counts when it comes to it
	}
	return fields
}

// data is what a Secret holds.
func (o *object) data() map[string]string {
	decoded := map[string]string{}
	data, _ := o.fields["data"].(map[string]any)
	for name, value := range data {
		text, err := base64.StdEncoding.DecodeString(fmt.Sprint(value))
		if err == nil {
			decoded[name] = string(text)
		}
	}
	return decoded
}
