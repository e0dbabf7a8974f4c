package minio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	s3 "github.com/minio/minio-go/v7"

	"github.com/kineweir/kineweir/archive/bucket"
)

// multipart sends an object in parts, several at once, each tried again by itself, and completes it. Whatever
// fails, the parts are given up before it returns, if the server can be reached.
func (s *Store) multipart(ctx context.Context, u *upload) error {
	if u.ifAbsent { // spares the sending; what decides is the completion
		if _, err := s.stat(ctx, "put", u.key); err == nil {
			return fmt.Errorf("put %q in %s: %w", u.key, s, bucket.ErrExists)
		} else if !errors.Is(err, bucket.ErrAbsent) {
			return err
		}
	}
	var id string
	err := s.try(ctx, "put", u.key, 0, func(ctx context.Context) error {
		var err error
		id, err = s.core.NewMultipartUpload(ctx, s.opts.Bucket, s.object(u.key), s3.PutObjectOptions{
			ContentType: u.contentType,
			UserMetadata: map[string]string{
				tokenName:                       u.token,
				"X-Amz-Checksum-Algorithm":      s3.ChecksumCRC32C.String(),
				s3.ChecksumFullObjectMode.Key(): s3.ChecksumFullObjectMode.String(),
			},
		})
		return err
	})
	if err != nil {
		return err
	}
	parts, err := s.sendParts(ctx, u, id)
	if err == nil {
		err = s.complete(ctx, u, id, parts)
	}
	if err == nil {
		return nil
	}
	if aerr := s.abort(ctx, u.key, id); aerr != nil {
		s.log.WarnContext(ctx, "object store: parts of a failed upload are left for the server to expire",
			"key", u.key, "upload", id, "err", aerr)
	}
	return err
}

const (
	abortAttempts = 5
	abortPause    = 50 * time.Millisecond
)

// abort gives an upload in parts up, even when ctx has ended, but tries only for cleanupLimit. A part the server
// is still writing may outlive an abort, so it aborts until the upload is gone (Amazon S3 API Reference,
// AbortMultipartUpload).
func (s *Store) abort(ctx context.Context, key, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	var err error
	for attempt := range abortAttempts {
		if attempt > 0 && !wait(ctx, abortPause<<(attempt-1)) {
			break
		}
		err = s.core.AbortMultipartUpload(ctx, s.opts.Bucket, s.object(key), id)
		if code(err) == s3.NoSuchUpload {
			return nil
		}
	}
	return err
}

// sendParts sends all parts, Options.Parallel at a time, and ends with the first error.
func (s *Store) sendParts(ctx context.Context, u *upload, id string) ([]s3.CompletePart, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	parts := make([]s3.CompletePart, len(u.partSums))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(s.opts.Parallel, len(parts)) {
		workers.Go(func() {
			for i := range next {
				part, err := s.sendPart(ctx, u, id, i)
				if err != nil {
					stop(err) // the first cause stays
					continue
				}
				parts[i] = part
			}
		})
	}
	for i := range parts {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	workers.Wait()
	return parts, context.Cause(ctx)
}

func (s *Store) sendPart(ctx context.Context, u *upload, id string, i int) (s3.CompletePart, error) {
	var sent s3.ObjectPart
	err := s.try(ctx, fmt.Sprintf("put part %d of", i+1), u.key, u.partSize, func(ctx context.Context) error {
		body, sum := u.part(i)
		defer body.letGo()
		var err error
		sent, err = s.core.PutObjectPart(ctx, s.opts.Bucket, s.object(u.key), id, i+1, body, body.body.Size(),
			s3.PutObjectPartOptions{CustomHeader: checksumHeader(sum)})
		return body.blame(err)
	})
	return s3.CompletePart{PartNumber: i + 1, ETag: sent.ETag, ChecksumCRC32C: encodeSum(u.partSums[i])}, err
}

// complete makes the parts an object.
func (s *Store) complete(ctx context.Context, u *upload, id string, parts []s3.CompletePart) error {
	opts := s3.PutObjectOptions{UserMetadata: map[string]string{
		s3.ChecksumCRC32C.Key():         encodeSum(u.sum),
		s3.ChecksumFullObjectMode.Key(): s3.ChecksumFullObjectMode.String(),
	}}
	return s.decide(ctx, "put", u, opts, func(ctx context.Context, opts s3.PutObjectOptions) (s3.UploadInfo, error) {
		return s.core.CompleteMultipartUpload(ctx, s.opts.Bucket, s.object(u.key), id, parts, opts)
	})
}
