//go:build !linux

// The processors of the memory measurement on systems other than Linux, where no benchmark runs.

package main

func (*processors) allProcessors() cpuSet { return cpuSet{} }
