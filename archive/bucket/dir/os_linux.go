package dir

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames a file unless the new name is taken (an error that is os.ErrExist); the kernel decides
// between several who try. File systems that cannot (NFS, some FUSE) get a link and a removal instead, which
// decides as well, and leaves both names of one file to a crash in between.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return linkNew(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// fragment is the unit in which the file system counts its blocks: Linux file systems may report another size
// for transfers (NFS does).
func fragment(st *unix.Statfs_t) int64 {
	if st.Frsize > 0 {
		return int64(st.Frsize)
	}
	return int64(st.Bsize)
}
