package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// A holding is what the object store has: buckets and users by name, each with all that can be asked of it.
type holding struct {
	buckets, users map[string]map[string]any
}

// What belongs to a server's answer and not to what it tells of, or is given out by chance.
var storeNoise = map[string]bool{"IsTruncated": true, "MaxKeys": true, "KeyMarker": true, "VersionIdMarker": true, "NextKeyMarker": true, "NextVersionIdMarker": true,
	"UploadIdMarker": true, "NextUploadIdMarker": true, "MaxUploads": true, "ETag": true, "VersionId": true, "UploadId": true, "LastModified": true, "Initiated": true,
	"Owner": true, "Initiator": true, "Size": true, "CreateDate": true, "AccessKeyId": true, "UserId": true, "ChecksumAlgorithm": true, "ChecksumType": true,
	"ResponseMetadata": true}

// holding lists buckets and users; in full those that were not there before.
func (s *store) holding(before *holding) (*holding, error) {
	now := &holding{map[string]map[string]any{}, map[string]map[string]any{}}
	buckets, first := s.s3Do(http.MethodGet, "/")
	users, second := s.iamDo("ListUsers")
	if err := errors.Join(first, second); err != nil {
		return nil, err
	}
	for _, name := range texts(every(buckets, "Buckets", "Bucket", "Name")) {
		now.buckets[name] = map[string]any{}
		if before != nil && before.buckets[name] == nil {
			fields, err := s.bucket(name)
			if err != nil {
				return nil, err
			}
			now.buckets[name] = fields
		}
	}
	for _, name := range texts(every(users, "Users", "member", "UserName")) {
		now.users[name] = map[string]any{}
		if before != nil && before.users[name] == nil {
			fields, err := s.user(name)
			if err != nil {
				return nil, err
			}
			now.users[name] = fields
		}
	}
	return now, nil
}

// bucket: what is in it, and how it is set up. A server that lacks a feature says so for every bucket.
func (s *store) bucket(name string) (map[string]any, error) {
	fields := map[string]any{}
	for _, what := range []string{"versions", "uploads", "tagging", "versioning", "policy", "publicAccessBlock"} {
		answer, err := s.s3Do(http.MethodGet, "/"+name+"?"+what)
		var r *refusal
		if err != nil && !errors.As(err, &r) {
			return nil, err
		}
		if r != nil {
			fields[what] = fmt.Sprintf("status %d", r.status)
			continue
		}
		fields[what] = quietly(answer)
	}
	return fields, nil
}

// quietly leaves the noise out.
func quietly(value any) any {
	switch v := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, each := range v {
			if !storeNoise[name] {
				kept[name] = quietly(each)
			}
		}
		return kept
	case []any:
		var kept []any
		for _, each := range v {
			kept = append(kept, quietly(each))
		}
		return kept
	default:
		return v
	}
}

func (s *store) user(name string) (map[string]any, error) {
	fields := map[string]any{}
	for _, action := range []string{"ListUserTags", "ListAccessKeys"} {
		answer, err := s.iamDo(action, "UserName", name)
		if err != nil {
			return nil, err
		}
		fields[action] = quietly(answer)
	}
	policies, err := s.iamDo("ListUserPolicies", "UserName", name)
	if err != nil {
		return nil, err
	}
	for _, policy := range texts(every(policies, "PolicyNames", "member")) {
		answer, err := s.iamDo("GetUserPolicy", "UserName", name, "PolicyName", policy)
		if err != nil {
			return nil, err
		}
		for _, document := range texts(every(answer, "PolicyDocument")) {
			plain, err := url.QueryUnescape(document)
			if err != nil {
				return nil, err
			}
			fields["policy "+policy] = plain
		}
	}
	return fields, nil
}

// opens tries a tenant's key, as its Secret has it: each of its buckets can be listed.
func (s *store) opens(data map[string]string) error {
	key := s.key
	key.AccessKeyID, key.SecretAccessKey = data["AWS_ACCESS_KEY_ID"], data["AWS_SECRET_ACCESS_KEY"]
	tenants := newStore(data["AWS_ENDPOINT_URL_S3"], "", key)
	for _, bucket := range splitList(data["buckets"]) {
		if _, err := tenants.s3Do(http.MethodGet, "/"+bucket+"?list-type=2"); err != nil {
			return err
		}
	}
	return nil
}

// removeBucket takes a bucket away with everything in it.
func (s *store) removeBucket(name string) error {
	versions, err := s.s3Do(http.MethodGet, "/"+name+"?versions")
	if err != nil {
		return err
	}
	for _, kind := range []string{"Version", "DeleteMarker"} {
		for _, each := range every(versions, kind) {
			if _, err := s.s3Do(http.MethodDelete, objectPath(name, each, "versionId", "VersionId")); err != nil {
				return err
			}
		}
	}
	uploads, err := s.s3Do(http.MethodGet, "/"+name+"?uploads")
	if err != nil {
		return err
	}
	for _, each := range every(uploads, "Upload") {
		if _, err := s.s3Do(http.MethodDelete, objectPath(name, each, "uploadId", "UploadId")); err != nil {
			return err
		}
	}
	_, err = s.s3Do(http.MethodDelete, "/"+name)
	return err
}

func objectPath(bucket string, item any, parameter, field string) string {
	key := (&url.URL{Path: texts(every(item, "Key"))[0]}).EscapedPath()
	return fmt.Sprintf("/%s/%s?%s=%s", bucket, key, parameter, url.QueryEscape(texts(every(item, field))[0]))
}

// removeUser takes a user away with its keys and policies.
func (s *store) removeUser(name string) error {
	keys, err := s.iamDo("ListAccessKeys", "UserName", name)
	if err != nil {
		return err
	}
	for _, id := range texts(every(keys, "AccessKeyMetadata", "member", "AccessKeyId")) {
		if _, err := s.iamDo("DeleteAccessKey", "UserName", name, "AccessKeyId", id); err != nil {
			return err
		}
	}
	policies, err := s.iamDo("ListUserPolicies", "UserName", name)
	if err != nil {
		return err
	}
	for _, policy := range texts(every(policies, "PolicyNames", "member")) {
		if _, err := s.iamDo("DeleteUserPolicy", "UserName", name, "PolicyName", policy); err != nil {
			return err
		}
	}
	_, err = s.iamDo("DeleteUser", "UserName", name)
	return err
}
