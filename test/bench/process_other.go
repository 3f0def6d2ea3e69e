//go:build !linux

// The division of processors on systems other than Linux, where no benchmark runs.

package main

import (
	"errors"
	"os/exec"
)

// Other systems have no /proc to measure with.

var errNotLinux = errors.New("the benchmarks measure with Linux's /proc")

type cpuSet struct{}

type processors struct{ measured, others cpuSet }

func divideProcessors() (processors, error)       { return processors{}, errNotLinux }
func (*processors) leaveMeasuredProcessor() error { return errNotLinux }
func launchOn(*exec.Cmd, *cpuSet) error           { return errNotLinux }
