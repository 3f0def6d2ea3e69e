//go:build !linux

package main

func checkOpenFileLimit(int) error { return errNotLinux }
