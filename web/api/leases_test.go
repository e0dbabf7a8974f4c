package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/wal"
)

var _ Leases = journal.Meta(nil)

// leaseStore is a real one, with something of somebody else in it.
func leaseStore(t *testing.T) *wal.Store {
	t.Helper()
	s, err := wal.OpenMeta(t.TempDir(), wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.Put(t.Context(), "leasesof/else", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLeases(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Leases = leaseStore(t) })
	// The steps follow each other; %1, %2 stand for the revisions seen so far.
	var revisions []string
	for i, c := range []struct {
		method, path, condition, body string
		status                        int
		says                          string
	}{
		{"GET", "counter", "", "", 200, `{"leases":[]}`},
		{"GET", "counter/s0", "", "", 404, "no_such_lease"},
		{"PUT", "counter/s0", "", `{"a":1}`, 428, "If-None-Match"},
		{"PUT", "counter/s0", `If-Match: "7"`, `{"a":1}`, 412, "conflict"},
		{"PUT", "counter/s0", "If-None-Match: *", `{"a":1}`, 201, ""}, // %1
		{"PUT", "counter/s0", "If-None-Match: *", `{"a":2}`, 412, "conflict"},
		{"GET", "counter/s0", "", "", 200, `{"a":1}`},
		{"PUT", "counter/s0", "If-Match: %1", `{"a":2}`, 204, ""}, // %2
		{"PUT", "counter/s0", "If-Match: %1", `{"a":3}`, 412, "conflict"},
		{"PUT", "counter/s1", "If-None-Match: *", `"text"`, 201, ""},
		{"PUT", "other/s0", "If-None-Match: *", `[]`, 201, ""},
		{"GET", "counter", "", "", 200, `{"leases":[{"key":"s0","revision":%2,"value":{"a":2}},{"key":"s1","revision":%3,"value":"text"}]}`},
		{"GET", "count", "", "", 200, `{"leases":[]}`},
		{"DELETE", "counter/s0", "", "", 428, "If-Match"},
		{"DELETE", "counter/s0", "If-None-Match: *", "", 400, "only what is there"},
		{"DELETE", "counter/s0", "If-Match: %1", "", 412, "conflict"},
		{"DELETE", "counter/s0", "If-Match: %2", "", 204, ""},
		{"DELETE", "counter/s0", "If-Match: %2", "", 412, "conflict"},
		{"PUT", "counter/s0", "If-Match: %2", `{}`, 412, "conflict"},

		{"PUT", "counter/s0", `If-Match: *`, `{}`, 400, "bad_condition"},
		{"PUT", "counter/s0", `If-Match: W/"1"`, `{}`, 400, "bad_condition"},
		{"PUT", "counter/s0", `If-Match: "0"`, `{}`, 400, "bad_condition"},
		{"PUT", "counter/s0", `If-Match: 1`, `{}`, 400, "bad_condition"},
		{"PUT", "counter/s0", `If-Match: "1", "2"`, `{}`, 400, "bad_condition"},
		{"PUT", "counter/s0", `If-None-Match: "1"`, `{}`, 400, "bad_condition"},
		{"PUT", "counter/s0", "If-None-Match: *", `{`, 400, "bad_json"},
		{"PUT", "counter/s0", "If-None-Match: *", ``, 400, "empty"},
		{"PUT", "counter/s0", "If-None-Match: *", `{}{}`, 400, "more than one"},
		{"PUT", "counter/s0", "If-None-Match: *", `"` + strings.Repeat("x", maxLease) + `"`, 413, "16 KiB"},
		{"PUT", "counter/a%2Fb", "If-None-Match: *", `{}`, 400, "bad_name"},
		{"PUT", "a%20b/s0", "If-None-Match: *", `{}`, 400, "bad_name"},
		{"PUT", "counter/" + strings.Repeat("x", 129), "If-None-Match: *", `{}`, 400, "bad_name"},
		{"GET", "a%2Fb", "", "", 400, "bad_name"},
	} {
		fill := func(s string) string {
			for n, r := range revisions {
				s = strings.ReplaceAll(s, fmt.Sprint("%", n+1), r)
			}
			return s
		}
		r := httptest.NewRequest(c.method, "/api/leases/"+c.path, strings.NewReader(c.body))
		r.Header.Set("User", "root")
		if name, value, ok := strings.Cut(fill(c.condition), ": "); ok {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		f.mux.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), fill(c.says)) {
			t.Errorf("%d: %s %s %s: %d %s, want %d %s", i, c.method, c.path, c.condition, w.Code, w.Body, c.status, fill(c.says))
		}
		if c.method == "PUT" && w.Code < 300 {
			revisions = append(revisions, w.Header().Get("ETag"))
		}
	}
}

func TestLeasesRefused(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Leases = leaseStore(t) })
	none := newFixture(t, nil)
	for _, c := range []struct{ method, path string }{
		{"GET", "/api/leases/a"},
		{"GET", "/api/leases/a/k"},
		{"PUT", "/api/leases/a/k"},
		{"DELETE", "/api/leases/a/k"},
	} {
		if status, _ := f.do("viewer", c.method, c.path, ""); status != 403 {
			t.Errorf("%s %s by anybody: %d", c.method, c.path, status)
		}
		if status, _ := none.do("root", c.method, c.path, ""); status != 501 {
			t.Errorf("%s %s without a store: %d", c.method, c.path, status)
		}
	}
}

// TestTooManyLeases: an application cannot fill the store.
func TestTooManyLeases(t *testing.T) {
	s := leaseStore(t)
	f := newFixture(t, func(o *Options) { o.Leases = s })
	for n := 0; n < maxLeases; {
		var changes []journal.Change
		for range 1000 {
			changes = append(changes, journal.Change{Key: fmt.Sprintf("leases/a/k%d", n), Value: []byte("1")})
			n++
		}
		if _, err := s.Txn(t.Context(), changes...); err != nil {
			t.Fatal(err)
		}
	}
	put := func(path string) int {
		r := httptest.NewRequest("PUT", path, strings.NewReader("{}"))
		r.Header.Set("User", "root")
		r.Header.Set("If-None-Match", "*")
		w := httptest.NewRecorder()
		f.mux.ServeHTTP(w, r)
		return w.Code
	}
	if status := put("/api/leases/a/new"); status != http.StatusInsufficientStorage {
		t.Errorf("one more: %d", status)
	}
	if status := put("/api/leases/b/new"); status != http.StatusCreated {
		t.Errorf("another application: %d", status)
	}
}
