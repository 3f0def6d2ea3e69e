// Package adapter runs the real adapter as a process, in a memory cgroup of the shipped limit where one can be made.
package adapter

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/host"
	"github.com/tachometer-metrics/tachometer/test/harness/loopback"
	"github.com/tachometer-metrics/tachometer/test/harness/memorygroup"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// Options name the program and its arguments.
type Options struct {
	Program    string // of Build
	Kubeconfig string
	Arguments  []string // in addition to the arguments of every adapter
}

// Process is a running adapter.
type Process struct {
	// URL is the address of its port.
	URL string
	// Limited is set if it runs in a memory cgroup of the shipped limit.
	Limited bool
	// Ended is closed after the process has ended.
	Ended <-chan struct{}

	command          *exec.Cmd
	log, certificate string // files
	cgroup           string // folder; empty: none
}

// Build compiles the adapter into dir and returns the program's path.
func Build(ctx context.Context, dir string) (string, error) {
	root, err := stack.Root(ctx)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "tachometer-adapter")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/tachometer-adapter")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the adapter: %w: %s", err, out)
	}
	return program, nil
}

// Start runs an adapter with the memory of the shipped Deployment. The caller waits until it serves, and ends it with Stop.
func Start(ctx context.Context, opts Options) (*Process, error) {
	limits, err := memorygroup.ReadLimits(ctx, memorygroup.AdapterManifest)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "adapter-")
	if err != nil {
		return nil, err
	}
	address, err := loopback.ChooseAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	certificate, key, err := issueAdapterCertificate(dir, adapterCertificateLife)
	if err != nil {
		return nil, err
	}
	p := &Process{
		URL: "https://" + address, log: filepath.Join(dir, "log"), certificate: certificate,
		cgroup: memorygroup.Make(limits.Memory),
	}
	p.Limited = p.cgroup != ""
	command := append([]string{
		opts.Program, "--allow-host-network", "--kubeconfig", opts.Kubeconfig, "--bind-address", host, "--secure-port", port,
		"--tls-cert-file", certificate, "--tls-private-key-file", key, "--shutdown-delay-duration", "0s",
	}, opts.Arguments...)
	if p.Limited {
		command = memorygroup.Command(p.cgroup, command...)
	}
	p.command = exec.Command(command[0], command[1:]...)
	p.command.Env = append(os.Environ(), "GOMEMLIMIT="+limits.GoMemory)
	if err := p.launchAdapterProcess(); err != nil {
		return nil, errors.Join(err, p.removeAdapterFiles())
	}
	return p, nil
}

func (p *Process) launchAdapterProcess() error {
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = newAdapterProcessAttributes()
	if err := p.command.Start(); err != nil {
		return fmt.Errorf("start the adapter: %w", err)
	}
	ended := make(chan struct{})
	p.Ended = ended
	go func() { defer close(ended); _ = p.command.Wait() }()
	return nil
}

// NewTrust returns a pool of the certificates in PEM.
func NewTrust(text []byte) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

// Certificate returns the path of the certificate that clients trust.
func (p *Process) Certificate() string { return p.certificate }

// NewTLSConfig returns a configuration that trusts the adapter alone, with the certificates of the client.
func (p *Process) NewTLSConfig(client ...tls.Certificate) (*tls.Config, error) {
	text, err := os.ReadFile(p.certificate)
	return &tls.Config{RootCAs: NewTrust(text), ServerName: "localhost", Certificates: client, MinVersion: tls.VersionTLS12}, err
}

// NewClient returns a client with connections from 127.0.0.host.
func NewClient(config *tls.Config, host byte) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}, Timeout: 10 * time.Second}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true, MaxConnsPerHost: 20,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
	}}
}

// PID returns the number of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// EndError returns why the process ended; nil while it runs.
func (p *Process) EndError() error {
	select {
	case <-p.Ended:
		return fmt.Errorf("the adapter ended: %s: %s", p.command.ProcessState, p.Log())
	default:
		return nil
	}
}

// Log returns the end of the adapter's log.
func (p *Process) Log() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-4000):])
}

// ReadPeakMemory returns the greatest resident memory since the start or the last call, in bytes.
func (p *Process) ReadPeakMemory() (int64, error) {
	peak, err := host.PeakResident(p.PID())
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID()), []byte("5"), 0o600)
	return peak, p.addEndOfProcess(err)
}

// ReadMemory returns the resident memory in bytes.
func (p *Process) ReadMemory() (int64, error) {
	resident, err := host.Resident(p.PID())
	return resident, p.addEndOfProcess(err)
}

// addEndOfProcess adds to an error why the process has ended.
func (p *Process) addEndOfProcess(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, p.EndError())
}

// CountFiles returns the number of the process's open file descriptors.
func (p *Process) CountFiles() (int, error) {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	return len(files), err
}

// Stop ends the process, waits for its end, and removes its files and its cgroup.
func (p *Process) Stop() error {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(20*time.Second, func() { _ = p.command.Process.Kill() })
	defer kill.Stop()
	<-p.Ended
	return p.removeAdapterFiles()
}

func (p *Process) removeAdapterFiles() error {
	err := os.RemoveAll(filepath.Dir(p.log))
	if p.cgroup != "" {
		err = errors.Join(err, os.Remove(p.cgroup))
	}
	return err
}
