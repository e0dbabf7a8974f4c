package dir_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/buckettest"
	"github.com/kineweir/kineweir/archive/bucket/dir"
)

func open(t testing.TB) *dir.Store {
	t.Helper()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, b bucket.Bucket, key string, body []byte) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, bytes.NewReader(body), int64(len(body)), bucket.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) bucket.Bucket { return open(t) })
}

func TestConformanceMeasured(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) bucket.Bucket { return bucket.Measure(open(t)) })
}

func TestOpen(t *testing.T) {
	root := filepath.Join(t.TempDir(), "made", "by", "open")
	s, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", []byte("x"))
	again, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := again.Head(t.Context(), "k"); err != nil || o.Size != 1 {
		t.Errorf("after opening again: %+v, %v", o, err)
	}
	if _, err := dir.Open(filepath.Join(root, "k")); err == nil {
		t.Error("a file was opened as a bucket")
	}
}

// TestForeignFiles has things in the folder that are no objects: they are neither listed, read nor followed.
func TestForeignFiles(t *testing.T) {
	s := open(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a/1", []byte("x"))
	for name, err := range map[string]error{
		"link to a file":       os.Symlink(secret, filepath.Join(s.Root(), "a", "link")),
		"link to a folder":     os.Symlink(filepath.Dir(secret), filepath.Join(s.Root(), "folder")),
		"empty folder":         os.MkdirAll(filepath.Join(s.Root(), "empty", "er"), 0o700),
		"name that is no key":  os.WriteFile(filepath.Join(s.Root(), "new\nline"), nil, 0o600),
		"name that is not UTF": os.WriteFile(filepath.Join(s.Root(), "\xff"), nil, 0o600),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var listed []string
	for o, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, o.Key)
	}
	if len(listed) != 1 || listed[0] != "a/1" {
		t.Errorf("listed %q", listed)
	}
	for _, key := range []string{"a/link", "empty", "empty/er", "a"} {
		if _, err := s.Get(t.Context(), key, 0, bucket.ToEnd); !errors.Is(err, bucket.ErrAbsent) {
			t.Errorf("get %q: %v, want ErrAbsent", key, err)
		}
		if _, err := s.Head(t.Context(), key); !errors.Is(err, bucket.ErrAbsent) {
			t.Errorf("head %q: %v, want ErrAbsent", key, err)
		}
	}
}

// TestKeysInEachOther: what a file system cannot hold is refused, and harms nothing.
func TestKeysInEachOther(t *testing.T) {
	s := open(t)
	put(t, s, "file", []byte("x"))
	put(t, s, "folder/1", []byte("x"))
	spool := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(spool, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"file/1", "file/1/2", "folder"} {
		for _, ifAbsent := range []bool{false, true} {
			_, err := s.Put(t.Context(), key, strings.NewReader("y"), 1, bucket.PutOptions{IfAbsent: ifAbsent})
			if !errors.Is(err, bucket.ErrInvalidKey) {
				t.Errorf("put %q, if absent %v: %v, want ErrInvalidKey", key, ifAbsent, err)
			}
		}
		if err := s.Adopt(t.Context(), spool, key); err == nil {
			t.Errorf("adopted as %q", key)
		}
	}
	if _, err := os.Stat(spool); err != nil {
		t.Errorf("a refused file is gone: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(s.Root(), bucket.Reserved+"tmp")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestDiskFree is held against df.
func TestDiskFree(t *testing.T) {
	s := open(t)
	out, err := exec.Command("df", "-P", "-k", s.Root()).Output()
	if err != nil {
		t.Fatalf("df (package coreutils): %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	fields := strings.Fields(lines[len(lines)-1])
	wantTotal, _ := strconv.ParseInt(fields[1], 10, 64)
	wantFree, _ := strconv.ParseInt(fields[3], 10, 64)
	free, total, err := s.DiskFree()
	if err != nil {
		t.Fatal(err)
	}
	if d := free/1024 - wantFree; total/1024 != wantTotal || max(d, -d) > wantTotal/50 { // others write meanwhile
		t.Errorf("%d KiB free of %d, df says %d of %d", free/1024, total/1024, wantFree, wantTotal)
	}
	if _, _, err := dir.DiskFree(filepath.Join(s.Root(), "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
}

// TestToSocket copies an object to a TCP connection, the way without a copy through this process.
func TestToSocket(t *testing.T) {
	s := open(t)
	body := buckettest.Body(1, 9<<20) // more than is handed over at once
	put(t, s, "k", body)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- nil
			return
		}
		defer c.Close()
		p, _ := io.ReadAll(c)
		got <- p
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "k", 7, int64(len(body))-9)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n, err := io.Copy(c, r)
	c.Close()
	if p := <-got; err != nil || n != int64(len(body))-9 || !bytes.Equal(p, body[7:len(body)-2]) {
		t.Errorf("%d bytes sent, %d received, %v", n, len(p), err)
	}
}

// TestShrunkFile has a file lose its end under a reader.
func TestShrunkFile(t *testing.T) {
	s := open(t)
	for name, drain := range map[string]func(r io.Reader) error{
		"read":     func(r io.Reader) error { _, err := io.ReadAll(r); return err },
		"write to": func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err },
	} {
		put(t, s, "k", buckettest.Body(1, 100_000))
		r, err := s.Get(t.Context(), "k", 0, bucket.ToEnd)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(s.Root(), "k"), 50_000); err != nil {
			t.Fatal(err)
		}
		if err := drain(r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v, want io.ErrUnexpectedEOF", name, err)
		}
		r.Close()
	}
}

// TestChurn lets puts, adoptions and deletions that remove and make the same folders race, from two stores on
// one root, and checks each acknowledged object.
func TestChurn(t *testing.T) {
	const workers, rounds = 6, 150
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d workers, %d rounds each", seed, workers, rounds)
	first := open(t)
	second, err := dir.Open(first.Root())
	if err != nil {
		t.Fatal(err)
	}
	spools := t.TempDir()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			s := []*dir.Store{first, second}[w%2]
			for i := range rounds {
				key := fmt.Sprintf("x/%d/%d/w%d", rng.IntN(2), rng.IntN(2), w)
				body := buckettest.Body(uint64(w*rounds+i), 100)
				var err error
				if rng.IntN(3) == 0 {
					path := filepath.Join(spools, fmt.Sprintf("%d-%d", w, i))
					err = errors.Join(os.WriteFile(path, body, 0o600), s.Adopt(t.Context(), path, key))
				} else {
					_, err = s.Put(t.Context(), key, bytes.NewReader(body), 100, bucket.PutOptions{IfAbsent: i%2 == 0})
				}
				if err == nil {
					_, err = bucket.Same(t.Context(), s, key, bytes.NewReader(body), 100)
				}
				if err == nil {
					err = s.Delete(t.Context(), key)
				}
				if err != nil {
					t.Errorf("worker %d, round %d: %v", w, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(first.Root())
	if err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func BenchmarkPut16MiB(b *testing.B) {
	s := open(b)
	body := bytes.NewReader(buckettest.Body(1, 16<<20))
	b.SetBytes(16 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Put(b.Context(), "bench/object", body, 16<<20, bucket.PutOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAdopt(b *testing.B) {
	s := open(b)
	path := filepath.Join(s.Root(), "spool")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			b.Fatal(err)
		}
		if err := s.Adopt(b.Context(), path, fmt.Sprintf("bench/%d", i)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetRange(b *testing.B) {
	s := open(b)
	put(b, s, "bench", buckettest.Body(1, 16<<20))
	buf := make([]byte, 64<<10)
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Get(b.Context(), "bench", 1<<20, 64<<10)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(r, buf); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}

func BenchmarkList1000(b *testing.B) {
	s := open(b)
	for i := range 1000 {
		put(b, s, fmt.Sprintf("bench/%d/%d", i/100, i), nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range s.List(b.Context(), "", "") {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
