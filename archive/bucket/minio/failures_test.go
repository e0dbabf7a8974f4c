package minio_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	s3 "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/buckettest"
	"github.com/kineweir/kineweir/archive/bucket/minio"
)

func put(t *testing.T, b bucket.Bucket, key string, body []byte, opts bucket.PutOptions) bucket.Object {
	t.Helper()
	o, err := b.Put(t.Context(), key, bytes.NewReader(body), int64(len(body)), opts)
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return o
}

func read(t *testing.T, b bucket.Bucket, key string) []byte {
	t.Helper()
	r, err := b.Get(t.Context(), key, 0, bucket.ToEnd)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// calls makes each call of a bucket, on the object "there".
func calls(b bucket.Bucket) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"PUT": func(ctx context.Context) error {
			_, err := b.Put(ctx, "there", strings.NewReader("x"), 1, bucket.PutOptions{})
			return err
		},
		"GET": func(ctx context.Context) error {
			r, err := b.Get(ctx, "there", 0, 1)
			if err == nil {
				err = r.Close()
			}
			return err
		},
		"HEAD":   func(ctx context.Context) error { _, err := b.Head(ctx, "there"); return err },
		"DELETE": func(ctx context.Context) error { return b.Delete(ctx, "there") },
	}
}

func TestPassingErrorsAreTriedAgain(t *testing.T) {
	server := buckettest.StartVersityGW(t)
	answer := func(status int, code string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, _ http.Handler) { refuse(w, status, code) }
	}
	for name, spoil := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"500 InternalError":    answer(500, "InternalError"),
		"502":                  answer(502, ""),
		"503 SlowDown":         answer(503, "SlowDown"),
		"503 not initialised":  answer(503, "XMinioServerNotInitialized"),
		"504":                  answer(504, ""),
		"429":                  answer(429, "TooManyRequests"),
		"408":                  answer(408, "RequestTimeout"),
		"409 OperationAborted": answer(409, "OperationAborted"),
		"damaged":              answer(400, "BadDigest"),
		"broken connection":    func(w http.ResponseWriter, r *http.Request, _ http.Handler) { drop(w) },
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, server)
			opts := options(server)
			opts.Endpoint, opts.Backoff, opts.Prefix = p.URL, time.Millisecond, name
			store := open(t, opts)
			for verb, call := range calls(store) {
				if verb == "HEAD" && strings.Contains("409 OperationAborted, damaged", name) {
					continue // the code would be in the body, which it has not
				}
				p.with(nil)
				put(t, store, "there", []byte("x"), bucket.PutOptions{})
				p.with(times(2, method(verb), spoil))
				if err := call(t.Context()); err != nil {
					t.Errorf("%s, twice: %v", verb, err)
				}
				p.with(times(1000, method(verb), spoil))
				err := call(t.Context())
				if err == nil || errors.Is(err, bucket.ErrRefused) || errors.Is(err, bucket.ErrAbsent) {
					t.Errorf("%s, always: %v", verb, err)
				}
				// HTTP itself asks once more when a connection that was kept breaks.
				if n := len(p.requests()); n != 4 && !(n == 5 && name == "broken connection") {
					t.Errorf("%s, always: %d requests, want 4 attempts: %q", verb, n, p.requests())
				}
			}
		})
	}
}

func TestLastingErrorsAreNot(t *testing.T) {
	server := buckettest.StartVersityGW(t)
	p := startProxy(t, server)
	store := proxied(t, server, p)
	put(t, store, "there", []byte("x"), bucket.PutOptions{})
	for _, c := range []struct {
		status     int
		code, hint string
		is         error
	}{
		{403, "AccessDenied", "s3:PutObject", bucket.ErrRefused},
		{403, "InvalidAccessKeyId", "does not know the access key", bucket.ErrRefused},
		{403, "RequestTimeTooSkewed", "clocks", bucket.ErrRefused},
		{403, "ExpiredToken", "expired", bucket.ErrRefused},
		{403, "SomethingNew", "s3:PutObject", bucket.ErrRefused},
		{403, "AllAccessDisabled", "disabled", bucket.ErrRefused},
		{403, "InvalidObjectState", "cold storage", bucket.ErrRefused},
		{404, "NoSuchBucket", "make it", bucket.ErrRefused},
		{301, "PermanentRedirect", "region", bucket.ErrRefused},
		{400, "AuthorizationHeaderMalformed", "region", bucket.ErrRefused},
		{405, "MethodNotAllowed", "console", bucket.ErrRefused},
		{501, "NotImplemented", "lacks a part of S3", bucket.ErrRefused},
		{400, "InvalidArgument", "InvalidArgument", bucket.ErrRefused},
		{507, "XMinioStorageFull", "full", bucket.ErrFull},
		{400, "QuotaExceeded", "full", bucket.ErrFull},
	} {
		p.with(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { refuse(w, c.status, c.code) })
		for verb, call := range calls(store) {
			if verb == "HEAD" {
				continue // has no body to say a code in
			}
			before := len(p.requests())
			err := call(t.Context())
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.hint) && !strings.Contains(err.Error(), "spoilt by the test") {
				t.Errorf("%s answered with %s: %v, want %v with %q", verb, c.code, err, c.is, c.hint)
			}
			if c.code != "InvalidArgument" && !strings.Contains(err.Error(), c.hint) {
				t.Errorf("%s answered with %s: no %q in: %v", verb, c.code, c.hint, err)
			}
			if n := len(p.requests()) - before; n != 1 {
				t.Errorf("%s answered with %s: %d requests, want 1", verb, c.code, n)
			}
		}
	}
}

// TestWrongSettings has real servers refuse, with what people get wrong.
func TestWrongSettings(t *testing.T) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			for _, c := range []struct {
				what   string
				change func(o *minio.Options)
				hint   string
			}{
				{"access key", func(o *minio.Options) { o.AccessKey = "wrong" }, "access key"},
				{"secret key", func(o *minio.Options) { o.SecretKey = "wrong" }, "secret key is wrong"},
				{"bucket", func(o *minio.Options) { o.Bucket, o.CreateBucket = "not-there", false }, "the bucket does not exist: make it"},
				{"tls", func(o *minio.Options) { o.Secure = true }, "does not speak TLS"},
			} {
				opts := options(server)
				c.change(&opts)
				store := open(t, opts)
				begun := time.Now()
				for verb, call := range calls(store) {
					// An answer to HEAD has no body to say more in than "forbidden".
					if err := call(t.Context()); !errors.Is(err, bucket.ErrRefused) || verb != "HEAD" && !strings.Contains(err.Error(), c.hint) {
						t.Errorf("wrong %s, %s: %v, want ErrRefused with %q", c.what, verb, err, c.hint)
					}
				}
				var lerr error
				for _, err := range store.List(t.Context(), "", "") {
					lerr = err
				}
				for verb, err := range map[string]error{"LIST": lerr, "check": store.Check(t.Context())} {
					if !errors.Is(err, bucket.ErrRefused) {
						t.Errorf("wrong %s, %s: %v, want ErrRefused", c.what, verb, err)
					}
				}
				if d := time.Since(begun); d > 5*time.Second {
					t.Errorf("wrong %s: took %v, as if tried again", c.what, d)
				}
			}
			store := open(t, options(server))
			if err := store.Check(t.Context()); err != nil {
				t.Errorf("check with right settings: %v", err)
			}
			for o, err := range store.List(t.Context(), "", "") {
				t.Errorf("check left %+v, %v", o, err)
			}
		})
	}
}

// TestLostBucket takes the bucket away from under a store that has seen it: no object may be called absent for
// that, and the bucket must not be made anew in silence.
func TestLostBucket(t *testing.T) {
	server := buckettest.StartVersityGW(t)
	store := open(t, options(server))
	put(t, store, "there", []byte("x"), bucket.PutOptions{})
	if err := os.RemoveAll(filepath.Join(server.Dir, "kineweir")); err != nil {
		t.Fatal(err)
	}
	for verb, call := range calls(store) {
		if err := call(t.Context()); !errors.Is(err, bucket.ErrRefused) || errors.Is(err, bucket.ErrAbsent) {
			t.Errorf("%s: %v, want ErrRefused", verb, err)
		}
	}
	if _, err := os.Stat(filepath.Join(server.Dir, "kineweir")); err == nil {
		t.Error("the bucket was made anew")
	}
}

// forwardThenDrop lets the server do what it was asked and loses its answer.
func forwardThenDrop(w http.ResponseWriter, r *http.Request, real http.Handler) {
	real.ServeHTTP(httptest.NewRecorder(), r)
	drop(w)
}

func TestLostAnswers(t *testing.T) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) { testLostAnswers(t, start(t)) })
	}
}

func testLostAnswers(t *testing.T, server *buckettest.Server) {
	p := startProxy(t, server)
	store := proxied(t, server, p)
	once := bucket.PutOptions{IfAbsent: true}
	small, large := buckettest.Body(1, 1000), buckettest.Body(2, 11<<20)

	put(t, store, "first", nil, once) // makes the bucket
	p.with(times(1, method("PUT"), forwardThenDrop))
	put(t, store, "small", small, once)
	if !bytes.Equal(read(t, store, "small"), small) {
		t.Error("small: other bytes")
	}
	complete := func(r *http.Request) bool { return r.Method == "POST" && r.URL.Query().Get("uploadId") != "" }
	for key, opts := range map[string]bucket.PutOptions{"large": once, "large, whoever was first": {}} {
		p.with(times(1, complete, forwardThenDrop))
		put(t, store, key, large, opts)
		if !bytes.Equal(read(t, store, key), large) {
			t.Errorf("%s: other bytes", key)
		}
	}

	// The first try never arrives, and someone else takes the key before the second: with the same bytes even,
	// which makes it no less theirs.
	other := open(t, options(server))
	for key, body := range map[string][]byte{"taken/small": small, "taken/large": large} {
		for _, theirs := range [][]byte{body, []byte("theirs")} {
			begun := func(r *http.Request) bool {
				return r.Method == "PUT" && !r.URL.Query().Has("partNumber") || complete(r)
			}
			p.with(times(1, begun, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				if _, err := other.Put(r.Context(), key, bytes.NewReader(theirs), int64(len(theirs)), once); err != nil {
					t.Error(err)
				}
				drop(w)
			}))
			if _, err := store.Put(t.Context(), key, bytes.NewReader(body), int64(len(body)), once); !errors.Is(err, bucket.ErrExists) {
				t.Errorf("%s: %v, want ErrExists", key, err)
			}
			if have := read(t, other, key); !bytes.Equal(have, theirs) {
				t.Errorf("%s: the other's object was replaced", key)
			}
			if err := other.Delete(t.Context(), key); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestDamagedOnTheWay flips a bit of a body, which the server must notice and the store mend.
func TestDamagedOnTheWay(t *testing.T) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			p := startProxy(t, server)
			store := proxied(t, server, p)
			put(t, store, "first", nil, bucket.PutOptions{})
			for _, size := range []int{10_000, 11 << 20} {
				body := buckettest.Body(3, size)
				damaged := 0
				p.with(times(1, method("PUT"), func(w http.ResponseWriter, r *http.Request, real http.Handler) {
					wire, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					wire[len(wire)/2] ^= 4
					damaged++
					r.Body = io.NopCloser(bytes.NewReader(wire))
					real.ServeHTTP(w, r)
				}))
				put(t, store, "damaged", body, bucket.PutOptions{})
				if !bytes.Equal(read(t, store, "damaged"), body) || damaged != 1 {
					t.Errorf("%d bytes: other bytes, damaged %d times", size, damaged)
				}
			}
		})
	}
}

// TestVerify has the server speak of another object than was put.
func TestVerify(t *testing.T) {
	server := buckettest.StartVersityGW(t)
	p := startProxy(t, server)
	store := proxied(t, server, p)
	body := buckettest.Body(4, 5000)
	head := func(change func(h http.Header)) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, real http.Handler) {
			if r.Method != "HEAD" {
				real.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			real.ServeHTTP(rec, r)
			change(rec.Header())
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
		}
	}
	const sum = "X-Amz-Checksum-Crc32c"
	for _, c := range []struct {
		name   string
		change func(h http.Header)
		fault  string // "" : verified
	}{
		{"as it is", func(h http.Header) {}, ""},
		{"other checksum", func(h http.Header) { h.Set(sum, "AAAAAA==") }, "checksum"},
		{"other size", func(h http.Header) { h.Set("Content-Length", "4999") }, "size"},
		{"no checksum", func(h http.Header) { h.Del(sum) }, ""},
		{"no checksum, other MD5", func(h http.Header) { h.Del(sum); h.Set("Etag", `"00000000000000000000000000000000"`) }, "MD5"},
		{"checksum of checksums, other MD5", func(h http.Header) {
			h.Set(sum, "AAAAAA==-2")
			h.Set("Etag", `"00000000000000000000000000000000"`)
		}, "MD5"},
		{"no checksum, opaque ETag", func(h http.Header) { h.Del(sum); h.Set("Etag", `"opaque"`) }, ""},
		{"no checksum, encrypted with others' keys", func(h http.Header) {
			h.Del(sum)
			h.Set("Etag", `"00000000000000000000000000000000"`)
			h.Set("X-Amz-Server-Side-Encryption", "aws:kms")
		}, ""},
	} {
		p.with(head(c.change))
		_, err := store.Put(t.Context(), "verified", bytes.NewReader(body), int64(len(body)), bucket.PutOptions{IfAbsent: true})
		if c.fault == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			p.with(nil)
			if err := store.Delete(t.Context(), "verified"); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var corrupt *bucket.CorruptError
		if !errors.As(err, &corrupt) || corrupt.What != c.fault {
			t.Errorf("%s: %v, want a CorruptError about the %s", c.name, err, c.fault)
		}
		puts := 0
		for _, r := range p.requests() {
			if strings.HasPrefix(r, "PUT") {
				puts++
			}
		}
		p.with(nil)
		if _, err := store.Head(t.Context(), "verified"); !errors.Is(err, bucket.ErrAbsent) || puts != 2 {
			t.Errorf("%s: the bad object is still there (%v) after %d puts, want 2", c.name, err, puts)
		}
	}
}

func TestAttestedChecksums(t *testing.T) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			opts := options(start(t))
			opts.PartSize = 5 << 20
			store := open(t, opts)
			for _, size := range []int{0, 1, 5 << 20, 5<<20 + 1, 17 << 20} {
				body := buckettest.Body(5, size)
				o := put(t, store, "sum", body, bucket.PutOptions{})
				want, err := bucket.Checksum(bytes.NewReader(body), int64(size))
				if err != nil || o.Checksum != want {
					t.Errorf("%d bytes: attested %q, want %q (%v)", size, o.Checksum, want, err)
				}
			}
		})
	}
}

func TestSpoiltReads(t *testing.T) {
	server := buckettest.StartVersityGW(t)
	p := startProxy(t, server)
	store := proxied(t, server, p)
	body := buckettest.Body(6, 300_000)
	put(t, store, "r", body, bucket.PutOptions{})
	get := func(offset, length int64) (int, error) {
		r, err := store.Get(t.Context(), "r", offset, length)
		if err != nil {
			return 0, err
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		return len(data), err
	}

	p.with(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { // breaks off midway
		w.Header().Set("Content-Length", "300000")
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Write(body[:100_000])
		w.(http.Flusher).Flush()
		drop(w)
	})
	if n, err := get(0, bucket.ToEnd); err == nil || n > 100_000 {
		t.Errorf("broken off: %d bytes and %v", n, err)
	}
	for _, answer := range []string{"", "bytes 0-9/300000", "bytes 11-20/300000", "bytes 10-18/300000", "bytes 10-19/*", "nonsense"} {
		p.with(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			status := http.StatusOK
			if answer != "" {
				w.Header().Set("Content-Range", answer)
				status = http.StatusPartialContent
			}
			w.WriteHeader(status)
			w.Write(body[:10])
		})
		if n, err := get(10, 10); !errors.Is(err, bucket.ErrRefused) {
			t.Errorf("range 10+10 answered with %q: %d bytes, %v, want ErrRefused", answer, n, err)
		}
	}
	// A listing out of order would lose objects when taken up again.
	p.with(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		io.WriteString(w, `<ListBucketResult><Contents><Key>b</Key></Contents><Contents><Key>a</Key></Contents></ListBucketResult>`)
	})
	var lerr error
	for _, err := range store.List(t.Context(), "", "") {
		lerr = err
	}
	if !errors.Is(lerr, bucket.ErrRefused) {
		t.Errorf("listing out of order: %v", lerr)
	}
}

// TestCheckFindsNoConditions has a server that ignores If-None-Match.
func TestCheckFindsNoConditions(t *testing.T) {
	server := buckettest.StartVersityGW(t)
	p := startProxy(t, server)
	store := proxied(t, server, p)
	var puts atomic.Int64
	p.with(func(w http.ResponseWriter, r *http.Request, real http.Handler) {
		if r.Method == "PUT" && strings.Contains(r.URL.Path, "probe") && puts.Add(1) > 1 {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Etag", `"1"`)
			return
		}
		real.ServeHTTP(w, r)
	})
	if err := store.Check(t.Context()); !errors.Is(err, bucket.ErrRefused) || !strings.Contains(err.Error(), "If-None-Match") {
		t.Errorf("check: %v", err)
	}
}

// cancelAfter cancels when more than n bytes were read in all: past the first reading, that is while sending.
type cancelAfter struct {
	io.ReaderAt
	n      int64
	read   atomic.Int64
	cancel func()
}

func (c *cancelAfter) ReadAt(p []byte, at int64) (int, error) {
	if c.read.Add(int64(len(p))) > c.n {
		c.cancel()
	}
	return c.ReaderAt.ReadAt(p, at)
}

// TestFailedUploadsLeaveNoParts cancels while parts are on their way, and fails the completion.
func TestFailedUploadsLeaveNoParts(t *testing.T) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			p := startProxy(t, server)
			store := proxied(t, server, p)
			const size = 24 << 20
			body := buckettest.Body(7, size)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			source := &cancelAfter{ReaderAt: bytes.NewReader(body), n: size * 3 / 2, cancel: cancel}
			if _, err := store.Put(ctx, "parts", source, size, bucket.PutOptions{}); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			p.with(func(w http.ResponseWriter, r *http.Request, real http.Handler) {
				if r.Method == "POST" && r.URL.Query().Has("uploadId") {
					refuse(w, 403, "AccessDenied")
					return
				}
				real.ServeHTTP(w, r)
			})
			if _, err := store.Put(t.Context(), "parts", bytes.NewReader(body), size, bucket.PutOptions{}); !errors.Is(err, bucket.ErrRefused) {
				t.Errorf("completion refused: %v", err)
			}
			client, err := s3.New(server.Endpoint, &s3.Options{Creds: credentials.NewStaticV4(server.AccessKey, server.SecretKey, "")})
			if err != nil {
				t.Fatal(err)
			}
			// MinIO lists uploads of an exact name only.
			for u := range client.ListIncompleteUploads(t.Context(), "kineweir", "parts", true) {
				t.Errorf("left: %+v", u)
			}
			if _, err := store.Head(t.Context(), "parts"); !errors.Is(err, bucket.ErrAbsent) {
				t.Errorf("head: %v", err)
			}
		})
	}
}

// TestRaceInParts is the race of writers with objects in parts, where the completions race.
func TestRaceInParts(t *testing.T) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			opts := options(start(t))
			opts.PartSize = 5 << 20
			store := open(t, opts)
			const writers = 4
			var bodies [writers][]byte
			var errs [writers]error
			var wg sync.WaitGroup
			for w := range writers {
				bodies[w] = buckettest.Body(uint64(w), 6<<20+w)
				wg.Go(func() {
					_, errs[w] = store.Put(t.Context(), "race", bytes.NewReader(bodies[w]), int64(len(bodies[w])), bucket.PutOptions{IfAbsent: true})
				})
			}
			wg.Wait()
			winner := -1
			for w, err := range errs {
				if err == nil && winner >= 0 || err != nil && !errors.Is(err, bucket.ErrExists) {
					t.Errorf("writer %d: %v (won before: %d)", w, err, winner)
				}
				if err == nil {
					winner = w
				}
			}
			if winner < 0 || !bytes.Equal(read(t, store, "race"), bodies[winner]) {
				t.Errorf("winner %d: other bytes", winner)
			}
		})
	}
}
