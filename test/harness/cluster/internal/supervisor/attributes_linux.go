package supervisor

import "syscall"

// supervisedAttributes puts a process into a group of its own, and has the kernel kill it if the supervisor is killed.
func supervisedAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
