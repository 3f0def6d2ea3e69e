//go:build unix

// Package supervisor runs the processes of one cluster and ends with all of them.
//
// It never restarts a process: a process killed by a test stays dead. As the first process of its own process namespace, its end
// is the end of every container in it.
package supervisor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster/internal/process"
)

// Spec lists the processes of one cluster.
type Spec struct {
	Logs      string   // folder of the log files, NAME.log each
	Status    string   // file with the Status of each process, rewritten at every change
	CA        string   // PEM file that verifies https addresses in After
	Setup     []string // command that must succeed first; may be empty
	Processes []Process
}

// Process is one program to run.
type Process struct {
	Name string
	Args []string // the program's path and its arguments
	// After is an address that must answer before the program starts: tcp://HOST:PORT, or an https URL with status 200.
	After string
}

// Status is the state of one process.
type Status struct {
	Process process.ID // as the supervisor sees it, in its process namespace
	Exit    string     // how it ended; empty while it runs
}

// Run reads a specification (JSON, see Spec) from input, runs the set-up command, starts the processes in order, and records the
// number and the end of each process in the status file. It kills the processes and returns after SIGTERM or SIGINT, or when input
// ends, because the process at its other end is gone. A further JSON value on input, true, makes the cluster independent of that
// process. Only the main goroutine of a program without other tasks may call Run: it reaps every child of the program.
func Run(input io.Reader) error {
	// A child's death signal is bound to the thread that started it, so this thread starts all children and never ends.
	runtime.LockOSThread()
	decoder := json.NewDecoder(input)
	var spec Spec
	if err := decoder.Decode(&spec); err != nil {
		return fmt.Errorf("read specification: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() { // ends with the program
		var detached bool
		if err := decoder.Decode(&detached); err != nil || !detached {
			stop()
		}
	}()
	s := &supervisor{spec: spec, status: map[string]Status{}}
	defer s.killSupervisedProcesses()
	if err := s.setupNamespaces(ctx); err != nil {
		return err
	}
	return s.superviseAll(ctx)
}

// supervisor is used by one goroutine only.
type supervisor struct {
	spec   Spec
	status map[string]Status
}

func (s *supervisor) setupNamespaces(ctx context.Context) error {
	if len(s.spec.Setup) == 0 {
		return nil
	}
	logFile, err := s.openSupervisedLog("setup")
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd := exec.CommandContext(ctx, s.spec.Setup[0], s.spec.Setup[1:]...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Run(); err != nil {
		s.status["setup"] = Status{Exit: err.Error()}
		return errors.Join(fmt.Errorf("run %s: %w", strings.Join(s.spec.Setup, " "), err), s.writeStatus())
	}
	return nil
}

// superviseAll starts the processes and reaps every ended child, including orphans of other processes: it may be the first
// process of a namespace. It returns when ctx is done.
func (s *supervisor) superviseAll(ctx context.Context) error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	todo := s.spec.Processes
	ready := make(chan error, 1)
	wait := func() {
		if len(todo) > 0 {
			after := todo[0].After
			go func() { ready <- s.awaitAddress(ctx, after) }()
		}
	}
	wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-children:
			if err := s.reapChildren(); err != nil {
				return err
			}
		case err := <-ready:
			if err == nil {
				err = s.startProcess(todo[0])
			}
			if err != nil {
				return err
			}
			todo = todo[1:]
			wait()
		}
	}
}

func (s *supervisor) startProcess(p Process) error {
	logFile, err := s.openSupervisedLog(p.Name)
	if err != nil {
		return err
	}
	defer logFile.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	child, err := os.StartProcess(p.Args[0], p.Args, &os.ProcAttr{
		Files: []*os.File{null, logFile, logFile},
		Sys:   supervisedAttributes(),
	})
	if err != nil {
		s.status[p.Name] = Status{Exit: err.Error()}
		return errors.Join(fmt.Errorf("start %s: %w", p.Name, err), s.writeStatus())
	}
	s.status[p.Name] = Status{Process: process.Identify(child.Pid)}
	_ = child.Release() // reap waits for it
	return s.writeStatus()
}

func (s *supervisor) reapChildren() error {
	for {
		var how syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &how, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return nil // ECHILD: no child is left
		}
		for name, status := range s.status {
			if status.Process.PID == pid && status.Exit == "" {
				s.status[name] = Status{Process: status.Process, Exit: describeExit(how)}
				if err := s.writeStatus(); err != nil {
					return err
				}
			}
		}
	}
}

func describeExit(how syscall.WaitStatus) string {
	if how.Signaled() {
		return "killed by signal " + how.Signal().String()
	}
	return fmt.Sprintf("exit status %d", how.ExitStatus())
}

// killSupervisedProcesses kills the process group of every running process with SIGKILL. No data outlives a cluster, so a graceful stop is pointless.
func (s *supervisor) killSupervisedProcesses() {
	for _, status := range s.status {
		if status.Process.PID > 0 && status.Exit == "" {
			_ = syscall.Kill(-status.Process.PID, syscall.SIGKILL)
		}
	}
}

func (s *supervisor) openSupervisedLog(name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(s.spec.Logs, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

func (s *supervisor) writeStatus() error {
	data, err := json.Marshal(s.status)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.spec.Status+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(s.spec.Status+".new", s.spec.Status)
}

// awaitAddress returns when the address answers, or with ctx's error.
func (s *supervisor) awaitAddress(ctx context.Context, after string) error {
	if after == "" {
		return nil
	}
	address, err := url.Parse(after)
	if err != nil {
		return err
	}
	probe := func() bool { return answersTCP(ctx, address.Host) }
	if address.Scheme == "https" {
		client, err := s.trustingClient()
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		probe = func() bool { return answersOK(ctx, client, after) }
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !probe() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

func (s *supervisor) trustingClient() (*http.Client, error) {
	pem, err := os.ReadFile(s.spec.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bytes.TrimSpace(pem))
	return &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
	}, nil
}

func answersTCP(ctx context.Context, address string) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func answersOK(ctx context.Context, client *http.Client, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK
}
