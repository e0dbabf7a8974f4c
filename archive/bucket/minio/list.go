package minio

import (
	"context"
	"fmt"
	"iter"
	"path"
	"strings"

	s3 "github.com/minio/minio-go/v7"

	"github.com/kineweir/kineweir/archive/bucket"
)

// pageSize is how many objects one request lists: the most S3 gives.
const pageSize = 1000

// List implements bucket.Bucket, a page of 1,000 at a time.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Object, error] {
	return func(yield func(bucket.Object, error) bool) {
		if !bucket.ValidPrefix(prefix) {
			return
		}
		page := make([]bucket.Object, 0, pageSize)
		for {
			err := s.try(ctx, "list", prefix, 0, func(ctx context.Context) error {
				var err error
				page, err = s.page(ctx, page[:0], prefix, after)
				return err
			})
			if err != nil {
				yield(bucket.Object{}, err)
				return
			}
			for _, o := range page {
				if !yield(o, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
			after = page[len(page)-1].Key
		}
	}
}

// page appends up to a page of the objects after after. Each page begins by key rather than by the server's
// continuation token, so that it can be asked for again, of a server that was restarted too.
func (s *Store) page(ctx context.Context, page []bucket.Object, prefix, after string) ([]bucket.Object, error) {
	ask := prefix
	if name := path.Base("/" + prefix); (name == "." || name == "..") && !strings.HasSuffix(prefix, "/") {
		ask = strings.TrimSuffix(prefix, name) // MinIO takes these for steps in a path, and refuses
	}
	opts := s3.ListObjectsOptions{Prefix: s.object(ask), Recursive: true, MaxKeys: pageSize, FetchOwner: new(bool)}
	if after != "" {
		opts.StartAfter = s.object(after)
	}
	last := after
	for info := range s.core.ListObjectsIter(ctx, s.opts.Bucket, opts) {
		if info.Err != nil {
			return page, info.Err
		}
		key := s.key(info.Key)
		if key <= last {
			return page, fmt.Errorf("%w: it lists %q after %q, not in the order of keys", bucket.ErrRefused, key, last)
		}
		last = key
		if !strings.HasPrefix(key, prefix) || bucket.ValidKey(key) != nil {
			continue // a marker of a folder, or something else that is not ours
		}
		page = append(page, s.fromInfo(info))
		if len(page) == pageSize {
			break
		}
	}
	return page, ctx.Err() // a cancelled listing ends without a word
}
