// The attributes of child processes on Linux: their own group, and an end with this process.

package main

import "syscall"

// benchProcessAttributes puts a process in its own group, so that Ctrl-C does not end it directly, and has the kernel end it with
// this process.
func benchProcessAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
