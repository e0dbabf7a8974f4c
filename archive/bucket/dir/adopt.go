package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kineweir/kineweir/archive/bucket"
)

// Adopt implements bucket.Adopter.
func (s *Store) Adopt(ctx context.Context, path, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	fi, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return s.adopted(ctx, path, key)
	}
	if err == nil && !fi.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return fmt.Errorf("adopt %q as %q: %w", path, key, err)
	}
	err = s.place(path, s.path(key), true)
	switch {
	case err == nil:
		err = s.syncFolder(filepath.Dir(path))
	case errors.Is(err, os.ErrExist), errors.Is(err, syscall.EXDEV):
		return s.adoptCopy(ctx, path, key)
	}
	if err != nil {
		return s.storing("adopt "+path+" as", key, err)
	}
	return nil
}

// adopted answers for a file that is gone: an earlier call, which may have crashed before its syncs, took it.
func (s *Store) adopted(ctx context.Context, path, key string) error {
	_, err := s.Head(ctx, key)
	if errors.Is(err, bucket.ErrAbsent) {
		return fmt.Errorf("adopt %q as %q: neither is there: %w", path, key, os.ErrNotExist)
	}
	if err != nil {
		return err
	}
	if err := s.syncParents(s.path(key)); err != nil {
		return s.storing("adopt "+path+" as", key, err)
	}
	return nil
}

// adoptCopy adopts across file systems, and where an object is there already: then the bytes decide.
func (s *Store) adoptCopy(ctx context.Context, path, key string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("adopt %q as %q: %w", path, key, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err == nil {
		_, err = bucket.Ensure(ctx, s, key, f, fi.Size(), bucket.PutOptions{})
	}
	if err == nil {
		err = s.syncParents(s.path(key))
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = s.syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("adopt %q as %q: %w", path, key, err)
	}
	return nil
}
