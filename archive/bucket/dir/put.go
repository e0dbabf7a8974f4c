package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/kineweir/kineweir/archive/bucket"
)

// copyChunk bytes are written between two looks at the context.
const copyChunk = 256 << 10

// Put implements bucket.Bucket. The content type is not kept.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts bucket.PutOptions) (bucket.Object, error) {
	if err := check(ctx, key); err != nil {
		return bucket.Object{}, err
	}
	if size < 0 {
		return bucket.Object{}, fmt.Errorf("put %q: negative size %d", key, size)
	}
	path := s.path(key)
	if opts.IfAbsent { // spares the writing; what decides is the move
		if fi, err := os.Lstat(path); err == nil && fi.Mode().IsRegular() {
			return bucket.Object{}, fmt.Errorf("put %q: %w", key, bucket.ErrExists)
		}
	}
	fi, err := s.put(ctx, path, body, size, opts.IfAbsent)
	if err != nil {
		return bucket.Object{}, s.storing("put", key, err)
	}
	return object(key, fi), nil
}

func (s *Store) put(ctx context.Context, path string, body io.ReaderAt, size int64, ifAbsent bool) (fs.FileInfo, error) {
	f, err := s.createTemp()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := fill(ctx, f, body, size)
	if err == nil {
		err = s.place(f.Name(), path, ifAbsent)
	}
	if err != nil {
		os.Remove(f.Name()) // already gone if only a sync failed after the move
		return nil, err
	}
	return fi, nil
}

// chunks are lent to writers while they copy.
var chunks = sync.Pool{New: func() any { return new([copyChunk]byte) }}

// fill writes the body to f, makes sure all of it arrived, and syncs it.
func fill(ctx context.Context, f *os.File, body io.ReaderAt, size int64) (fs.FileInfo, error) {
	chunk := chunks.Get().(*[copyChunk]byte)
	defer chunks.Put(chunk)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		want := min(size-at, copyChunk)
		n, err := body.ReadAt(chunk[:want], at)
		if int64(n) < want {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read body at byte %d of %d: %w", at+int64(n), size, err)
		}
		if _, err := f.Write(chunk[:n]); err != nil {
			return nil, err
		}
		at += want
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() != size {
		err = &bucket.CorruptError{Key: f.Name(), What: "size", Want: fmt.Sprint(size), Have: fmt.Sprint(fi.Size())}
	}
	return fi, err
}

// place moves the synced file from to its final path and makes the name durable.
func (s *Store) place(from, path string, ifAbsent bool) error {
	move := os.Rename
	if ifAbsent {
		move = renameNew
	}
	// A Delete may remove an emptied folder between the making of it and the move into it: then both are
	// done again. Each round needs another such Delete, so this ends.
	for {
		if err := s.makeFolders(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err := move(from, path)
		if err == nil {
			return s.syncParents(path)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, serr := os.Lstat(from); serr != nil {
			return err
		}
	}
}

// storing gives an error met while storing its meaning in a bucket. A missing file is nobody's ErrAbsent here.
func (s *Store) storing(doing, key string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s %q: %w: a part of it is an object", doing, key, bucket.ErrInvalidKey)
	case errors.Is(err, fs.ErrExist), errors.Is(err, syscall.EISDIR):
		if fi, err := os.Lstat(s.path(key)); err == nil && fi.IsDir() {
			return fmt.Errorf("%s %q: %w: other objects lie below it", doing, key, bucket.ErrInvalidKey)
		}
		return fmt.Errorf("%s %q: %w", doing, key, bucket.ErrExists)
	case absent(err):
		return fmt.Errorf("%s %q: %w", doing, key, err)
	}
	return failure(doing, key, err)
}
