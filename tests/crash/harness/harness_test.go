package main

import (
	"strings"
	"testing"
)

func TestGeneralAndConcrete(t *testing.T) {
	one := &tenant{name: "crash-0001", uid: "11111111-1111-4111-8111-111111111111", id: "22222222-2222-4222-8222-222222222222"}
	two := &tenant{name: "crash-0002"}
	for text, wanted := range map[string]string{
		"PATCH /api/v1/namespaces/tenant-crash-0001/secrets/crash-0001-database": "PATCH /api/v1/namespaces/tenant-{T}/secrets/{T}-database",
		`tenant_crash_0001: CREATE ROLE "tenant_crash_0001.owner"`:               `tenant_{t}: CREATE ROLE "tenant_{t}.owner"`,
		one.uid + " " + one.id + " 33333333-3333-4333-8333-333333333333":         "{UID} {ID} {uuid}",
		"since 2026-01-02T03:04:05Z and 2026-01-02 03:04:05.678+00":              "since {time} and {time}",
	} {
		if got := one.general(text); got != wanted {
			t.Errorf("%s: %s", text, got)
		}
	}
	if got := two.concrete(one.general(`tenant_crash_0001: DROP ROLE "crash-0001"`)); got != `tenant_crash_0002: DROP ROLE "crash-0002"` {
		t.Error(got)
	}
}

func TestPointsAreOfEveryWriteOnce(t *testing.T) {
	tenants := []*tenant{{name: "a-1"}, {name: "a-2"}}
	runs := [][]entry{
		{{N: 2, Kind: "sql", Write: true, What: "x: UPDATE t"}, {N: 1, Kind: "kube", Write: true, What: "POST /a-1"}, {N: 3, Kind: "sql", Write: true, What: "x: UPDATE t"},
			{N: 4, Kind: "sql", What: "x: SELECT 1"}},
		{{N: 1, Kind: "kube", Write: true, What: "POST /a-2"}, {N: 2, Kind: "sql", Write: true, What: "x: UPDATE t"}},
	}
	var got []string
	for _, p := range pointsOf(runs, tenants, []string{before, after}) {
		sure := "?"
		if p.sure {
			sure = "!"
		}
		got = append(got, p.String()+sure)
	}
	wanted := "before POST /{T}!|after  POST /{T}!|before x: UPDATE t!|after  x: UPDATE t!|before x: UPDATE t (2)?|after  x: UPDATE t (2)?"
	if strings.Join(got, "|") != wanted {
		t.Errorf("%s", strings.Join(got, "|"))
	}
}

func TestSpreadTakesBothSides(t *testing.T) {
	points := pointsOf([][]entry{writesOf(20)}, []*tenant{{name: "x-1"}}, []string{before, after})
	sample := spread(points, 6, 2)
	firsts := 0
	for _, p := range sample {
		if p.when == before {
			firsts++
		}
	}
	if len(sample) != 6 || firsts != 3 || sample[0].order > 3 || sample[5].order < 18 {
		t.Errorf("%v", sample)
	}
	if one := spread(points, 1, 2); len(one) != 1 || one[0].order != 11 {
		t.Errorf("%v", one)
	}
	if len(spread(points, 100, 2)) != 40 {
		t.Error("more than all")
	}
}

func writesOf(n int) []entry {
	var list []entry
	for i := range n {
		list = append(list, entry{N: int64(i), Write: true, What: strings.Repeat("w", i+1)})
	}
	return list
}

func TestCreationsCountWhatStays(t *testing.T) {
	a := &tenant{name: "a-1"}
	made := a.creations([]entry{
		{Kind: "kube", Write: true, Status: 201, Path: "/api/v1/namespaces", Name: "a-1"},
		{Kind: "kube", Write: true, Status: 200, Path: "/api/v1/namespaces/a-1"},
		{Kind: "sql", Verb: "CREATE", What: `p: CREATE ROLE "a_1.owner" NOLOGIN`, Tag: "CREATE ROLE", Result: "ok"},
		{Kind: "sql", Verb: "CREATE", What: `p: CREATE ROLE "a_1.owner" LOGIN`, Tag: "CREATE ROLE", Result: "killed after"},
		{Kind: "sql", Verb: "CREATE", What: `p: CREATE ROLE "a_1.owner"`, Result: "error"},
		{Kind: "sql", Verb: "CREATE", What: `p: CREATE TABLE IF NOT EXISTS t`, Tag: "CREATE TABLE", Result: "ok"},
		// Rolled back, since its COMMIT never came.
		{Kind: "sql", Verb: "INSERT", Path: "r", What: "r: INSERT INTO tenants VALUES ($1)", Tag: "INSERT 0 1", Result: "ok", Connection: 1, Transaction: 1},
		{Kind: "sql", Verb: "COMMIT", What: "r: COMMIT", Result: "killed before", Connection: 1, Transaction: 1},
		{Kind: "sql", Verb: "INSERT", Path: "r", What: "r: INSERT INTO tenants VALUES ($1)", Tag: "INSERT 0 1", Result: "ok", Connection: 2, Transaction: 1},
		{Kind: "sql", Verb: "COMMIT", What: "r: COMMIT", Tag: "COMMIT", Result: "ok", Connection: 2, Transaction: 1},
		{Kind: "sql", Verb: "WITH", Path: "r", What: "r: WITH x AS (SELECT 1) INSERT INTO quotas SELECT 1 ON CONFLICT DO NOTHING", Tag: "INSERT 0 5", Result: "ok"},
	})
	wanted := map[string]int{"/api/v1/namespaces/{T}": 1, `p: CREATE ROLE "{t}.owner"`: 2, "rows of r tenants": 1, "rows of r quotas": 5}
	if len(made) != len(wanted) {
		t.Errorf("%v", made)
	}
	for what, n := range wanted {
		if made[what] != n {
			t.Errorf("%s: %d", what, made[what])
		}
	}
	reference := map[string]int{`p: CREATE ROLE "{t}.owner"`: 1, "rows of r quotas": 5, "rows of r tenants": 1, "/api/v1/namespaces/{T}": 1}
	if twice := madeTwice(made, []map[string]int{reference}); len(twice) != 1 || !strings.Contains(twice[0], "{t}.owner") {
		t.Errorf("%v", twice)
	}
}

func TestDifferences(t *testing.T) {
	r := newReference([]state{{"a": "1", "b": "x", "c": "1"}, {"a": "1", "b": "y"}})
	for _, each := range []struct {
		s      state
		wanted string
	}{
		{state{"a": "1", "b": "z"}, ""},
		{state{"a": "1", "b": "z", "c": "1"}, ""},
		{state{"a": "2", "b": "z"}, "differs: a"},
		{state{"a": "1"}, "missing: b"},
		{state{"a": "1", "b": "z", "d": "1"}, "stray:   d"},
	} {
		got := strings.Join(r.differences(each.s), "|")
		if each.wanted == "" && got != "" || !strings.HasPrefix(got, each.wanted) {
			t.Errorf("%v: %s", each.s, got)
		}
	}
}

func TestMeasuresNeedNotBeExact(t *testing.T) {
	for _, each := range []struct {
		a, b   string
		wanted bool
	}{{"8093031", "8.068455e+06", true}, {"8000000", "9000000", false}, {"1000", "1001", false}, {"x", "8000000", false}} {
		if sameMeasure(each.a, each.b) != each.wanted {
			t.Error(each)
		}
	}
}

func TestStateLeavesOutWhatWasThere(t *testing.T) {
	old := map[string]any{"id": 1.0}
	given := map[string]any{"role": "pg_monitor", "member": "boss"}
	a := &tenant{name: "a-1", baseline: &baseline{store: &holding{}, objects: map[string]bool{"nodes n": true}, databases: map[string]string{"reg": "{}", "pool": `{"acl":[]}`}, role: map[string]string{"boss": "{}"},
		rows: map[string]bool{rowKey("reg", "rows t", old): true, rowKey("", "memberships", given): true}}}
	now := &seen{
		store: &holding{buckets: map[string]map[string]any{"a-1-uploads": {"versioning": "Enabled"}}, users: map[string]map[string]any{"tenant-a-1": {}}},
		objects: map[string]*object{
			"nodes n":        {key: "nodes n", resource: "nodes", fields: map[string]any{}},
			"namespaces a-1": {key: "namespaces a-1", resource: "namespaces", fields: map[string]any{"metadata": map[string]any{"name": "a-1", "uid": "u"}}},
		},
		catalog: &catalog{
			Databases:   map[string]map[string]any{"reg": {}, "pool": {"acl": []any{"x"}}, "a_1": {"owner": "boss"}},
			Roles:       map[string]map[string]any{"boss": {}, "a_1.x": {"login": true}},
			Memberships: []map[string]any{given, {"role": "a_1.x", "member": "boss"}},
			Inside:      map[string]map[string][]map[string]any{"reg": {"rows t": {old, {"id": 2.0}}}},
		},
	}
	got := a.stateOf(now)
	for _, path := range []string{"kube namespaces {T}/metadata/name", "database {t}/owner", "role {t}.x/login", "in reg rows t 0/id", "membership 0/role", "database pool/acl[0]",
		"bucket {T}-uploads/versioning", "user tenant-{T}"} {
		if _, ok := got[path]; !ok {
			t.Errorf("%s is missing in %v", path, got)
		}
	}
	for path := range got {
		if strings.Contains(path, "nodes") || strings.Contains(path, "uid") || path == "in reg rows t 1" || path == "membership 1" || strings.HasPrefix(path, "database reg") || strings.HasPrefix(path, "role boss") {
			t.Error("not the tenant's:", path)
		}
	}
}

func TestEveryPointComesToItsTurn(t *testing.T) {
	shared, early, late := &stage{name: "shared"}, &stage{name: "early"}, &stage{name: "late"}
	h := &harness{courses: []*course{{name: "a", stages: []*stage{shared}}, {name: "b", stages: []*stage{shared, early, late}}},
		points: map[string][]point{"shared": make([]point, 3), "early": make([]point, 2)}}
	for turns := 0; h.remaining() > 0; turns++ {
		if turns == 4 {
			t.Fatalf("still to be tried: %v", h.points)
		}
		for _, s := range h.next().stages {
			h.points[s.name] = h.points[s.name][min(1, len(h.points[s.name])):]
		}
	}
}

func TestTablesInASharedDatabaseAreInGeneralTerms(t *testing.T) {
	a := &tenant{name: "a-1", id: "id-9", baseline: newBaseline(&seen{catalog: &catalog{}, store: &holding{}})}
	got := a.stateOf(&seen{store: &holding{}, catalog: &catalog{Inside: map[string]map[string][]map[string]any{"pool": {
		"rows tenant_a_1.users": {{"tenant_id": "id-9"}},
		"rows upgrades":         {{"attempts": 2.0, "id": "id-9"}},
		"rows dumps":            {{"size_bytes": 21957.0, "id": "id-9"}},
		"rows quotas":           {{"current_usage": 7.0, "id": "id-9", "resource_type": "storage_mb"}}}}}})
	for path, wanted := range map[string]string{"in pool rows tenant_{t}.users 0/tenant_id": "{ID}", "in pool rows quotas 0/current_usage": "measured", "in pool rows upgrades 0/attempts": "counted",
		"in pool rows dumps 0/size_bytes": "measured"} {
		if got[path] != wanted {
			t.Errorf("%s is %q in %v", path, got[path], got)
		}
	}
}

func TestAnswersOfTheStore(t *testing.T) {
	answer, err := parseAnswer([]byte(`<R><Buckets><Bucket><Name>a</Name></Bucket><Bucket><Name>b</Name></Bucket></Buckets><One><Name>c</Name></One></R>`))
	if err != nil || strings.Join(texts(every(answer, "Buckets", "Bucket", "Name")), " ") != "a b" || strings.Join(texts(every(answer, "One", "Name")), " ") != "c" {
		t.Errorf("%v %v", answer, err)
	}
	if policy, err := parseAnswer([]byte(`{"Version":"x"}`)); err != nil || policy["text"] != `{"Version":"x"}` {
		t.Errorf("%v %v", policy, err)
	}
	a := &tenant{name: "a-1"}
	made := a.creations([]entry{
		{Kind: "s3", Write: true, Status: 200, What: "PUT /a-1-uploads"}, {Kind: "s3", Write: true, Status: 409, What: "PUT /a-1-uploads"},
		{Kind: "s3", Write: true, Status: 200, What: "PUT /a-1-uploads?versioning"}, {Kind: "iam", Write: true, Status: 200, What: "CreateUser tenant-a-1"},
		{Kind: "iam", Write: true, Status: 200, What: "CreateAccessKey tenant-a-1"}})
	if len(made) != 2 || made["s3 PUT /{T}-uploads"] != 1 || made["iam CreateUser tenant-{T}"] != 1 {
		t.Errorf("%v", made)
	}
}

func TestWhatIsForOneUseMayBeMadeAgain(t *testing.T) {
	a := &tenant{name: "a-1"}
	make := entry{Kind: "sql", Verb: "CREATE", Path: "p", What: `p: CREATE ROLE "a_1.m" LOGIN`, Tag: "CREATE ROLE", Result: "ok"}
	drop := entry{Kind: "sql", Verb: "GRANT", Path: "p", What: `p: GRANT "a_1.m" TO CURRENT_USER; DROP ROLE "a_1.m";`, Tag: "DROP ROLE", Result: "ok"}
	once, twice := a.creations([]entry{make, drop}), a.creations([]entry{make, drop, make, drop})
	if list := madeTwice(twice, []map[string]int{once}); len(list) != 0 {
		t.Errorf("%v", list)
	}
	if list := madeTwice(twice, []map[string]int{a.creations([]entry{make})}); len(list) != 1 {
		t.Errorf("%v", list)
	}
}

func TestABucketForOneUseMayBeMadeAgain(t *testing.T) {
	a := &tenant{name: "a-1"}
	make := entry{Kind: "s3", Write: true, Status: 200, What: "PUT /tenantry-probe-1"}
	drop := entry{Kind: "s3", Write: true, Status: 204, What: "DELETE /tenantry-probe-1"}
	kept := a.creations([]entry{make, {Kind: "s3", Write: true, Status: 204, What: "DELETE /tenantry-probe-1?policy"}})
	once, twice := a.creations([]entry{make, drop}), a.creations([]entry{make, drop, make, drop})
	if list := madeTwice(twice, []map[string]int{once}); len(list) != 0 {
		t.Errorf("%v", list)
	}
	if list := madeTwice(twice, []map[string]int{kept}); len(list) != 1 {
		t.Errorf("%v", list)
	}
	if list := madeTwice(a.creations([]entry{make, make, drop}), []map[string]int{kept}); len(list) != 1 {
		t.Errorf("%v", list)
	}
}

func TestCountersOfTenantsShowWhatIsWrongWithThem(t *testing.T) {
	load := func(server string, tenants float64) map[string]any {
		return map[string]any{"server": server, "tenants": tenants}
	}
	row := func(server any, status string) map[string]any {
		return map[string]any{"server": server, "status": status}
	}
	rows := []map[string]any{row("a", "active"), row("a", "suspended"), row("a", "deleted"), row("b", "active"), row(nil, "active")}
	for _, each := range []struct {
		loads []map[string]any
		wrong int
	}{
		{[]map[string]any{load("a", 2), load("b", 1)}, 0},
		{[]map[string]any{load("a", 2)}, 1},
		{[]map[string]any{load("a", 3), load("b", 1)}, 1},
		{[]map[string]any{load("a", 2), load("b", 1), load("c", -1)}, 1},
	} {
		tables := map[string][]map[string]any{"public.tenants": rows, "public.server_loads": each.loads}
		leaveMiscounts(tables)
		if left := tables["public.server_loads"]; len(left) != each.wrong {
			t.Errorf("%v: %v", each.loads, left)
		}
	}
	tables := map[string][]map[string]any{"public.tenants": rows}
	if leaveMiscounts(tables); len(tables) != 1 {
		t.Errorf("%v", tables)
	}
}
