//go:build unix && !linux

package cluster

import "syscall"

func snapshotter(string) string { return "native" }

// supervisorAttributes: only Linux has nodes.
func supervisorAttributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
