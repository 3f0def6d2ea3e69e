package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine says where figures come from, in one paragraph.
func machine(now time.Time, load float64, versions ...string) string {
	var memory string
	for line := range strings.Lines(read("/proc/meminfo")) {
		if total, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(total), " kB"), 64)
			memory = fmt.Sprintf("%.0f GiB", kib/(1<<20))
		}
	}
	model := "unknown processor"
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		if strings.HasPrefix(line, "model name") {
			_, name, _ := strings.Cut(line, ":")
			model = strings.TrimSpace(name)
			break
		}
	}
	all := append([]string{kernel(), runtime.Version()}, versions...)
	return fmt.Sprintf("Measured on %s: %d × %s, %s; %s. Load average at the start: %.2f.",
		now.Format("2006-01-02"), runtime.NumCPU(), model, memory, strings.Join(all, ", "), load)
}

// read returns a file of /proc, or nothing: figures without a description are still figures.
func read(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// loadAverage is that of the last minute.
func loadAverage() (float64, error) {
	first, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("read load average: %w", err)
	}
	return load, nil
}

// quiet waits until the load average is no more than most, and returns it. It gives up after patience.
func quiet(ctx context.Context, most float64, patience time.Duration) (float64, error) {
	for deadline := time.Now().Add(patience); ; {
		load, err := loadAverage()
		if err != nil || load <= most {
			return load, err
		}
		if time.Now().After(deadline) {
			return load, fmt.Errorf("load average %.2f: this machine is too busy for figures; a load up to %.2f is accepted (-load)", load, most)
		}
		if err := pause(ctx, 5*time.Second); err != nil {
			return load, err
		}
	}
}

// busy is the time that all processors of the machine have worked so far, for whomever.
func busy() (time.Duration, error) {
	const tick = 10 * time.Millisecond // USER_HZ, on every architecture that Go runs on
	first, _, _ := strings.Cut(read("/proc/stat"), "\n")
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

// prometheusVersion is the version that a program says it is.
func prometheusVersion(ctx context.Context, program string) (string, error) {
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	words := strings.Fields(string(bytes.TrimSpace(out))) // prometheus, version 2.42.0+ds (branch: …
	if len(words) < 3 {
		return "", fmt.Errorf("ask %s for its version: %q", program, out)
	}
	version := "Prometheus " + words[2]
	for line := range strings.Lines(string(out)) {
		if built, ok := strings.CutPrefix(strings.TrimSpace(line), "go version:"); ok {
			version += " (built with " + strings.TrimSpace(built) + ")"
		}
	}
	return version, nil
}
