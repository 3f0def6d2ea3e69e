// Child processes of a run: programs and roles of this program, with their logs, start and end.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/host"
)

// processTimeout bounds the start and the end of a process.
const processTimeout = 60 * time.Second

// process is a child of this process.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	log  *os.File
	line string // the first printed line; empty for foreign programs
}

// startBenchChild runs a program on some processors, with its log in dir.
func startBenchChild(on *cpuSet, dir, program string, args ...string) (*process, error) {
	log, err := os.CreateTemp(dir, filepath.Base(program)+"-*.log")
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(program, args...), done: make(chan struct{}), log: log}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	if err := p.launchBenchChild(on); err != nil {
		return nil, err
	}
	go p.awaitBenchChildExit()
	return p, nil
}

// startBenchRole runs this program in another role, and waits for the line with its address.
func startBenchRole(on *cpuSet, dir, role string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, append([]string{"-role", role}, args...)...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stderr = dir, os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.launchBenchChild(on); err != nil {
		return nil, err
	}
	if p.line, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", role, err), p.cmd.Wait())
	}
	p.line = strings.TrimSpace(p.line)
	go p.awaitBenchChildExit()
	return p, nil
}

func (p *process) launchBenchChild(on *cpuSet) error {
	if err := launchOn(p.cmd, on); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(p.cmd.Path), err)
	}
	return nil
}

func (p *process) awaitBenchChildExit() {
	defer close(p.done)
	_ = p.cmd.Wait() // the end was requested, or the log has the reason
}

// endBenchChild stops the process and waits for its end.
func (p *process) endBenchChild() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(processTimeout, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	<-p.done
	if p.log != nil {
		p.log.Close()
	}
}

func (p *process) benchChildPID() int { return p.cmd.Process.Pid }

// benchChildResidentBytes returns the resident memory of the process, in bytes.
func (p *process) benchChildResidentBytes() (int64, error) { return host.Resident(p.benchChildPID()) }

// awaitBenchChildOK polls a URL until it returns 200.
func (p *process) awaitBenchChildOK(ctx context.Context, client *http.Client, url string) error {
	return pollBenchUntil(ctx, func() error {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %v", filepath.Base(p.cmd.Path), p.cmd.ProcessState)
		default:
		}
		_, err := fetchBenchPage(ctx, client, url)
		return err
	})
}

// pollBenchUntil calls try until it succeeds or processTimeout ends.
func pollBenchUntil(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, processTimeout)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if sleepInBench(ctx, 200*time.Millisecond) != nil {
			return err
		}
	}
}

// sleepInBench waits, or returns ctx's error.
func sleepInBench(ctx context.Context, d time.Duration) error {
	if !retry.Sleep(ctx, d) {
		return ctx.Err()
	}
	return nil
}

// fetchBenchPage reads a page; a status other than 200 is an error.
func fetchBenchPage(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return body, err
}
