// Package buckettest holds what every object store must keep to: Run is the conformance suite for
// bucket.Bucket, Outage the one for a store whose server dies and comes back, and StartMinIO and
// StartVersityGW run real servers for them on loopback.
//
// It owns the processes it starts and ends each by its own id. It is for tests only and never builds or
// downloads anything: .ci/servers.sh does.
package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
)

// Run holds a store to the contract of bucket.Bucket. open gives an empty bucket each time; the objects of one
// never show in another. The suite puts an object of 40 MiB: let the store's part size be 5 MiB to 16 MiB where
// it has one, so that it is put in parts.
func Run(t *testing.T, open func(t *testing.T) bucket.Bucket) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, b bucket.Bucket)
	}{
		{"put get head", testRoundTrip},
		{"empty object", testEmpty},
		{"ranges", testRanges},
		{"absent", testAbsent},
		{"invalid keys", testInvalidKeys},
		{"odd keys", testOddKeys},
		{"replace", testReplace},
		{"if absent", testIfAbsent},
		{"race of writers", testRace},
		{"ensure", testEnsure},
		{"delete", testDelete},
		{"list order", testListOrder},
		{"list pages", testListPages},
		{"short body", testShortBody},
		{"failing body", testFailingBody},
		{"body let go", testBodyLetGo},
		{"readers see whole objects", testAtomic},
		{"large object", testLarge},
		{"cancelled", testCancelled},
		{"cancelled midway", testCancelledMidway},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Body is size bytes that look random and depend on seed alone.
func Body(seed uint64, size int) []byte {
	p := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	rng.Read(p)
	return p
}

func put(t *testing.T, b bucket.Bucket, key string, body []byte, opts bucket.PutOptions) bucket.Object {
	t.Helper()
	o, err := b.Put(t.Context(), key, bytes.NewReader(body), int64(len(body)), opts)
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return o
}

func get(ctx context.Context, b bucket.Bucket, key string, offset, length int64) ([]byte, error) {
	r, err := b.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func wantBody(t *testing.T, b bucket.Bucket, key string, want []byte) {
	t.Helper()
	have, err := get(t.Context(), b, key, 0, bucket.ToEnd)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	if !bytes.Equal(have, want) {
		t.Fatalf("get %q: %d bytes that differ from the %d put", key, len(have), len(want))
	}
}

func wantAbsent(t *testing.T, b bucket.Bucket, key string) {
	t.Helper()
	if o, err := b.Head(t.Context(), key); !errors.Is(err, bucket.ErrAbsent) {
		t.Fatalf("head %q = %+v, %v, want ErrAbsent", key, o, err)
	}
	if _, err := get(t.Context(), b, key, 0, bucket.ToEnd); !errors.Is(err, bucket.ErrAbsent) {
		t.Fatalf("get %q: %v, want ErrAbsent", key, err)
	}
}

func keys(t *testing.T, b bucket.Bucket, prefix, after string) []string {
	t.Helper()
	var have []string
	for o, err := range b.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatalf("list %q after %q: %v", prefix, after, err)
		}
		have = append(have, o.Key)
	}
	return have
}

func wantKeys(t *testing.T, b bucket.Bucket, prefix, after string, want []string) {
	t.Helper()
	if have := keys(t, b, prefix, after); !slices.Equal(have, want) {
		t.Errorf("list %q after %q:\nhave %q\nwant %q", prefix, after, have, want)
	}
}

func testRoundTrip(t *testing.T, b bucket.Bucket) {
	body := Body(1, 300_000)
	before := time.Now()
	o := put(t, b, "video/cam@1700000000000/2026/11/23/16/1-2.mp4", body, bucket.PutOptions{ContentType: "video/mp4"})
	wantBody(t, b, o.Key, body)
	h, err := b.Head(t.Context(), o.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []bucket.Object{o, h} {
		if x.Key != "video/cam@1700000000000/2026/11/23/16/1-2.mp4" || x.Size != int64(len(body)) || x.ETag == "" {
			t.Errorf("object is %+v", x)
		}
		// Stores keep whole seconds at worst, and file systems the clock of their last tick.
		if x.Modified.Before(before.Add(-2*time.Second)) || x.Modified.After(time.Now().Add(2*time.Second)) {
			t.Errorf("modified at %v, put at %v", x.Modified, before)
		}
		if sum, _ := bucket.Checksum(bytes.NewReader(body), int64(len(body))); x.Checksum != "" && x.Checksum != sum {
			t.Errorf("store attests %s, body has %s", x.Checksum, sum)
		}
	}
	if o.ETag != h.ETag || o.Checksum != h.Checksum {
		t.Errorf("put says %+v, head %+v", o, h)
	}
	for l, err := range b.List(t.Context(), "", "") {
		if err != nil || l.Key != o.Key || l.Size != o.Size || l.ETag != o.ETag || l.Modified.IsZero() {
			t.Errorf("list says %+v, %v; put %+v", l, err, o)
		}
	}
}

func testEmpty(t *testing.T, b bucket.Bucket) {
	o := put(t, b, "a/empty", nil, bucket.PutOptions{IfAbsent: true})
	if h, err := b.Head(t.Context(), "a/empty"); err != nil || h.Size != 0 || o.Size != 0 {
		t.Errorf("put %+v, head %+v, %v", o, h, err)
	}
	wantBody(t, b, "a/empty", nil)
	wantKeys(t, b, "", "", []string{"a/empty"})
}

func testRanges(t *testing.T, b bucket.Bucket) {
	const size = 100_000
	body := Body(2, size)
	put(t, b, "r", body, bucket.PutOptions{})
	put(t, b, "zero", nil, bucket.PutOptions{})
	for _, c := range []struct {
		key            string
		offset, length int64
		have           int64 // -1: a RangeError
	}{
		{"r", 0, size, size},
		{"r", 0, bucket.ToEnd, size},
		{"r", 0, 1, 1},
		{"r", 0, 0, 0},
		{"r", 17, 0, 0},
		{"r", 1, 4095, 4095},
		{"r", 65_535, 2, 2},
		{"r", 65_535, bucket.ToEnd, size - 65_535},
		{"r", size - 1, 1, 1},
		{"r", size - 1, bucket.ToEnd, 1},
		{"r", size, bucket.ToEnd, 0},
		{"r", size, 0, 0},
		{"r", size, 1, -1},
		{"r", size - 1, 2, -1},
		{"r", size + 1, bucket.ToEnd, -1},
		{"r", size + 1, 0, -1},
		{"r", size + 1, 10, -1},
		{"r", 0, size + 1, -1},
		{"r", -1, 1, -1},
		{"r", 0, -2, -1},
		{"r", 1, 1<<63 - 1, -1},
		{"zero", 0, 0, 0},
		{"zero", 0, bucket.ToEnd, 0},
		{"zero", 0, 1, -1},
		{"zero", 1, bucket.ToEnd, -1},
	} {
		have, err := get(t.Context(), b, c.key, c.offset, c.length)
		if c.have < 0 {
			var re *bucket.RangeError
			if !errors.As(err, &re) || re.Key != c.key || re.Offset != c.offset || re.Length != c.length {
				t.Errorf("%s %d+%d: %d bytes, error %v, want a RangeError with the coordinates", c.key, c.offset, c.length, len(have), err)
			} else if c.key == "r" && re.Size != size {
				t.Errorf("%s %d+%d: RangeError says the size is %d", c.key, c.offset, c.length, re.Size)
			}
			continue
		}
		if err != nil || int64(len(have)) != c.have || c.key == "r" && !bytes.Equal(have, body[c.offset:c.offset+c.have]) {
			t.Errorf("%s %d+%d: %d bytes, error %v", c.key, c.offset, c.length, len(have), err)
		}
	}
}

func testAbsent(t *testing.T, b bucket.Bucket) {
	put(t, b, "a/b/c", []byte("x"), bucket.PutOptions{})
	for _, key := range []string{"nothing", "a", "a/b", "a/b/d", "a/b/c/d", "a/b/cc", "z/z/z"} {
		wantAbsent(t, b, key)
		if err := b.Delete(t.Context(), key); err != nil {
			t.Errorf("delete of absent %q: %v", key, err)
		}
		if _, err := get(t.Context(), b, key, 5, 10); !errors.Is(err, bucket.ErrAbsent) {
			t.Errorf("range of absent %q: %v", key, err)
		}
		if _, err := get(t.Context(), b, key, 5, 0); !errors.Is(err, bucket.ErrAbsent) {
			t.Errorf("empty range of absent %q: %v", key, err)
		}
	}
	wantBody(t, b, "a/b/c", []byte("x"))
	wantKeys(t, b, "nothing", "", nil)
	wantKeys(t, b, "a/b/c/", "", nil)
	wantKeys(t, b, "../", "", nil)
}

func testInvalidKeys(t *testing.T, b bucket.Bucket) {
	for _, key := range []string{"", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\x00b", "a\nb", `a\b`, "\xff", bucket.Reserved + "tmp/x", strings.Repeat("k", 256)} {
		_, perr := b.Put(t.Context(), key, strings.NewReader("x"), 1, bucket.PutOptions{})
		_, gerr := b.Get(t.Context(), key, 0, bucket.ToEnd)
		_, herr := b.Head(t.Context(), key)
		for i, err := range []error{perr, gerr, herr, b.Delete(t.Context(), key)} {
			if !errors.Is(err, bucket.ErrInvalidKey) {
				t.Errorf("%s of %q: %v, want ErrInvalidKey", []string{"put", "get", "head", "delete"}[i], key, err)
			}
		}
	}
	wantKeys(t, b, "", "", nil)
}

// OddKeys are valid keys that a careless store loses, folds together or escapes wrongly.
func OddKeys() []string {
	return []string{
		"with space", "two  spaces/in a row", " leading", "trailing ", "plus+sign", "a+b c%20d", "per%cent", "%2F", "100%",
		"cam@1700000000000", "eq=amp&quest?ion", "hash#tag", "semi;colon,comma", "quote'\"quote", "<angle>", "star*", "pipe|",
		"tilde~", "paren(s)", "curly{}[]", "colon:", "dollar$", "bang!", "caret^", "grave`",
		"ümlaut", "日本語/カメラ", "emoji/📹", "combining/e\u0301", "combining/\u00e9", "Case", "case", "CASE",
		".dot", "..dots", "...", "dot./x", "-dash", "_under", "1", "01",
		strings.Repeat("n", 200) + "/" + strings.Repeat("é", 100) + "/end",
	}
}

func testOddKeys(t *testing.T, b bucket.Bucket) {
	want := OddKeys()
	for i, key := range want {
		put(t, b, key, Body(uint64(i), 50+i), bucket.PutOptions{IfAbsent: i%2 == 0})
	}
	slices.Sort(want)
	wantKeys(t, b, "", "", want)
	for i, key := range OddKeys() {
		wantBody(t, b, key, Body(uint64(i), 50+i))
		if h, err := b.Head(t.Context(), key); err != nil || h.Key != key || h.Size != int64(50+i) {
			t.Errorf("head %q: %+v, %v", key, h, err)
		}
		before := ""
		if i := slices.Index(want, key); i > 0 {
			before = want[i-1]
		}
		wantKeys(t, b, key, before, slices.DeleteFunc(slices.Clone(want), func(k string) bool {
			return !strings.HasPrefix(k, key)
		}))
	}
	for _, prefix := range []string{".", "..", "...", "%", " ", "+", "日", "c", "combining/e"} {
		wantKeys(t, b, prefix, "", slices.DeleteFunc(slices.Clone(want), func(k string) bool { return !strings.HasPrefix(k, prefix) }))
	}
	for _, key := range want {
		if err := b.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %q: %v", key, err)
		}
	}
	wantKeys(t, b, "", "", nil)
}

func testReplace(t *testing.T, b bucket.Bucket) {
	tags := map[string]bool{}
	for i := range 4 {
		body := Body(uint64(i), 1000)
		o := put(t, b, "same/key", body, bucket.PutOptions{})
		if tags[o.ETag] {
			t.Errorf("replacement %d has the ETag %q of an earlier one", i, o.ETag)
		}
		tags[o.ETag] = true
		wantBody(t, b, "same/key", body)
	}
	put(t, b, "same/key", Body(9, 10), bucket.PutOptions{})
	wantBody(t, b, "same/key", Body(9, 10))
	wantKeys(t, b, "", "", []string{"same/key"})
}

func testIfAbsent(t *testing.T, b bucket.Bucket) {
	opts := bucket.PutOptions{IfAbsent: true}
	put(t, b, "once", []byte("first"), opts)
	for _, other := range []string{"first", "second", ""} {
		_, err := b.Put(t.Context(), "once", strings.NewReader(other), int64(len(other)), opts)
		if !errors.Is(err, bucket.ErrExists) {
			t.Errorf("put again: %v, want ErrExists", err)
		}
		wantBody(t, b, "once", []byte("first"))
	}
	if err := b.Delete(t.Context(), "once"); err != nil {
		t.Fatal(err)
	}
	put(t, b, "once", []byte("third"), opts)
	wantBody(t, b, "once", []byte("third"))
}

func testEnsure(t *testing.T, b bucket.Bucket) {
	body := Body(3, 200_000)
	ensure := func(p []byte) error {
		_, err := bucket.Ensure(t.Context(), b, "e/1", bytes.NewReader(p), int64(len(p)), bucket.PutOptions{})
		return err
	}
	if err := errors.Join(ensure(body), ensure(body)); err != nil {
		t.Fatalf("ensure twice: %v", err)
	}
	wrong := bytes.Clone(body)
	wrong[150_000] ^= 1
	for name, p := range map[string][]byte{"a flipped bit": wrong, "a shorter one": body[:100], "a longer one": append(bytes.Clone(body), 0)} {
		if err := ensure(p); !errors.Is(err, bucket.ErrExists) || !errors.Is(err, bucket.ErrCorrupt) {
			t.Errorf("ensure %s over the object: %v, want ErrExists and ErrCorrupt", name, err)
		}
	}
	wantBody(t, b, "e/1", body)
}

func testDelete(t *testing.T, b bucket.Bucket) {
	for i := range 3 {
		put(t, b, fmt.Sprintf("d/x/%d", i), []byte("x"), bucket.PutOptions{})
	}
	for range 2 {
		if err := b.Delete(t.Context(), "d/x/1"); err != nil {
			t.Fatal(err)
		}
	}
	wantAbsent(t, b, "d/x/1")
	wantKeys(t, b, "", "", []string{"d/x/0", "d/x/2"})
	for i := range 3 {
		if err := b.Delete(t.Context(), fmt.Sprintf("d/x/%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	wantKeys(t, b, "", "", nil)
	put(t, b, "d", []byte("where a folder was"), bucket.PutOptions{IfAbsent: true})
	wantKeys(t, b, "", "", []string{"d"})
}
