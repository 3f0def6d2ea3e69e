//go:build !linux

package integration

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
