package main

import "syscall"

// benchProcessAttributes put a process in a group of its own, so that a Ctrl-C leaves its end to us, and end it with us at the latest.
func benchProcessAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
