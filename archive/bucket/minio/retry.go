package minio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	s3 "github.com/minio/minio-go/v7"
)

// slowest is the speed in bytes per second below which an upload is given up and counted as hung.
const slowest = 64 << 10

// try calls f until it succeeds, its error is one that will not pass, the attempts are used up, or ctx ends.
// Each attempt has the time that size bytes take at the slowest useful speed, and a few stalls to spare.
func (s *Store) try(ctx context.Context, doing, key string, size int64, f func(ctx context.Context) error) error {
	limit := 3*s.opts.Stall + time.Duration(size/slowest)*time.Second
	for attempt := 1; ; attempt++ {
		first := !s.seen.Load() // asked before, as others may make the bucket meanwhile
		err := once(ctx, limit, f)
		if err == nil {
			s.seen.Store(true)
			return nil
		}
		if code(err) == s3.NoSuchBucket && s.opts.CreateBucket && first {
			if err = s.create(ctx); err == nil {
				continue
			}
		}
		kind, sense := classify(err)
		if code(err) == s3.SignatureDoesNotMatch && s.seen.Load() {
			kind = passing // the keys are right: the signed body was damaged on the way
		}
		if kind == answer {
			s.seen.Store(true)
		}
		if cause := ctx.Err(); cause != nil {
			return fmt.Errorf("%s %q in %s: %w (%v)", doing, key, s, cause, err)
		}
		if kind != passing || attempt >= s.opts.Attempts {
			return fmt.Errorf("%s %q in %s: %w", doing, key, s, sense)
		}
		pause := s.pause(attempt)
		s.log.LogAttrs(ctx, slog.LevelDebug, "object store: trying again", slog.String("doing", doing),
			slog.String("key", key), slog.Int("attempt", attempt), slog.Duration("after", pause), slog.Any("err", err))
		if !wait(ctx, pause) {
			return fmt.Errorf("%s %q in %s: %w (%v)", doing, key, s, ctx.Err(), err)
		}
	}
}

// errSlow is why an attempt that ran out of time failed: not the caller's deadline.
var errSlow = errors.New("server too slow")

func once(ctx context.Context, limit time.Duration, f func(ctx context.Context) error) error {
	within, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	err := f(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: no end after %v", errSlow, limit)
	}
	return err
}

// pause doubles from Options.Backoff, and is shortened at random by up to half so that many who failed
// together do not come back together.
func (s *Store) pause(attempt int) time.Duration {
	d := min(s.opts.Backoff<<min(attempt-1, 20), maxBackoff)
	return d - rand.N(d/2+1)
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// create makes the bucket at first use.
func (s *Store) create(ctx context.Context) error {
	err := s.core.MakeBucket(ctx, s.opts.Bucket, s3.MakeBucketOptions{Region: s.opts.Region})
	switch code(err) {
	case s3.BucketAlreadyOwnedByYou, s3.BucketAlreadyExists:
		// Someone else was faster; if the bucket is not ours, the next request says so.
		s.seen.Store(true)
		return nil
	}
	if err != nil {
		return fmt.Errorf("create bucket: %w", err)
	}
	s.seen.Store(true)
	s.log.InfoContext(ctx, "object store: bucket made", "bucket", s.opts.Bucket, "endpoint", s.opts.Endpoint)
	return nil
}
