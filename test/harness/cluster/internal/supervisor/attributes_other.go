//go:build unix && !linux

package supervisor

import "syscall"

// supervisedAttributes puts a process into a group of its own. There is no death signal here: `cluster down` kills the processes in the
// status file.
func supervisedAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
