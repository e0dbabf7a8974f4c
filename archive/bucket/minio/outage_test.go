package minio_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/buckettest"
)

func TestOutage(t *testing.T) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			store := open(t, options(server))
			buckettest.Outage(t, server, store)
			store.Close()
			wantNoConnections(t)
		})
	}
}

// TestHungServer has a server that accepts connections and says nothing more, in the middle of everything.
func TestHungServer(t *testing.T) {
	server := buckettest.StartVersityGW(t)
	opts := options(server)
	opts.Stall, opts.Attempts, opts.PartSize = 300*time.Millisecond, 2, 5<<20
	store := open(t, opts)
	large := buckettest.Body(1, 12<<20)
	if _, err := store.Put(t.Context(), "there", bytes.NewReader(large), int64(len(large)), bucket.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	reader, err := store.Get(t.Context(), "there", 0, bucket.ToEnd)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	server.Pause()
	calls := map[string]func(ctx context.Context) error{
		"put": func(ctx context.Context) error {
			_, err := store.Put(ctx, "small", strings.NewReader("x"), 1, bucket.PutOptions{})
			return err
		},
		"put in parts": func(ctx context.Context) error {
			_, err := store.Put(ctx, "large", bytes.NewReader(large), int64(len(large)), bucket.PutOptions{IfAbsent: true})
			return err
		},
		"read": func(context.Context) error {
			_, err := new(bytes.Buffer).ReadFrom(reader)
			return err
		},
		"get":    func(ctx context.Context) error { _, err := store.Get(ctx, "there", 0, 5); return err },
		"head":   func(ctx context.Context) error { _, err := store.Head(ctx, "there"); return err },
		"delete": func(ctx context.Context) error { return store.Delete(ctx, "there") },
		"check":  func(ctx context.Context) error { return store.Check(ctx) },
		"list": func(ctx context.Context) error {
			for _, err := range store.List(ctx, "", "") {
				return err
			}
			return nil
		},
	}
	var wg sync.WaitGroup
	for name, call := range calls {
		wg.Go(func() {
			start := time.Now()
			err := call(t.Context())
			if took := time.Since(start); err == nil || took > 8*time.Second {
				t.Errorf("%s: %v after %v", name, err, took)
			}
			if errors.Is(err, bucket.ErrAbsent) || errors.Is(err, bucket.ErrRefused) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()

	// The caller's own deadline counts, and is named.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := store.Head(ctx, "there"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Errorf("head with a deadline: %v after %v", err, time.Since(start))
	}

	server.Resume()
	if _, err := bucket.Ensure(t.Context(), store, "small", strings.NewReader("x"), 1, bucket.PutOptions{}); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	reader.Close()
	store.Close()
	wantNoConnections(t)
}

// wantNoConnections waits until no goroutine of an HTTP connection is left in this process.
func wantNoConnections(t *testing.T) {
	t.Helper()
	var stacks string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "net/http.(*persistConn)") && !strings.Contains(stacks, "archive/bucket/minio.(*") {
			return
		}
	}
	t.Errorf("connections or goroutines are left:\n%s", stacks)
}
