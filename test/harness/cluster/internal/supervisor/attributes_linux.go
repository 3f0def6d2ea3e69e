package supervisor

import "syscall"

// supervisedAttributes puts a process into a group of its own, and lets the kernel kill it should the supervisor be killed.
func supervisedAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
