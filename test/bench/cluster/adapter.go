// The adapter as a process outside the cluster, installed with its shipped manifests.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
	"github.com/tachometer-metrics/tachometer/test/harness/memorygroup"
	"github.com/tachometer-metrics/tachometer/test/harness/metricspage"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// adapter is our adapter as a process, with the rights of its shipped ServiceAccount.
type adapter struct {
	*process // nil before installAdapter
	program  string
	dir      string
	url      string
	client   *http.Client // for the self-metrics, as an administrator
}

func buildAdapter(ctx context.Context, root, dir string) (*adapter, error) {
	a := &adapter{program: filepath.Join(dir, "adapter"), dir: dir}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", a.program, "./cmd/tachometer-adapter")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the adapter: %w: %s", err, out)
	}
	return a, nil
}

// installAdapter starts the adapter in a cluster, and returns when the API server reaches it.
func (a *adapter) installAdapter(ctx context.Context, c *cluster.Cluster, root string, interval time.Duration) error {
	port, err := freeBenchPort(c.HostIP())
	if err != nil {
		return err
	}
	a.url = "https://" + net.JoinHostPort(c.HostIP(), strconv.Itoa(port))
	if err := stack.InstallProcess(ctx, c, root, port); err != nil {
		return fmt.Errorf("install the adapter: %w", err)
	}
	kubeconfig, config := filepath.Join(a.dir, "kubeconfig"), filepath.Join(a.dir, "config.yaml")
	if err := stack.WriteAdapterKubeconfig(ctx, c, kubeconfig); err != nil {
		return err
	}
	text := fmt.Sprintf("apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nscrape: {interval: %v}\n", interval)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	limits, err := memorygroup.ReadLimits(ctx, memorygroup.AdapterManifest)
	if err != nil {
		return err
	}
	log, err := os.Create(a.adapterLogFile())
	if err != nil {
		return err
	}
	defer log.Close()
	a.process, err = startClusterBenchProcess(log, []string{"GOMEMLIMIT=" + limits.GoMemory}, a.program,
		"--config="+config, "--allow-host-network", "--kubeconfig="+kubeconfig, "--secure-port="+strconv.Itoa(port), "--shutdown-delay-duration=0s")
	if err != nil {
		return err
	}
	if err := a.awaitAdapterAvailable(ctx, c); err != nil {
		return errors.Join(err, a.adapterExitReason())
	}
	return nil
}

func (a *adapter) adapterLogFile() string { return filepath.Join(a.dir, "adapter.log") }

// adapterExitReason returns the reason why the process has ended, or nil while it runs.
func (a *adapter) adapterExitReason() error {
	select {
	case <-a.done:
		log, _ := os.ReadFile(a.adapterLogFile())
		return fmt.Errorf("the adapter ended: %v; its log: %s", a.cmd.ProcessState, log[max(0, len(log)-2000):])
	default:
		return nil
	}
}

func (a *adapter) endBenchAdapter() {
	if a.process != nil {
		a.process.stopBenchProcess()
	}
}

func freeBenchPort(host string) (int, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// awaitAdapterAvailable returns when the adapter is ready and its APIService is available.
func (a *adapter) awaitAdapterAvailable(ctx context.Context, c *cluster.Cluster) error {
	if err := stack.Wait(ctx, time.Minute, func(ctx context.Context) error { return a.connectAdapterClient(ctx, c) }); err != nil {
		return err
	}
	err := stack.Wait(ctx, 2*time.Minute, func(ctx context.Context) error {
		_, err := a.getFromAdapter(ctx, "/readyz")
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for the adapter to be ready: %w", err)
	}
	_, err = c.Kubectl(ctx, "wait", "--for=condition=Available", "--timeout=60s", "apiservice/v1beta2.custom.metrics.k8s.io")
	return err
}

// connectAdapterClient makes the client. It trusts the certificate that the adapter wrote into its APIService.
func (a *adapter) connectAdapterClient(ctx context.Context, c *cluster.Cluster) error {
	out, err := c.Kubectl(ctx, "get", "apiservice", "v1beta2.custom.metrics.k8s.io", "-o", "json")
	if err != nil {
		return err
	}
	var service struct{ Spec struct{ CABundle []byte } }
	if err := json.Unmarshal(out, &service); err != nil {
		return fmt.Errorf("parse APIService: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(service.Spec.CABundle) {
		return errors.New("the adapter has written no caBundle yet")
	}
	pair, err := tls.LoadX509KeyPair(c.AdminCert(), c.AdminKey())
	if err != nil {
		return err
	}
	a.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		RootCAs: pool, ServerName: "tachometer-adapter." + stack.AdapterNamespace + ".svc", Certificates: []tls.Certificate{pair},
	}}}
	return nil
}

// getFromAdapter reads from the adapter itself, not through kube-apiserver.
func (a *adapter) getFromAdapter(ctx context.Context, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return nil, fmt.Errorf("GET %s: %s: %s", path, response.Status, body)
	}
	return response.Body, nil
}

// countAdapterScrapes returns the number of scrapes, and the number of due scrapes that were missed.
func (a *adapter) countAdapterScrapes(ctx context.Context) (made, missed float64, err error) {
	page, err := a.getFromAdapter(ctx, "/metrics")
	if err != nil {
		return 0, 0, err
	}
	defer page.Close()
	metrics, err := metricspage.Parse(page)
	return metrics.Sum("tachometer_scrape_requests_total"), metrics.Sum("tachometer_scrape_missed_total"), err
}
