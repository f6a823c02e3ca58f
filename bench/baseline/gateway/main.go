// The decision of the gateway as a plain Go net/http server would make it: host to tenant, SHA-256 of the token to a user, a
// quota counted in memory, the same fields in the answer. One processor, as the others in the benchmark.
package main

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

type tenant struct {
	id, tier, features string
	used               atomic.Int64
	limit              int64
}

type principal struct{ id, role string }

type key struct {
	tenant string
	digest [32]byte
}

func main() {
	runtime.GOMAXPROCS(1)
	domain, token := os.Args[2], os.Args[3]
	var lock sync.RWMutex
	tenants := map[string]*tenant{}
	for i := 0; i < 1000; i++ {
		tenants[fmt.Sprintf("tenant%d", i)] = &tenant{id: strconv.Itoa(i), tier: "premium", limit: 1 << 60}
	}
	tenants["acme"] = &tenant{id: "8c6f6712-a1d0-4ec4-b55e-458e05c4bc0a", tier: "premium", limit: 1 << 60}
	principals := map[key]principal{
		{tenants["acme"].id, sha256.Sum256([]byte(token))}: {"ccf97228-a98e-8436-a877-75921a15df78", "owner"},
	}
	http.HandleFunc("/authz", func(w http.ResponseWriter, r *http.Request) {
		host := strings.ToLower(r.Host)
		if at := strings.LastIndexByte(host, ':'); at >= 0 {
			host = host[:at]
		}
		lock.RLock()
		t := tenants[strings.TrimSuffix(host, "."+domain)]
		lock.RUnlock()
		if t == nil {
			http.Error(w, `{"error":"Tenant not found"}`, http.StatusNotFound)
			return
		}
		bearer, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		lock.RLock()
		p, known := principals[key{t.id, sha256.Sum256([]byte(bearer))}]
		lock.RUnlock()
		if !found || !known {
			http.Error(w, `{"error":"Unauthorized"}`, http.StatusUnauthorized)
			return
		}
		used := t.used.Add(1)
		if used > t.limit {
			t.used.Add(-1)
			http.Error(w, `{"error":"Quota exceeded"}`, http.StatusTooManyRequests)
			return
		}
		header := w.Header()
		header.Set("X-Tenant-ID", t.id)
		header.Set("X-Tenant-Tier", t.tier)
		header.Set("X-Tenant-Features", t.features)
		header.Set("X-User-Role", p.role)
		header.Set("X-User-ID", p.id)
		header.Set("RateLimit-Policy", `"api_requests";q=`+strconv.FormatInt(t.limit, 10))
		header.Set("RateLimit", `"api_requests";r=`+strconv.FormatInt(t.limit-used, 10))
		w.WriteHeader(http.StatusNoContent)
	})
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, http.Serve(listener, nil))
}
