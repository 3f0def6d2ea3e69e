//go:build !linux

package main

import "syscall"

// benchProcessAttributes puts a process in its own group, so that Ctrl-C does not end it directly.
func benchProcessAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
