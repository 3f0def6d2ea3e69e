package servers

import "syscall"

// serverAttributes make a process group, which ends with this process however that ends.
func serverAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
