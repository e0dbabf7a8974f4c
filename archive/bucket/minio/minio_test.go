package minio_test

import (
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	s3 "github.com/minio/minio-go/v7"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/buckettest"
	"github.com/kineweir/kineweir/archive/bucket/minio"
)

// TestMain shortens the pause the client library makes even after the last attempt it is allowed.
func TestMain(m *testing.M) {
	s3.DefaultRetryUnit = time.Millisecond
	os.Exit(m.Run())
}

// servers are the object stores every test here runs on.
func servers() map[string]func(testing.TB) *buckettest.Server {
	return map[string]func(testing.TB) *buckettest.Server{
		"minio": buckettest.StartMinIO, "versitygw": buckettest.StartVersityGW,
	}
}

func options(s *buckettest.Server) minio.Options {
	return minio.Options{
		Endpoint: s.Endpoint, Bucket: "kineweir", AccessKey: s.AccessKey, SecretKey: s.SecretKey,
		CreateBucket: true, PartSize: 8 << 20, Backoff: 50 * time.Millisecond,
	}
}

func open(t *testing.T, opts minio.Options) *minio.Store {
	t.Helper()
	s, err := minio.New(opts, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestConformance(t *testing.T) {
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			var n atomic.Int64
			buckettest.Run(t, func(t *testing.T) bucket.Bucket {
				opts := options(server)
				opts.Prefix = fmt.Sprintf("some where/%d", n.Add(1))
				return open(t, opts)
			})
		})
	}
}
