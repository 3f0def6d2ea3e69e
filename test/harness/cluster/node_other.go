//go:build unix && !linux

package cluster

import "syscall"

func chooseSnapshotter(string) string { return "native" }

// supervisorAttributes: only Linux has nodes.
func supervisorAttributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
