//go:build unix && !linux

package vfs

import "os"

// syncData is fsync, which the standard library makes F_FULLFSYNC on macOS:
// anything less stops at the drive's own cache there.
func syncData(f *os.File) error { return f.Sync() }
