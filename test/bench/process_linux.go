// Division of the processors between the measured process and the processes around it.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

type cpuSet = unix.CPUSet

// processors are this machine's processors, divided: the last for the measured process, the others for its servers and clients. A
// machine with a single processor uses it for both.
type processors struct{ measured, others cpuSet }

// divideProcessors must be called before leaveMeasuredProcessor.
func divideProcessors() (p processors, err error) {
	if err := unix.SchedGetaffinity(0, &p.others); err != nil {
		return p, fmt.Errorf("list processors: %w", err)
	}
	last := -1
	for cpu := range len(p.others) * 64 {
		if p.others.IsSet(cpu) {
			last = cpu
		}
	}
	p.measured.Set(last)
	if p.others.Count() > 1 {
		p.others.Clear(last)
	}
	return p, nil
}

// leaveMeasuredProcessor moves this process off the measured process's processor, for good.
func (p *processors) leaveMeasuredProcessor() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err == nil {
			err = unix.SchedSetaffinity(id, &p.others) // later threads inherit it
		}
		if err != nil {
			return fmt.Errorf("pin thread %s: %w", thread.Name(), err)
		}
	}
	runtime.GOMAXPROCS(p.others.Count())
	return nil
}

// launchOn starts a process that ends with this process. A measured process has one processor; its Go runtime takes that number from the system.
func launchOn(cmd *exec.Cmd, cpus *cpuSet) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var own cpuSet
	runtime.LockOSThread() // a child inherits the processors of the thread that starts it
	defer runtime.UnlockOSThread()
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, cpus); err != nil {
		return err
	}
	err := cmd.Start()
	if restore := unix.SchedSetaffinity(0, &own); err == nil {
		err = restore
	}
	return err
}
