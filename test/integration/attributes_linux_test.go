package integration

import "syscall"

// attributes has the kernel end a process with this process, even after a crash.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
