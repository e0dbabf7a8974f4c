package buckettest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kineweir/kineweir/archive/bucket"
)

// testListOrder has names that sort before and after a slash beside folders of the same beginning: the order
// is of the bytes of keys, not of a tree.
func testListOrder(t *testing.T, b bucket.Bucket) {
	all := []string{
		"a b/1", "a!/1", "a+", "a-b/1", "a-b/2", "a.mp4", "a/1", "a/1-", "a/10", "a/2/x", "a/2/y", "a/2x", "a0/deep/er/x",
		"b/2026/11/23/16/1-1.mp4", "b/2026/11/23/17/1-2.mp4", "b/2026/12/01/00/1-3.mp4", "b@1/x", "c",
	}
	for i, key := range all {
		put(t, b, all[(i*7)%len(all)], []byte(key), bucket.PutOptions{})
	}
	slices.Sort(all)
	prefixes := []string{"", "a", "a/", "a/1", "a/2", "a/2/", "a-", "a0/", "b/2026/11/23", "b/2026/11/23/17/", "c", "cc", "b/2026/13/", "/", "a//", "..", ".", "a/..", "a/../", "./"}
	afters := []string{"", "a", "a-b/1", "a.", "a/", "a/1", "a/10", "a/2/x", "a/2/zzz", "a0/deep", "b/2026/11/23/16/1-1.mp4", "b/2026/12", "c", "zzz", "/"}
	for _, prefix := range prefixes {
		for _, after := range afters {
			want := slices.DeleteFunc(slices.Clone(all), func(k string) bool { return !strings.HasPrefix(k, prefix) || k <= after })
			if len(want) == 0 {
				want = nil
			}
			wantKeys(t, b, prefix, after, want)
		}
	}
}

// testListPages has more keys than a page of S3 (1,000), and walks abandoned and taken up again.
func testListPages(t *testing.T, b bucket.Bucket) {
	const n = 1050
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprintf("p/%02d/%04d", i/100, i)
	}
	parallel(t, 16, n, func(i int) error {
		_, err := b.Put(t.Context(), want[i], strings.NewReader("x"), 1, bucket.PutOptions{})
		return err
	})
	wantKeys(t, b, "", "", want)
	wantKeys(t, b, "p/", want[1001], want[1002:])
	wantKeys(t, b, "p/03/", "", want[300:400])

	seen := 0
	for o, err := range b.List(t.Context(), "p/", "") {
		if err != nil || o.Key != want[seen] || o.Size != 1 {
			t.Fatalf("%+v, %v at %d", o, err, seen)
		}
		if seen++; seen == 5 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen = 0
	var last error
	for o, err := range b.List(ctx, "p/", "") {
		if last = err; err == nil && o.Key != want[seen] {
			t.Fatalf("%q at %d", o.Key, seen)
		}
		if seen++; seen == 500 {
			cancel()
		}
	}
	// A page that was fetched may be given to its end.
	if seen < n && !errors.Is(last, context.Canceled) || seen == n && last != nil {
		t.Errorf("cancelled walk ended after %d keys with %v", seen, last)
	}
}

// parallel calls f for 0 to n-1 from some goroutines and fails the test with the first errors.
func parallel(t *testing.T, workers, n int, f func(i int) error) {
	t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
