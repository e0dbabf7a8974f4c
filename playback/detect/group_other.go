//go:build !linux

package detect

import (
	"os"
	"os/exec"
)

// ownGroup does nothing: groups of processes differ between systems.
func ownGroup(*exec.Cmd) {}

// killGroup kills a program; what it has started ends with its input.
func killGroup(p *os.Process) error { return p.Kill() }
