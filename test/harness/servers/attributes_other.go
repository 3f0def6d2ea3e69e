//go:build unix && !linux

package servers

import "syscall"

func serverAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
