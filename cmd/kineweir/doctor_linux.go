package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// syncSpeed measures how long a small durable write to a file of dir takes:
// the median and the 99th percentile. It leaves nothing behind.
func syncSpeed(ctx context.Context, dir string) (p50, p99 time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".kineweir-doctor-*")
	if err != nil {
		return 0, 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	if _, err := f.Write(make([]byte, syncTries*len(block))); err != nil {
		return 0, 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, 0, fmt.Errorf("sync: %w", err)
	}
	var took []time.Duration
	for begin := time.Now(); len(took) < syncTries && (len(took) < 5 || time.Since(begin) < syncTime) && ctx.Err() == nil; {
		start := time.Now()
		block[0]++
		if _, err := f.WriteAt(block, int64(len(took)*len(block))); err != nil {
			return 0, 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, 0, fmt.Errorf("fdatasync: %w", err)
		}
		took = append(took, time.Since(start))
	}
	if len(took) == 0 {
		return 0, 0, ctx.Err()
	}
	slices.Sort(took)
	return took[len(took)/2], took[(len(took)*99)/100], nil
}

// fileSystems are those by statfs(2) magic that deserve a name or a warning.
var fileSystems = map[int64]struct{ name, warning string }{
	unix.EXT4_SUPER_MAGIC:      {"ext4", ""},
	unix.XFS_SUPER_MAGIC:       {"xfs", ""},
	unix.BTRFS_SUPER_MAGIC:     {"btrfs", ""},
	0x2fc12fc1:                 {"zfs", ""},
	unix.F2FS_SUPER_MAGIC:      {"f2fs", ""},
	unix.TMPFS_MAGIC:           {"tmpfs", "this is memory: everything is gone after a restart of the machine; choose a folder on a disk with --data"},
	unix.RAMFS_MAGIC:           {"ramfs", "this is memory: everything is gone after a restart of the machine; choose a folder on a disk with --data"},
	unix.OVERLAYFS_SUPER_MAGIC: {"overlay", "this is the throw-away layer of a container: mount a volume and point --data at it"},
	unix.NFS_SUPER_MAGIC:       {"nfs", "a network file system stalls recording when the network does; keep the data folder on a local disk and use a bucket for the video"},
	unix.SMB2_SUPER_MAGIC:      {"smb", "a network file system stalls recording when the network does; keep the data folder on a local disk and use a bucket for the video"},
	unix.CIFS_SUPER_MAGIC:      {"cifs", "a network file system stalls recording when the network does; keep the data folder on a local disk and use a bucket for the video"},
	unix.CEPH_SUPER_MAGIC:      {"ceph", "a network file system stalls recording when the network does; keep the data folder on a local disk and use a bucket for the video"},
	unix.FUSE_SUPER_MAGIC:      {"fuse", "what a sync means here depends on a program: keep the data folder on a local disk"},
	unix.V9FS_MAGIC:            {"9p", "this folder is shared from another system: keep the data folder on a local disk"},
	unix.MSDOS_SUPER_MAGIC:     {"fat", "this file system has no journal: a power failure can damage it; use ext4 or xfs"},
}

// fileSystem names the file system of dir, with what is wrong with it.
func fileSystem(dir string) (name, warning string) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "unknown file system", ""
	}
	if fs, ok := fileSystems[int64(st.Type)]; ok {
		return fs.name, fs.warning
	}
	return fmt.Sprintf("file system %#x", st.Type), ""
}

// diskSpace returns what this user may still write to the disk of dir, and its
// size.
func diskSpace(dir string) (free, total size, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs: %w", err)
	}
	return size(st.Bavail) * size(st.Bsize), size(st.Blocks) * size(st.Bsize), nil
}

// clockState asks the kernel, see adjtimex(2).
func clockState() clockReading {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return clockReading{}
	}
	return clockReading{
		known:        true,
		synchronized: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0,
		offBy:        time.Duration(t.Maxerror) * time.Microsecond,
	}
}

// openFileLimit returns the hard limit, to which Go raises the soft one.
func openFileLimit() (uint64, bool) {
	var r unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	return r.Max, err == nil
}
