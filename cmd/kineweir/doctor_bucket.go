package main

import (
	"context"
	"log/slog"
	"os"
)

// reachBucket asks whether the configured bucket takes objects, keeps them and
// gives them back. It leaves nothing behind, not even a folder.
func reachBucket(ctx context.Context, c *Config) error {
	if c.Archive.Bucket.Type == "dir" {
		f, err := os.CreateTemp(existingParent(c.bucketPath()), ".kineweir-doctor-*")
		if err != nil {
			return err
		}
		f.Close()
		return os.Remove(f.Name())
	}
	store, err := openBucket(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if s, ok := store.(interface{ Close() }); ok {
		defer s.Close()
	}
	if s, ok := store.(interface{ Check(context.Context) error }); ok {
		return s.Check(ctx)
	}
	return checkBucket(ctx, store)
}
