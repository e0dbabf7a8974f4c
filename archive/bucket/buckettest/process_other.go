//go:build !linux

package buckettest

import (
	"os/exec"
	"time"
)

// dieWithParent does nothing where the system has no such thing.
func dieWithParent(*exec.Cmd) {}

// waitStopped gives the threads of a child time to obey SIGSTOP.
func waitStopped(int) error { time.Sleep(200 * time.Millisecond); return nil }
