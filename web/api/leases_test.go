package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/consumer"
	"github.com/kineweir/kineweir/datastream/consumer/remote"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
	"github.com/kineweir/kineweir/datastream/journal/wal"
)

var _ Leases = journal.Meta(nil)

// unsynced is a file system that does not wait for the disk.
type unsynced struct{ vfs.OS }

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error { return nil }

func (u unsynced) Create(name string) (vfs.File, error) {
	f, err := u.OS.Create(name)
	return unsyncedFile{f}, err
}

func (unsynced) SyncDir(string) error { return nil }

// leaseStore is a real one, with something of somebody else in it.
func leaseStore(t *testing.T) *wal.Store {
	t.Helper()
	s, err := wal.OpenMeta(t.TempDir(), wal.Options{FS: unsynced{}})
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

// shardsOfTen is a stream of closed shards with ten records each.
type shardsOfTen int

func (n shardsOfTen) Shards(context.Context) ([]consumer.Shard, error) {
	var list []consumer.Shard
	for i, r := range datastream.SplitEvenly(int(n)) {
		list = append(list, consumer.Shard{ID: fmt.Sprintf("shardId-%012d", i), Range: r})
	}
	return list, nil
}

func (shardsOfTen) Iterator(_ context.Context, shard string, at datastream.Start) (string, error) {
	return shard + "/" + at.Sequence, nil
}

func (shardsOfTen) Records(_ context.Context, iterator string, _ int) (consumer.Page, error) {
	shard, after, _ := strings.Cut(iterator, "/")
	n, _ := strconv.Atoi(after)
	if n == 10 {
		return consumer.Page{}, nil
	}
	next := strconv.Itoa(n + 1)
	return consumer.Page{Records: []consumer.Record{{Sequence: next}}, Next: shard + "/" + next, Behind: 1}, nil
}

// TestConsumersShare: two workers share a stream by way of this API and the
// client of it, and handle each record once.
func TestConsumersShare(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Leases = leaseStore(t) })
	server := httptest.NewServer(f.mux)
	defer server.Close()
	client := &remote.Client{Endpoint: server.URL, Sign: func(r *http.Request, _ []byte) error {
		r.Header.Set("User", "root")
		return nil
	}}
	var mu sync.Mutex
	handled, by, ended := map[string]int{}, map[string]int{}, 0
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var wg sync.WaitGroup
	for _, worker := range []string{"a", "b"} {
		wg.Go(func() {
			err := consumer.Run(ctx, consumer.Options{
				App: "app", Worker: worker, Source: shardsOfTen(8), Leases: client.Leases(), Failover: 3 * time.Second,
				Handle: func(_ context.Context, b consumer.Batch) error {
					time.Sleep(100 * time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					for _, r := range b.Records {
						handled[b.Shard+"/"+r.Sequence]++
						by[worker]++
					}
					if b.End {
						if ended++; ended == 8 {
							stop()
						}
					}
					return nil
				},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(handled) != 80 || by["a"]+by["b"] != 80 || by["a"] == 0 || by["b"] == 0 {
		t.Errorf("%d of 80 records handled, %v", len(handled), by)
	}
	leases, err := client.Leases().List(t.Context(), "app")
	if err != nil || len(leases) != 9 {
		t.Errorf("%d leases, %v", len(leases), err)
	}
	for _, l := range leases {
		if strings.HasPrefix(l.Key, "shard") && !strings.Contains(string(l.Value), `"from":"SHARD_END"`) {
			t.Errorf("%s: %s", l.Key, l.Value)
		}
	}
}
