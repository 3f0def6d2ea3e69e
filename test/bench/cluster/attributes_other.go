//go:build !linux

// The attributes of child processes on other systems: their own group.

package main

import "syscall"

// benchProcessAttributes puts a process in its own group, so that Ctrl-C does not end it directly.
func benchProcessAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
