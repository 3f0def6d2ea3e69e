package adapter

import "syscall"

// newAdapterProcessAttributes has the process end with this one.
func newAdapterProcessAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
