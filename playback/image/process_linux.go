package image

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup has a process made the first of a group of its own.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills a process and all it has started.
func killGroup(p *os.Process) error {
	if err := unix.Kill(-p.Pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// limit bounds the memory of a process, and takes from it the right to write
// files and to leave its core behind. It gives way to everything else.
func limit(pid int, memory int64) error {
	size := uint64(memory)
	return errors.Join(
		unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: size, Max: size}, nil),
		unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{}, nil),
		unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil),
		unix.Setpriority(unix.PRIO_PROCESS, pid, niceness),
	)
}
