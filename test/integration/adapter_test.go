package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/test/harness/host"
	"github.com/tachometer-metrics/tachometer/test/harness/memorygroup"
	"github.com/tachometer-metrics/tachometer/test/harness/metricspage"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// config has the built-in rules, and a rule for a queue. The interval is shorter than the default, to save time. The maximum age is the
// default, so that a busy machine does not affect the tests.
const config = `apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
scrape: {interval: 500ms}
maxAge: 10s
rules:
- metric: queue_messages
  external: true
  query: sum(queue_messages)
  fallback: {after: 3s, value: 8}
- metric: queue_messages_by_service
  external: true
  targets: {service: ` + queueNamespace + `/queue}
  query: sum(queue_messages)
  fallback: {after: 3s, value: 8}
- metric: messages_of_service
  resource: services
  targets: {service: ` + queueNamespace + `/queue}
  labels: {object: consumer, namespace: exported_namespace}
  query: sum(queue_messages)
  fallback: {after: 3s, value: 8}
- metric: request_per_second
  query: sum by (namespace, pod) (rate(http_requests_total[$window]))
- match: ^(.+)_per_second$
  query: sum by (namespace, pod) (rate({__name__="${1}_total"}[$window]))
- match: ^(?P<counter>.+)_per_second$
  query: sum by (namespace, pod) (rate({__name__="${counter}"}[$window]))
- match: ^(.+)_p(50|90|95|99)$
  query: histogram_quantile(${2} / 100, sum by (namespace, pod, le) (rate({__name__="${1}_bucket"}[$window])))
  aggregate: max
- match: ^(.+)$
  query: sum by (namespace, pod) ({__name__="${1}"})
`

// adapter is cmd/adapter as a process, with the rights of its shipped ServiceAccount.
type adapter struct {
	program, config, kubeconfig, log string
	goMemory                         string // the shipped GOMEMLIMIT

	port    int
	process *exec.Cmd
	reader  *http.Client // reads from the adapter itself, as a user with the view right for all
}

// buildAdapter builds the program.
func buildAdapter(ctx context.Context, dir string) (*adapter, error) {
	limits, err := memorygroup.ReadLimits(ctx, memorygroup.AdapterManifest)
	if err != nil {
		return nil, err
	}
	a := &adapter{
		goMemory: limits.GoMemory,
		program:  filepath.Join(dir, "adapter"), config: filepath.Join(dir, "config.yaml"),
		kubeconfig: filepath.Join(dir, "kubeconfig"), log: filepath.Join(dir, "adapter.log"),
	}
	root, err := stack.Root(ctx)
	if err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", a.program, "./cmd/tachometer-adapter")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the adapter: %w: %s", err, out)
	}
	return a, os.WriteFile(a.config, []byte(config), 0o600)
}

// start starts the process; it may not be ready when start returns.
func (a *adapter) start() error {
	log, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	a.process = exec.Command(a.program, "--config="+a.config, "--allow-host-network", "--kubeconfig="+a.kubeconfig, "--secure-port="+strconv.Itoa(a.port),
		"--shutdown-delay-duration=100ms", "--logging-format=text")
	a.process.Env = append(os.Environ(), "GOMEMLIMIT="+a.goMemory, detectMutations)
	a.process.Stdout, a.process.Stderr = log, log
	a.process.SysProcAttr = attributes()
	if err := a.process.Start(); err != nil {
		return fmt.Errorf("start the adapter: %w", err)
	}
	return nil
}

// stop tells the process to end and waits for its end, with code 0.
func (a *adapter) stop() error {
	if a.process == nil {
		return nil
	}
	process := a.process
	a.process = nil
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the adapter: %w", err)
	}
	kill := time.AfterFunc(20*time.Second, func() { _ = process.Process.Kill() })
	defer kill.Stop()
	if err := process.Wait(); err != nil {
		return fmt.Errorf("the adapter, told to stop: %w", err)
	}
	return nil
}

// await returns when the adapter is ready and its APIServices are available.
func (a *adapter) await(ctx context.Context) error {
	if err := poll(ctx, time.Minute, a.connect); err != nil {
		return err
	}
	if err := poll(ctx, time.Minute, a.ready); err != nil {
		return fmt.Errorf("wait for the adapter to be ready: %w", err)
	}
	_, err := shared.Kubectl(ctx, "wait", "--for=condition=Available", "--timeout=60s",
		"apiservice/v1beta1.custom.metrics.k8s.io", "apiservice/v1beta2.custom.metrics.k8s.io", "apiservice/v1beta1.external.metrics.k8s.io")
	return err
}

// ready returns an error until the adapter is ready. A connection from before the adapter knew the authority of its clients has no certificate: it
// is closed.
func (a *adapter) ready(ctx context.Context) error {
	_, err := a.get(ctx, "/readyz")
	a.reader.CloseIdleConnections()
	return err
}

// connect creates the client for direct reads. It verifies the adapter as kube-apiserver does, by the caBundle that the adapter
// wrote. It is a user with the shipped rights to view metrics and self-metrics.
func (a *adapter) connect(ctx context.Context) error {
	if a.reader != nil {
		return nil
	}
	bundle, err := caBundle(ctx, "v1beta2.custom.metrics.k8s.io")
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return fmt.Errorf("no certificate in the caBundle of %d bytes", len(bundle))
	}
	kubeconfig, err := shared.AddUser("viewer")
	if err != nil {
		return err
	}
	who, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(who.CertData, who.KeyData)
	if err != nil {
		return err
	}
	for _, role := range []string{"view", "tachometer-self-metrics-reader"} {
		if _, err := shared.Kubectl(ctx, "create", "clusterrolebinding", "viewer-"+role, "--clusterrole="+role, "--user=viewer"); err != nil {
			return err
		}
	}
	a.reader = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: pool, ServerName: "tachometer-adapter." + stack.AdapterNamespace + ".svc", Certificates: []tls.Certificate{pair},
	}}}
	return nil
}

// get reads from the adapter itself, not through kube-apiserver.
func (a *adapter) get(ctx context.Context, path string) ([]byte, error) {
	url := "https://" + net.JoinHostPort(shared.HostIP(), strconv.Itoa(a.port)) + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := a.reader.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, response.Status, body)
	}
	return body, err
}

// counted returns a counter or gauge of the self-metrics; pairs are names and values of its labels.
func (a *adapter) counted(ctx context.Context, name string, pairs ...string) (float64, error) {
	page, err := a.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	metrics, err := metricspage.Parse(bytes.NewReader(page))
	if err == nil && !metrics.Has(name, pairs...) {
		err = fmt.Errorf("no self-metric %s%v", name, pairs)
	}
	return metrics.Sum(name, pairs...), err
}

// resident returns the peak of the process's resident memory, in bytes.
func (a *adapter) resident() (int64, error) {
	return host.PeakResident(a.process.Process.Pid)
}
