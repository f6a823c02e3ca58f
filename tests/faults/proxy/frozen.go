package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How often a frozen watch says that nothing has happened, as the API server does.
const bookmarkPeriod = 60 * time.Second

// A view is a collection as it was at one moment. Given as a file, or taken when first asked for.
type view struct {
	mu   sync.Mutex
	list *viewList
}

type viewList struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Metadata   map[string]any   `json:"metadata"`
	Items      []map[string]any `json:"items"`
}

func newView(file string) (*view, error) {
	v := &view{}
	if file == "" {
		return v, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	v.list, err = parseView(text)
	return v, err
}

func parseView(text []byte) (*viewList, error) {
	list := &viewList{}
	if err := json.Unmarshal(text, list); err != nil {
		return nil, fmt.Errorf("frozen view: %w", err)
	}
	if !strings.HasSuffix(list.Kind, "List") || list.Metadata["resourceVersion"] == nil {
		return nil, fmt.Errorf("frozen view: a list with a resourceVersion is needed, as `kubectl get --raw PATH` prints it")
	}
	// The items of a list bear no kind where the kind is built in; those of a watch do.
	for _, item := range list.Items {
		item["apiVersion"], item["kind"] = list.APIVersion, strings.TrimSuffix(list.Kind, "List")
	}
	return list, nil
}

// frozen answers a GET from the view: a list, one object, or a watch in which nothing happens any more.
func (x *exchange) frozen(rule *Rule) {
	name := apiPath(x.r.URL.Path)
	list, err := x.viewOf(rule.view, name.collection)
	if err != nil {
		x.abort("stream", "upstream: "+err.Error(), nil)
	}
	x.entry.Status, x.entry.Result = http.StatusOK, "frozen"
	x.out.arm(x.rules)
	switch {
	case x.request.Watch:
		x.frozenWatch(rule, list)
	case name.name == "":
		x.reply(http.StatusOK, list)
	default:
		for _, item := range list.Items {
			metadata, _ := item["metadata"].(map[string]any)
			if metadata["name"] == name.name && (name.namespace == "" || metadata["namespace"] == name.namespace) {
				x.reply(http.StatusOK, item)
				return
			}
		}
		x.reply(http.StatusNotFound, statusObject(&Action{Code: http.StatusNotFound}))
	}
}

func (x *exchange) reply(code int, object any) {
	text, err := json.Marshal(object)
	if err != nil {
		x.abort("stream", err.Error(), nil)
	}
	x.entry.Status = code
	x.w.Header().Set("Content-Type", "application/json")
	x.w.WriteHeader(code)
	if err := x.out.write(text); err != nil {
		x.end(err)
	}
}

// viewOf returns the view, taken now with the client's own credentials if there is none yet.
func (x *exchange) viewOf(v *view, collection string) (*viewList, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.list != nil {
		return v.list, nil
	}
	target := *x.upstream
	target.Path = collection
	request, err := http.NewRequestWithContext(x.r.Context(), http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", x.r.Header.Get("Authorization"))
	request.Header.Set("Accept", "application/json")
	if request.Header.Get("Authorization") == "" {
		request.Header.Del("Authorization")
	}
	response, err := x.transportFor(request).RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBufferBytes))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("taking the view of %s: %s", collection, response.Status)
	}
	v.list, err = parseView(text)
	return v.list, err
}

func (x *exchange) frozenWatch(rule *Rule, list *viewList) {
	x.w.Header().Set("Content-Type", "application/json")
	x.w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(x.w).Flush()
	x.log.opened(x.entry)
	query := x.r.URL.Query()
	if query.Get("sendInitialEvents") == "true" {
		for _, item := range list.Items {
			x.event("ADDED", item)
		}
		x.bookmark(list, map[string]any{"k8s.io/initial-events-end": "true"})
	}
	timeout := time.Hour
	if seconds, err := strconv.Atoi(query.Get("timeoutSeconds")); err == nil {
		timeout = time.Duration(seconds) * time.Second
	}
	end := time.After(timeout)
	ticker := time.NewTicker(bookmarkPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			x.bookmark(list, nil)
		case <-end:
			return
		case <-rule.gone:
			return
		case <-x.r.Context().Done():
			x.abort("stream", "client gone", nil)
		}
	}
}

func (x *exchange) bookmark(list *viewList, annotations map[string]any) {
	metadata := map[string]any{"resourceVersion": list.Metadata["resourceVersion"]}
	if annotations != nil {
		metadata["annotations"] = annotations
	}
	x.event("BOOKMARK", map[string]any{"apiVersion": list.APIVersion, "kind": strings.TrimSuffix(list.Kind, "List"), "metadata": metadata})
}

func (x *exchange) event(kind string, object any) {
	text, err := json.Marshal(map[string]any{"type": kind, "object": object})
	if err != nil {
		x.abort("stream", err.Error(), nil)
	}
	if err := x.out.write(append(text, '\n')); err != nil {
		x.end(err)
	}
}
