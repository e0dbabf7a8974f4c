package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// directFile is a file opened with O_DIRECT. The flag falls with the first write
// that does not fit it, or that the file system does not take.
type directFile struct {
	osFile
	direct bool
}

// CreateDirect makes an empty file that is written past the page cache, where
// its file system can do that.
func (o OS) CreateDirect(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_DIRECT, 0o640)
	if errors.Is(err, unix.EINVAL) {
		return o.Create(name)
	}
	if err != nil {
		return nil, err
	}
	return &directFile{osFile{f}, true}, nil
}

// OpenDirect opens an existing file to be written past the page cache.
func (OS) OpenDirect(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return nil, err
	}
	return &directFile{osFile{f}, true}, nil
}

// WriteAt writes directly what is aligned, and through the page cache what is
// not and all that comes later.
func (f *directFile) WriteAt(b []byte, offset int64) (int, error) {
	if f.direct && !fitsDirect(b, offset) {
		if err := f.relent(); err != nil {
			return 0, err
		}
	}
	n, err := f.osFile.WriteAt(b, offset)
	if !f.direct || n > 0 || !errors.Is(err, unix.EINVAL) {
		return n, err
	}
	// The file system wants another alignment, or took the flag and can not do it.
	if err := f.relent(); err != nil {
		return 0, err
	}
	return f.osFile.WriteAt(b, offset)
}

func fitsDirect(b []byte, offset int64) bool {
	return Aligned(b) && (uint64(len(b))|uint64(offset))%DirectAlign == 0
}

// relent lets the page cache have the rest.
func (f *directFile) relent() error {
	f.direct = false
	fd := f.Fd()
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(fd, unix.F_SETFL, flags&^unix.O_DIRECT)
	}
	if err != nil {
		return &os.PathError{Op: "fcntl", Path: f.Name(), Err: err}
	}
	return nil
}
