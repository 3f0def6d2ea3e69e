//go:build unix

// Package process identifies a process unambiguously, and ends it.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ID names a process for as long as the machine runs: the kernel reuses a process number, but never with the same start time.
type ID struct {
	PID   int
	Start string // in the system's own form; empty for no process
}

// Identify returns the identity of the process that has the number pid now. Without such a process, the result is not Alive.
func Identify(pid int) ID {
	start, _ := readProcessStartTime(pid)
	return ID{PID: pid, Start: start}
}

// Alive reports whether the process runs. A zombie does not.
func (p ID) Alive() bool {
	if p.PID <= 0 || p.Start == "" {
		return false
	}
	start, ok := readProcessStartTime(p.PID)
	return ok && start == p.Start
}

// Kill ends the process and its group, if it leads one, and returns when it is gone.
func (p ID) Kill(ctx context.Context) error {
	if !p.Alive() {
		return nil
	}
	if err := syscall.Kill(-p.PID, syscall.SIGKILL); err != nil {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill process %d: %w", p.PID, err)
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for p.Alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of process %d: %w", p.PID, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// readProcessStartTime returns the start of a process; ok is false if the process does not exist, or is a zombie that its parent has not waited
// for.
func readProcessStartTime(pid int) (start string, ok bool) {
	if runtime.GOOS != "linux" {
		out, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
		start = strings.TrimSpace(string(out))
		return start, err == nil && start != ""
	}
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", false
	}
	return parseProcessStat(string(data))
}

// parseProcessStat reads the start from /proc/PID/stat, in clock ticks since the start of the machine.
func parseProcessStat(stat string) (start string, ok bool) {
	// The second field is the program's name in parentheses, which may contain parentheses; the state is the third field, the start
	// the 22nd.
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return "", false
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", false
	}
	return fields[19], true
}
