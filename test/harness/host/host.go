// Package host describes this machine and measures the usage of its processes.
package host

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Describe returns the origin of figures in one paragraph: this machine, its load at the start, and the versions of Go and of the
// measured programs.
func Describe(now time.Time, load float64, versions ...string) string {
	var memory string
	for line := range strings.Lines(readHostProcFile("/proc/meminfo")) {
		if total, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(total), " kB"), 64)
			memory = fmt.Sprintf("%.0f GiB", kib/(1<<20))
		}
	}
	model := "unknown processor"
	for line := range strings.Lines(readHostProcFile("/proc/cpuinfo")) {
		if strings.HasPrefix(line, "model name") {
			_, name, _ := strings.Cut(line, ":")
			model = strings.TrimSpace(name)
			break
		}
	}
	all := append([]string{hostKernelVersion(), runtime.Version()}, versions...)
	return fmt.Sprintf("%s; %d × %s, %s; %s; load average %.2f.",
		now.Format("2006-01-02"), runtime.NumCPU(), model, memory, strings.Join(all, ", "), load)
}

// readHostProcFile returns a file of /proc, or "" on failure: figures without a description are still figures.
func readHostProcFile(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// hostLoadAverage returns the load average of the last minute.
func hostLoadAverage() (float64, error) {
	first, _, _ := strings.Cut(readHostProcFile("/proc/loadavg"), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("read load average: %w", err)
	}
	return load, nil
}

// Quiet waits until the load average is no more than most, and returns it. It gives up after patience.
func Quiet(ctx context.Context, most float64, patience time.Duration) (float64, error) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; {
		load, err := hostLoadAverage()
		if err != nil || load <= most {
			return load, err
		}
		if time.Now().After(deadline) {
			return load, fmt.Errorf("load average %.2f: this machine is too busy for figures; a load up to %.2f is accepted (-load)", load, most)
		}
		select {
		case <-ctx.Done():
			return load, ctx.Err()
		case <-tick.C:
		}
	}
}

// Busy returns the total working time of the machine's processors so far.
func Busy() (time.Duration, error) {
	const tick = 10 * time.Millisecond // USER_HZ, on every architecture of Go
	first, _, _ := strings.Cut(readHostProcFile("/proc/stat"), "\n")
	fields := strings.Fields(first) // cpu user nice system idle iowait irq softirq steal …
	if len(fields) < 9 {
		return 0, fmt.Errorf("read /proc/stat: %q", first)
	}
	var ticks int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// Resident returns the resident memory of a process, in bytes.
func Resident(pid int) (int64, error) { return readProcessStatus(pid, "VmRSS:") }

// PeakResident returns the greatest resident memory of a process, in bytes.
func PeakResident(pid int) (int64, error) { return readProcessStatus(pid, "VmHWM:") }

// readProcessStatus returns a size from the status of a process, in bytes.
func readProcessStatus(pid int, key string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s it has ended, or this is not Linux", pid, key)
}
