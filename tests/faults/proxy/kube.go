package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

var kubeDialect = dialect{kind: "kube", describe: describeKube, refuse: writeStatus}

// describeKube makes of a request what rules match, and finds the name in what is posted.
func describeKube(r *http.Request, body []byte) (*Request, string) {
	query := r.URL.Query()
	request := &Request{Kind: "kube", Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
	watch := query.Get("watch")
	request.Watch = r.Method == http.MethodGet && (watch == "true" || watch == "1")
	request.Write = kubeWrite(r, query)
	what := r.Method + " " + r.URL.Path
	if manager := query.Get("fieldManager"); manager != "" {
		what += " by " + manager
	}
	name := ""
	if r.Method == http.MethodPost {
		var object struct {
			Metadata struct{ Name string }
		}
		if json.Unmarshal(body, &object) == nil && object.Metadata.Name != "" {
			name = object.Metadata.Name
			what += " of " + name
		}
	}
	request.What = mask(what)
	return request, name
}

// kubeWrite: does it change what lasts? Leases and Events come with their own rhythm; reviews only ask.
func kubeWrite(r *http.Request, query url.Values) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return false
	}
	if query.Get("dryRun") != "" || leasePath.MatchString(r.URL.Path) {
		return false
	}
	switch apiPath(r.URL.Path).resource {
	case "events", "subjectaccessreviews", "selfsubjectaccessreviews", "localsubjectaccessreviews", "selfsubjectrulesreviews",
		"tokenreviews", "selfsubjectreviews":
		return false
	}
	return true
}

// An apiName is what a path of the API names.
type apiName struct {
	collection, resource, namespace, name, subresource string
}

func apiPath(path string) apiName {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	group := 2 // api/v1
	if parts[0] == "apis" {
		group = 3 // apis/GROUP/VERSION
	} else if parts[0] != "api" {
		return apiName{}
	}
	if len(parts) <= group {
		return apiName{}
	}
	var n apiName
	rest := parts[group:]
	if rest[0] == "namespaces" && len(rest) > 2 && rest[2] != "status" && rest[2] != "finalize" {
		n.namespace = rest[1]
		rest = rest[2:]
	}
	n.resource = rest[0]
	n.collection = "/" + strings.Join(parts[:len(parts)-len(rest)+1], "/")
	if len(rest) > 1 {
		n.name = rest[1]
	}
	if len(rest) > 2 {
		n.subresource = rest[2]
	}
	return n
}

// writeStatus answers as the API server does when it refuses.
func writeStatus(w http.ResponseWriter, a *Action) {
	w.Header().Set("Content-Type", "application/json")
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.RetryAfter))
	}
	w.WriteHeader(a.Code)
	_ = json.NewEncoder(w).Encode(statusObject(a))
}

var reasons = map[int]string{
	400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired", 413: "RequestEntityTooLarge",
	422: "Invalid", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}

func statusObject(a *Action) map[string]any {
	reason, message := a.Reason, a.Message
	details := map[string]any{}
	if a.RetryAfter > 0 {
		details["retryAfterSeconds"] = a.RetryAfter
	}
	// Not a reason of its own, but a cause of a Timeout.
	if reason == "ResourceVersionTooLarge" {
		details["causes"] = []any{map[string]any{"reason": reason, "message": "Too large resource version"}}
		reason = "Timeout"
	}
	if reason == "" {
		reason = reasons[a.Code]
	}
	if message == "" {
		message = "the fault proxy says so"
	}
	return map[string]any{"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"message": message, "reason": reason, "details": details, "code": a.Code}
}
