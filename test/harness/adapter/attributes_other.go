//go:build !linux

package adapter

import "syscall"

func newAdapterProcessAttributes() *syscall.SysProcAttr { return nil }
