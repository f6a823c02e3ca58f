package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRequestsOfAnObjectStoreInOneLine(t *testing.T) {
	for _, each := range []struct {
		d                    dialect
		request, body, wants string
		write                bool
	}{
		{s3Dialect, "GET /a-uploads?list-type=2", "", "GET /a-uploads?list-type=2", false},
		{s3Dialect, "HEAD /a-uploads", "", "HEAD /a-uploads", false},
		{s3Dialect, "PUT /a-uploads?versioning=", "", "PUT /a-uploads?versioning", true},
		{s3Dialect, "POST /a-uploads?delete", "", "POST /a-uploads?delete", true},
		{s3Dialect, "PUT /b/k?uploadId=7f&partNumber=2", "", "PUT /b/k?partNumber=2&uploadId", true},
		{s3Dialect, "DELETE /b/k?versionId=01J", "", "DELETE /b/k?versionId", true},
		{iamDialect, "POST /", "Action=CreateUser&UserName=tenant-a&Version=2010-05-08", "CreateUser tenant-a", true},
		{iamDialect, "POST /", "Action=ListAccessKeys&UserName=tenant-a", "ListAccessKeys tenant-a", false},
		{iamDialect, "POST /", "Action=GetUserPolicy&UserName=a&PolicyName=p", "GetUserPolicy a p", false},
		{iamDialect, "POST /", "Action=UpdateAccessKey&UserName=a&AccessKeyId=AKIA&Status=Inactive", "UpdateAccessKey a Inactive", true},
	} {
		method, target, _ := strings.Cut(each.request, " ")
		got, _ := each.d.describe(httptest.NewRequest(method, target, nil), []byte(each.body))
		if got.What != each.wants || got.Write != each.write || got.Kind != each.d.kind {
			t.Errorf("%s %s: %+v", each.request, each.body, got)
		}
	}
}

// What a client signs has to arrive as it was signed, and a rule strikes at a write as at an API server's.
func TestStoreIsFronted(t *testing.T) {
	var host, length string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		host, length = r.Host, string(body)
	}))
	defer upstream.Close()
	c := &control{rules: newRules(), log: newLog(nil), conns: newConns()}
	server, err := storeServer(s3Dialect, upstream.URL, c)
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	go server.Serve(&listener{l, "s3", c.conns})
	defer server.Close()
	put := func() *http.Response {
		request, err := http.NewRequest(http.MethodPut, "http://"+l.Addr().String()+"/bucket", strings.NewReader("body"))
		check(t, err)
		response, err := http.DefaultClient.Do(request)
		check(t, err)
		return response
	}
	put().Body.Close()
	if host != l.Addr().String() || length != "body" {
		t.Errorf("upstream saw %q %q", host, length)
	}
	check(t, c.rules.add(&Rule{Match: Match{Kind: "s3", Text: "PUT /bucket"}, Action: Action{Type: "status", Code: 503}}))
	host = ""
	response := put()
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	if response.StatusCode != 503 || !strings.Contains(string(text), "<Code>SlowDown</Code>") || host != "" {
		t.Errorf("%d %s %q", response.StatusCode, text, host)
	}
	if lines := c.log.since(0); len(lines) != 2 || !strings.Contains(string(lines[0]), `"write":true`) {
		t.Errorf("%s", lines)
	}
}
