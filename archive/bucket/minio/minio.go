// Package minio keeps a bucket in MinIO or any other S3-compatible object store.
//
// It owns one bucket there, or the part of it below a prefix, and the HTTP connections to it. It reads and
// writes objects as they are asked for, keeps nothing in memory or on disk, and runs no goroutine between calls.
//
// # What a Put is worth
//
// Before anything is sent, the body is read once for its CRC-32C, which goes with the upload as an S3 checksum
// (x-amz-checksum-crc32c; of each part and of the full object where it goes in parts), so that the server
// refuses what was damaged on the way. After it, a HEAD is compared with what was given: the size always, and
// then the best the server attests:
//
//   - the CRC-32C of the full object (MinIO, versitygw, AWS): also given as Object.Checksum;
//   - otherwise the ETag where it is an MD5 of the whole body (a second reading of the body);
//   - otherwise the size alone, and what the server checked while it received.
//
// An object that fails this is removed, if it is still the one this Put made, and put again.
//
// # If-absent
//
// One request with If-None-Match: * decides, also at the completion of an upload in parts. Each Put marks its
// object with a random token (user metadata "Kineweir-Put"), so that a Put whose answer was lost recognises its
// own object when it tries again. Stores that ignore If-None-Match are found by Check, which refuses them.
//
// # Failures
//
// What may pass (refused or broken connections, silence, 408, 429, 5xx, wrong checksums) is tried again, a few
// times with growing pauses; what will not is bucket.ErrRefused at once with a word on what to do. A connection
// on which no byte moves for Options.Stall is given up, and so is a request that goes on for longer than its
// bytes can take at the slowest useful speed: nothing hangs for ever.
//
// Uploads in parts that a crash left behind are invisible. MinIO removes them after a day; on AWS set a
// lifecycle rule "abort incomplete multipart uploads". In a bucket with versioning a Delete leaves old versions
// to such rules as well.
package minio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	s3 "github.com/minio/minio-go/v7"

	"github.com/kineweir/kineweir/archive/bucket"
)

// Store is a bucket.Bucket in an object store.
type Store struct {
	opts      Options
	log       *slog.Logger
	core      s3.Core
	transport *http.Transport
	// seen is set once the bucket has answered: from then on its absence is never taken for a first start.
	seen atomic.Bool
}

var _ bucket.Bucket = (*Store)(nil)

// New makes the store. It checks the options but asks nothing of the server, which may be away: see Check.
func New(opts Options, log *slog.Logger) (*Store, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts, log: log, transport: newTransport(opts)}
	client, err := s3.New(opts.Endpoint, opts.client(s.transport))
	if err != nil {
		return nil, fmt.Errorf("object store at %s: %w", opts.Endpoint, err)
	}
	client.SetAppInfo("kineweir", "1")
	s.core = s3.Core{Client: client}
	return s, nil
}

// Close gives the idle connections back. Calls under way are not disturbed.
func (s *Store) Close() { s.transport.CloseIdleConnections() }

// String names the store in logs: endpoint, bucket and prefix, no secrets.
func (s *Store) String() string {
	scheme := "http"
	if s.opts.Secure {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s/%s/%s", scheme, s.opts.Endpoint, s.opts.Bucket, s.opts.Prefix)
}

// object is the name in the store of a key.
func (s *Store) object(key string) string { return s.opts.Prefix + key }

// key is the key of a name in the store.
func (s *Store) key(object string) string { return strings.TrimPrefix(object, s.opts.Prefix) }

// Head implements bucket.Bucket.
func (s *Store) Head(ctx context.Context, key string) (bucket.Object, error) {
	if err := bucket.ValidKey(key); err != nil {
		return bucket.Object{}, err
	}
	info, err := s.stat(ctx, "head", key)
	if err != nil {
		return bucket.Object{}, err
	}
	return s.fromInfo(info), nil
}

// stat heads an object. An answer without a body cannot say whether the key or the whole bucket is missing, so
// absent is asked after: nobody shall take a lost bucket for lost objects.
func (s *Store) stat(ctx context.Context, doing, key string) (s3.ObjectInfo, error) {
	var info s3.ObjectInfo
	err := s.try(ctx, doing, key, 0, func(ctx context.Context) error {
		var err error
		info, err = s.core.StatObject(ctx, s.opts.Bucket, s.object(key), s3.StatObjectOptions{Checksum: true})
		if code(err) != s3.NoSuchKey {
			return err
		}
		exists, berr := s.core.BucketExists(ctx, s.opts.Bucket)
		switch {
		case berr != nil:
			return berr
		case !exists:
			return s3.ErrorResponse{Code: s3.NoSuchBucket, StatusCode: http.StatusNotFound, BucketName: s.opts.Bucket}
		}
		return err
	})
	return info, err
}

// Delete implements bucket.Bucket.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := bucket.ValidKey(key); err != nil {
		return err
	}
	err := s.try(ctx, "delete", key, 0, func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.opts.Bucket, s.object(key), s3.RemoveObjectOptions{})
	})
	if errors.Is(err, bucket.ErrAbsent) {
		return nil
	}
	return err
}

func (s *Store) fromInfo(info s3.ObjectInfo) bucket.Object {
	return bucket.Object{
		Key: s.key(info.Key), Size: info.Size, ETag: info.ETag, Modified: info.LastModified, Checksum: attested(info),
	}
}

// Check asks the server whether all is well, making the bucket where Options.CreateBucket allows it, and
// proves on an object of its own (below the reserved names) that the store can write, read, delete and keep
// If-None-Match. It is for the start of the program and for diagnosis; every error says what to do.
func (s *Store) Check(ctx context.Context) error {
	err := s.try(ctx, "check", "", 0, func(ctx context.Context) error {
		exists, err := s.core.BucketExists(ctx, s.opts.Bucket)
		if err == nil && !exists {
			err = s3.ErrorResponse{Code: s3.NoSuchBucket, StatusCode: http.StatusNotFound, BucketName: s.opts.Bucket}
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.probe(ctx)
}

func (s *Store) probe(ctx context.Context) error {
	key := bucket.Reserved + "probe/" + newToken()
	put := func() error {
		_, err := s.put(ctx, &upload{key: key, body: strings.NewReader("x"), size: 1, ifAbsent: true})
		return err
	}
	if err := put(); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
		defer cancel()
		s.core.RemoveObject(ctx, s.opts.Bucket, s.object(key), s3.RemoveObjectOptions{})
	}()
	switch err := put(); {
	case err == nil:
		return fmt.Errorf("check: %w: it ignores If-None-Match and so would overwrite objects (use a store, or a version of it, with conditional writes)", bucket.ErrRefused)
	case !errors.Is(err, bucket.ErrExists):
		return err
	}
	return s.try(ctx, "check: delete", key, 0, func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.opts.Bucket, s.object(key), s3.RemoveObjectOptions{})
	})
}

// cleanupLimit bounds the removal of what a failed call leaves behind.
const cleanupLimit = 3 * time.Second
