//go:build unix && !linux

package supervisor

import "syscall"

// attributes puts a process into a group of its own. There is no death signal here: `cluster down` kills what the
// status file names.
func supervisedAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
