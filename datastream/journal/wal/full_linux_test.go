package wal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestFullDevice runs fullChild on real file systems without room, which that
// child mounts where only it sees them: ext4 by root, who may, and tmpfs always.
func TestFullDevice(t *testing.T) {
	kinds := []string{"tmpfs"}
	attr := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if uid := os.Getuid(); uid == 0 {
		kinds = append(kinds, "ext4")
	} else {
		attr.Cloneflags = syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	for i, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childEnv+"=full", dirEnv+"="+t.TempDir(), fmt.Sprintf("%s=%d", roundEnv, i))
			cmd.Stderr = os.Stderr
			cmd.SysProcAttr = attr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatalf("a child that may mount: %v", err)
			}
			last := ""
			for lines := bufio.NewScanner(out); lines.Scan(); {
				last = lines.Text()
				t.Log(last)
			}
			if err := cmd.Wait(); err != nil || last != "done" {
				t.Errorf("child: %q, %v", last, err)
			}
		})
	}
}
