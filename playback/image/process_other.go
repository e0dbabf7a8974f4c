//go:build !linux

package image

import (
	"os"
	"os/exec"
)

// ownGroup does nothing: groups of processes differ between systems.
func ownGroup(*exec.Cmd) {}

// killGroup kills a process; ffmpeg starts no others.
func killGroup(p *os.Process) error { return p.Kill() }

// limit does nothing: only Linux limits a process from outside.
func limit(int, int64) error { return nil }
