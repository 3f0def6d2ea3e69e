//go:build !linux

package main

func filesFor(int) error { return errNotLinux }
