package servers

import "syscall"

// serverAttributes puts a process in its own group and has the kernel end it with this process, even after a crash.
func serverAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
