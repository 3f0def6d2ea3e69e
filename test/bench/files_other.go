//go:build !linux

// The check of the limit of open files on systems other than Linux, where no benchmark runs.

package main

func checkOpenFileLimit(int) error { return errNotLinux }
