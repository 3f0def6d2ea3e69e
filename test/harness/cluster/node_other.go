//go:build unix && !linux

// The supervisor on systems without nodes.

package cluster

import "syscall"

func chooseSnapshotter(string) string { return "native" }

// supervisorAttributes starts a session: only Linux has nodes.
func supervisorAttributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
