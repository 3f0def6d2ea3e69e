package main

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPinned: a measured process has its own processor, which this process and its other children do not use.
func TestPinned(t *testing.T) {
	t.Parallel()
	cpus, err := divideProcessors()
	if err != nil {
		t.Fatal(err)
	}
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if all.Count() > 1 && cpus.measured.Count()+cpus.others.Count() != all.Count() {
		t.Errorf("%d and %d processors of %d", cpus.measured.Count(), cpus.others.Count(), all.Count())
	}
	seen := map[string]bool{}
	for _, on := range []*cpuSet{&cpus.measured, &cpus.others} {
		var out strings.Builder
		cmd := exec.Command("grep", "Cpus_allowed_list", "/proc/self/status")
		cmd.Stdout = &out
		if err := launchOn(cmd, on); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		seen[out.String()] = true
	}
	if want := min(2, all.Count()); len(seen) != want {
		t.Errorf("processes run on %v, want %d different lists", seen, want)
	}
}
