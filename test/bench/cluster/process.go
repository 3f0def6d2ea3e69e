// Child processes with their log: start, exit and stop.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a child of this process and ends with it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	line string // first printed line, of startGroupPages only
}

// startGroupPages runs this program as the server of the pages, and waits for its port.
func startGroupPages(dir string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, "-role", rolePages), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stderr, p.cmd.SysProcAttr = dir, os.Stderr, benchProcessAttributes()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the pages: %w", err)
	}
	if p.line, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("start the pages: %w", err), p.cmd.Wait())
	}
	p.line = strings.TrimSpace(p.line)
	go p.awaitBenchProcessExit()
	return p, nil
}

// startClusterBenchProcess runs a program with its log in a file.
func startClusterBenchProcess(log *os.File, env []string, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = log, log, benchProcessAttributes()
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(program), err)
	}
	go p.awaitBenchProcessExit()
	return p, nil
}

func (p *process) awaitBenchProcessExit() {
	defer close(p.done)
	_ = p.cmd.Wait() // the end was requested, or the log has the reason
}

func (p *process) benchChildPID() int { return p.cmd.Process.Pid }

// stopBenchProcess stops the process and waits for its end.
func (p *process) stopBenchProcess() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	<-p.done
}
