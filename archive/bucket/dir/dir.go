// Package dir keeps a bucket in a folder of a local disk: an object is a file, its key the path below the root.
//
// It owns the files below its root and the folder ".kineweir-tmp" there, in which an object is written before
// it takes its name; what a crash left in that folder is swept when the store is opened. It never follows a
// symbolic link below the root, never keeps a list of objects in memory, and never leaves an empty folder
// behind that it could remove.
//
//	root/
//	  .kineweir-tmp/put-8f3a…           being written; locked by its writer, so that no sweep takes it
//	  video/cam@1700000000000/2026/11/23/16/0001-0000….mp4
//
// Durability: Put syncs the file, then moves it to its name (never over another with IfAbsent: the kernel
// decides), then syncs the folder of that name and, once for each folder new to this process, the folders
// above it. So a crash at any instant leaves the whole object or none, and one that was acknowledged stays.
// Put verifies that every byte of the body reached the file; it attests no checksum (Object.Checksum is "").
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

// Store is a bucket in a folder. Several may be open on one root at once, also in several processes.
//
// Files and folders are made for their owner and group alone, for what cameras see is private.
type Store struct {
	root string
	temp string
	// syncFolder makes the names in a folder durable; tests watch it, and let it fail.
	syncFolder func(path string) error

	// mu guards which folders' names are known to be synced in the folder above them, and is held while an
	// emptied folder is removed. generation counts removals; see syncParents.
	mu         sync.Mutex
	durable    map[string]struct{}
	generation uint64
}

var (
	_ bucket.Bucket  = (*Store)(nil)
	_ bucket.Adopter = (*Store)(nil)
)

const (
	folderMode = 0o750
	fileMode   = 0o640
)

// maxDurable bounds the memory for folders known to be synced; beyond it they are forgotten and synced again.
const maxDurable = 8192

// Open opens the bucket in the folder root, making the folder if need be and sweeping out what crashed writers
// left behind.
func Open(root string) (*Store, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open bucket folder %q: %w", root, err)
	}
	s := &Store{root: abs, temp: filepath.Join(abs, tempName), syncFolder: syncFolder, durable: map[string]struct{}{}}
	if err := os.MkdirAll(s.temp, folderMode); err != nil {
		return nil, fmt.Errorf("open bucket folder: %w", err)
	}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("sweep bucket folder: %w", err)
	}
	return s, nil
}

// Root is the folder, as an absolute path.
func (s *Store) Root() string { return s.root }

// DiskFree is the room on the store's file system; see the function DiskFree.
func (s *Store) DiskFree() (free, total int64, err error) { return DiskFree(s.root) }

func (s *Store) path(key string) string { return filepath.Join(s.root, filepath.FromSlash(key)) }

// Head implements bucket.Bucket.
func (s *Store) Head(ctx context.Context, key string) (bucket.Object, error) {
	if err := check(ctx, key); err != nil {
		return bucket.Object{}, err
	}
	fi, err := os.Lstat(s.path(key))
	if err == nil && !fi.Mode().IsRegular() {
		err = bucket.ErrAbsent
	}
	if err != nil {
		return bucket.Object{}, failure("head", key, err)
	}
	return object(key, fi), nil
}

// Get implements bucket.Bucket. The reader is a file, so that copying it to a socket costs no copy in memory.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.path(key), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, failure("get", key, err)
	}
	r, err := openRange(ctx, f, key, offset, length)
	if err != nil {
		f.Close()
		return nil, failure("get", key, err)
	}
	return r, nil
}

// Delete implements bucket.Bucket. The folder is synced, so that a deleted object does not come back with the
// next crash; folders left empty go as well.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	path := s.path(key)
	fi, err := os.Lstat(path)
	if err == nil && fi.IsDir() {
		return nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if absent(err) {
		return nil
	}
	if err != nil {
		return failure("delete", key, err)
	}
	if err := s.syncFolder(filepath.Dir(path)); err != nil && !absent(err) {
		return failure("delete", key, err)
	}
	s.prune(filepath.Dir(path))
	return nil
}

func check(ctx context.Context, key string) error {
	if err := bucket.ValidKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

// etag changes with every replacement: Put makes a new file while the old one still is, so with another inode.
func etag(fi fs.FileInfo) string {
	var inode uint64
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		inode = uint64(st.Ino)
	}
	return fmt.Sprintf("%x-%x-%x", fi.ModTime().UnixNano(), inode, fi.Size())
}

func object(key string, fi fs.FileInfo) bucket.Object {
	return bucket.Object{Key: key, Size: fi.Size(), ETag: etag(fi), Modified: fi.ModTime()}
}

// absent tells errors that say that nothing is there. ENOTDIR is one: "a/b" is absent where "a" is an object.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// failure gives an error of the file system the meaning it has in a bucket.
func failure(doing, key string, err error) error {
	switch {
	case errors.Is(err, bucket.ErrAbsent), absent(err), errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("%s %q: %w", doing, key, bucket.ErrAbsent)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s %q: %w: %w", doing, key, bucket.ErrFull, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s %q: %w: %w (let the user that runs this write to the folder)", doing, key, bucket.ErrRefused, err)
	}
	return fmt.Errorf("%s %q: %w", doing, key, err)
}
