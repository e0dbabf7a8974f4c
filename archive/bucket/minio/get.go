package minio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	s3 "github.com/minio/minio-go/v7"

	"github.com/kineweir/kineweir/archive/bucket"
)

// Get implements bucket.Bucket. A reader fails when no byte comes for Options.Stall; it does not resume by itself.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := bucket.ValidKey(key); err != nil {
		return nil, err
	}
	// S3 cannot be asked for nothing, nor for these ranges.
	if offset < 0 || length < bucket.ToEnd || length == 0 || length > 1<<63-1-offset {
		return s.getNothing(ctx, key, offset, length)
	}
	var r *objectReader
	err := s.try(ctx, "get", key, 0, func(limited context.Context) error {
		var err error
		r, err = s.open(ctx, limited, key, offset, length)
		return err
	})
	if code(err) == s3.InvalidRange { // it begins at the end of the object or after
		return s.getNothing(ctx, key, offset, length)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// getNothing answers for a range of no bytes, or for one that must be wrong.
func (s *Store) getNothing(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	info, err := s.stat(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	n, err := bucket.CheckRange(key, info.Size, offset, length)
	if err == nil && n > 0 {
		err = fmt.Errorf("object %q changed while it was opened", key)
	}
	if err != nil {
		return nil, fmt.Errorf("get from %s: %w", s, err)
	}
	return io.NopCloser(bytes.NewReader(nil)), nil
}

// open asks for the object under ctx, which goes on governing the reader; limited bounds only the asking.
func (s *Store) open(ctx, limited context.Context, key string, offset, length int64) (*objectReader, error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(limited, cancel)
	r, err := s.request(ctx, key, offset, length)
	if !stop() && err == nil {
		r.body.Close()
		err = limited.Err()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	r.cancel = cancel
	return r, nil
}

func (s *Store) request(ctx context.Context, key string, offset, length int64) (*objectReader, error) {
	var opts s3.GetObjectOptions
	whole := offset == 0 && length == bucket.ToEnd
	if !whole {
		ask := fmt.Sprintf("bytes=%d-", offset)
		if length != bucket.ToEnd {
			ask += strconv.FormatInt(offset+length-1, 10)
		}
		opts.Set("Range", ask)
	}
	body, info, header, err := s.core.GetObject(ctx, s.opts.Bucket, s.object(key), opts)
	if err != nil {
		return nil, err
	}
	n := info.Size
	if !whole {
		if n, err = checkAnswer(header, key, offset, length); err != nil {
			body.Close()
			return nil, err
		}
	}
	return &objectReader{body: body, left: n, key: key}, nil
}

// checkAnswer makes sure that the server sends the range it was asked for: S3 cuts one that goes past the end.
func checkAnswer(header http.Header, key string, offset, length int64) (int64, error) {
	answer := header.Get("Content-Range")
	span, total, _ := strings.Cut(strings.TrimPrefix(answer, "bytes "), "/")
	first, last, _ := strings.Cut(span, "-")
	size, err := strconv.ParseInt(total, 10, 64)
	from, ferr := strconv.ParseInt(first, 10, 64)
	to, terr := strconv.ParseInt(last, 10, 64)
	if err = errors.Join(err, ferr, terr); err != nil {
		return 0, fmt.Errorf("%w: it answered a range with %q", bucket.ErrRefused, answer)
	}
	n, err := bucket.CheckRange(key, size, offset, length)
	if err == nil && (from != offset || to != offset+n-1) {
		err = fmt.Errorf("%w: asked for %d bytes from %d, it answered with %q", bucket.ErrRefused, n, offset, answer)
	}
	return n, err
}

// objectReader reads the body of an answer and makes sure it is as long as said.
type objectReader struct {
	body   io.ReadCloser
	cancel context.CancelFunc
	left   int64
	key    string
}

func (r *objectReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read object %q, %d bytes before the end: %w", r.key, r.left, err)
	}
	return n, err
}

func (r *objectReader) Close() error {
	err := r.body.Close()
	r.cancel()
	return err
}
