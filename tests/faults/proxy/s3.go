package main

import (
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// An object store has two services: S3, and IAM, which speaks the AWS Query API. A request is signed with the Host that the client named.
var (
	s3Dialect  = dialect{kind: "s3", describe: describeS3, refuse: writeS3Error, sameHost: true}
	iamDialect = dialect{kind: "iam", describe: describeIAM, refuse: writeIAMError, sameHost: true}
)

// describeS3: the subresource is part of what is done; the numbers that the server gave out are not.
func describeS3(r *http.Request, _ []byte) (*Request, string) {
	query := r.URL.Query()
	var named []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch value := query.Get(name); {
		case name == "uploadId" || name == "versionId" || value == "":
			named = append(named, name)
		default:
			named = append(named, name+"="+value)
		}
	}
	what := r.Method + " " + r.URL.Path
	if len(named) > 0 {
		what += "?" + strings.Join(named, "&")
	}
	return &Request{Kind: "s3", Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, What: mask(what),
		Write: r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodDelete}, ""
}

// describeIAM: the action, the user, and the state that a key is to have. Keys go by numbers that the server gave out.
func describeIAM(r *http.Request, body []byte) (*Request, string) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		form = url.Values{}
	}
	action, user := form.Get("Action"), form.Get("UserName")
	what := action
	for _, word := range []string{user, form.Get("PolicyName"), form.Get("Status")} {
		if word != "" {
			what += " " + word
		}
	}
	asks := strings.HasPrefix(action, "Get") || strings.HasPrefix(action, "List")
	return &Request{Kind: "iam", Method: action, Path: r.URL.Path, Query: r.URL.RawQuery, What: mask(what), Write: !asks}, user
}

var s3Codes = map[int]string{403: "AccessDenied", 404: "NoSuchKey", 409: "OperationAborted", 500: "InternalError", 501: "NotImplemented", 503: "SlowDown"}

func s3Code(a *Action) (code, message string) {
	code, message = a.Reason, a.Message
	if code == "" {
		code = s3Codes[a.Code]
	}
	if message == "" {
		message = "the fault proxy says so"
	}
	return code, message
}

func writeXML(w http.ResponseWriter, a *Action, document any) {
	w.Header().Set("Content-Type", "application/xml")
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.RetryAfter))
	}
	w.WriteHeader(a.Code)
	_ = xml.NewEncoder(w).Encode(document)
}

type awsError struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
}

func writeS3Error(w http.ResponseWriter, a *Action) {
	code, message := s3Code(a)
	writeXML(w, a, awsError{Code: code, Message: message})
}

func writeIAMError(w http.ResponseWriter, a *Action) {
	code, message := s3Code(a)
	writeXML(w, a, struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Error   awsError
	}{Error: awsError{Code: code, Message: message}})
}
