package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/dir"
	"github.com/kineweir/kineweir/archive/bucket/minio"
)

// bucketPath is where the folder of finished video is.
func (c *Config) bucketPath() string {
	if c.Archive.Bucket.Path != "" {
		return c.Archive.Bucket.Path
	}
	return filepath.Join(c.Data, "bucket")
}

// openBucket opens the configured bucket. A store on the network is not asked
// before it is needed: it may be away, and recording goes on.
func openBucket(c *Config, log *slog.Logger) (bucket.Bucket, error) {
	b := c.Archive.Bucket
	if b.Type == "dir" {
		store, err := dir.Open(c.bucketPath())
		if err != nil {
			return nil, fmt.Errorf("open the bucket: %w", err)
		}
		return store, nil
	}
	store, err := minio.New(minio.Options{
		Endpoint: b.Endpoint, Bucket: b.Bucket, Prefix: b.Prefix, Region: b.Region,
		AccessKey: b.AccessKey, SecretKey: b.SecretKey, Secure: b.Secure, CreateBucket: b.Create,
	}, log)
	if err != nil {
		return nil, fmt.Errorf("open the bucket: %w", err)
	}
	return store, nil
}

// freeSpace returns what tells how much is free on the disk of the data folder
// or of the bucket's folder, whichever has less.
func freeSpace(c *Config) func() (int64, error) {
	paths := []string{c.Data}
	if c.Archive.Bucket.Type == "dir" {
		paths = append(paths, c.bucketPath())
	}
	return func() (int64, error) {
		least := int64(-1)
		for _, p := range paths {
			free, _, err := dir.DiskFree(p)
			if err != nil {
				return 0, err
			}
			if least < 0 || free < least {
				least = free
			}
		}
		return least, nil
	}
}

// checkBucket is the check of /healthz and of the doctor.
func checkBucket(ctx context.Context, b bucket.Bucket) error {
	for _, err := range b.List(ctx, "video/", "") {
		return err
	}
	return nil
}
