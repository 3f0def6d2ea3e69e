//go:build !linux

package main

import "syscall"

// attributes put a process in a group of its own, so that a Ctrl-C leaves its end to us.
func benchProcessAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
