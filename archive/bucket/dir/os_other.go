//go:build !linux

package dir

import "golang.org/x/sys/unix"

// renameNew renames a file unless the new name is taken (an error that is os.ErrExist).
func renameNew(from, to string) error { return linkNew(from, to) }

// fragment is the unit in which the file system counts its blocks.
func fragment(st *unix.Statfs_t) int64 { return int64(st.Bsize) }
