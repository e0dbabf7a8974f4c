package vfs

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Kind names the type of the file system that holds dir, or gives the number
// by which the kernel knows it (statfs(2)).
func (OS) Kind(dir string) (string, error) {
	var st unix.Statfs_t
	err := ignoringEINTR(func() error { return unix.Statfs(dir, &st) })
	if err != nil {
		return "", &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	switch int64(st.Type) {
	case unix.TMPFS_MAGIC:
		return "tmpfs", nil
	case unix.RAMFS_MAGIC:
		return "ramfs", nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay", nil
	case unix.NFS_SUPER_MAGIC:
		return "nfs", nil
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "smb", nil
	case unix.FUSE_SUPER_MAGIC:
		return "fuse", nil
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", nil
	}
	return fmt.Sprintf("%#x", st.Type), nil
}
