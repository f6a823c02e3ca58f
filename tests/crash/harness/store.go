package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	region    = "us-east-1"
	storePath = "/apis/tenantry.dev/v1alpha1/objectstores/default"
)

// A store is the object store, asked directly: S3 and, beside it, IAM.
type store struct {
	s3, iam string // URLs
	key     aws.Credentials
}

func newStore(s3, iam string, key aws.Credentials) *store {
	return &store{s3: s3, iam: iam, key: key}
}

// storeKey reads the administrator's key.
func (w *world) storeKey() (aws.Credentials, error) {
	id, first := os.ReadFile(w.path("s3-access-key"))
	secret, second := os.ReadFile(w.path("s3-secret-key"))
	return aws.Credentials{AccessKeyID: strings.TrimSpace(string(id)), SecretAccessKey: strings.TrimSpace(string(secret))}, errors.Join(first, second)
}

// A refusal is an answer of the store that is none of 2xx.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.status, r.text) }

// send signs a request and returns the answer's body.
func (s *store) send(service, method, target, body string) ([]byte, error) {
	request, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if service == "iam" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	sum := sha256.Sum256([]byte(body))
	digest := hex.EncodeToString(sum[:])
	request.Header.Set("X-Amz-Content-Sha256", digest)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
	if err := signer.SignHTTP(context.Background(), s.key, request, digest, service, region, time.Now()); err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = &refusal{response.StatusCode, string(text)}
	}
	return text, err
}

func (s *store) s3Do(method, path string) (map[string]any, error) {
	text, err := s.send("s3", method, s.s3+path, "")
	if err != nil {
		return nil, fmt.Errorf("S3 %s %s: %w", method, path, err)
	}
	return parseAnswer(text)
}

// iamDo asks for an action with name=value pairs.
func (s *store) iamDo(action string, pairs ...string) (map[string]any, error) {
	form := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	text, err := s.send("iam", http.MethodPost, s.iam+"/", form.Encode())
	if err != nil {
		return nil, fmt.Errorf("IAM %s %s: %w", action, strings.Join(pairs, " "), err)
	}
	answer, err := parseAnswer(text)
	if result, ok := answer[action+"Result"].(map[string]any); ok {
		return result, err
	}
	return answer, err
}

// parseAnswer makes of XML what JSON would be: a map of children, a text, and a list where a name comes again.
func parseAnswer(text []byte) (map[string]any, error) {
	decoder := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			// Nothing, or JSON: a bucket's policy.
			return map[string]any{"text": string(text)}, nil
		}
		if err != nil {
			return nil, err
		}
		if start, ok := token.(xml.StartElement); ok {
			value, err := parseElement(decoder, start)
			fields, isMap := value.(map[string]any)
			if err == nil && !isMap {
				fields = map[string]any{"text": value}
			}
			return fields, err
		}
	}
}

func parseElement(decoder *xml.Decoder, _ xml.StartElement) (any, error) {
	fields, text := map[string]any{}, ""
	for {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			child, err := parseElement(decoder, t)
			if err != nil {
				return nil, err
			}
			add(fields, t.Name.Local, child)
		case xml.CharData:
			text += string(t)
		case xml.EndElement:
			if len(fields) == 0 {
				return strings.TrimSpace(text), nil
			}
			return fields, nil
		}
	}
}

func add(fields map[string]any, name string, value any) {
	switch known := fields[name].(type) {
	case nil:
		fields[name] = value
	case []any:
		fields[name] = append(known, value)
	default:
		fields[name] = []any{known, value}
	}
}

// every returns what stands at a path of names, always as a list.
func every(value any, names ...string) []any {
	if len(names) == 0 {
		switch v := value.(type) {
		case nil:
			return nil
		case []any:
			return v
		default:
			return []any{v}
		}
	}
	var list []any
	for _, each := range every(value) {
		if fields, ok := each.(map[string]any); ok {
			list = append(list, every(fields[names[0]], names[1:]...)...)
		}
	}
	return list
}

func texts(list []any) []string {
	var found []string
	for _, each := range list {
		found = append(found, fmt.Sprint(each))
	}
	return found
}
