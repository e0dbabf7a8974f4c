package buckettest

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the server end when the test process is killed and cannot end it.
func dieWithParent(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
