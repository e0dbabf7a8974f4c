package vfs

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// syncData is fdatasync: it spares the inode's times, which fsync would write.
func syncData(f *os.File) error {
	err := ignoringEINTR(func() error { return unix.Fdatasync(int(f.Fd())) })
	if err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// Push is sync_file_range.
func (f osFile) Push(offset, length int64, wait bool) error {
	flags := unix.SYNC_FILE_RANGE_WRITE
	if wait {
		flags |= unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	}
	err := ignoringEINTR(func() error { return unix.SyncFileRange(int(f.Fd()), offset, length, flags) })
	if err == nil || err == unix.ENOSYS || err == unix.EINVAL || err == unix.EOPNOTSUPP {
		return nil // where there is no such call, Sync does it all
	}
	return &fs.PathError{Op: "sync_file_range", Path: f.Name(), Err: err}
}
