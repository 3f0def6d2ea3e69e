//go:build unix

package cluster

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster/internal/process"
)

// TestControlPlane uses a cluster without a node, then kills some of it and removes it.
func TestControlPlane(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := startCluster(t, Options{Dir: dir, HPASyncPeriod: time.Second})
	t.Run("version", func(t *testing.T) {
		if got, wanted := kubectl(t, c, "version"), "Server Version: "+selectedVersion(t); !strings.Contains(got, wanted) {
			t.Errorf("got %q, want %q in it", got, wanted)
		}
	})
	t.Run("name is taken", func(t *testing.T) {
		if _, err := Start(t.Context(), Options{Name: c.Name(), Dir: dir}); !errors.Is(err, ErrExists) {
			t.Errorf("got %v, want ErrExists", err)
		}
	})
	t.Run("users", func(t *testing.T) { users(t, c) })
	t.Run("autoscaler", func(t *testing.T) {
		if c.state.ExternalName {
			t.Skip("SKIPPED: this machine has no address but loopback")
		}
		autoscale(t, c)
	})
	t.Run("down after kills", func(t *testing.T) { downAfterKills(t, c, dir) })
}

func TestExternalNameRouting(t *testing.T) {
	t.Parallel()
	autoscale(t, startCluster(t, Options{HPASyncPeriod: time.Second, ExternalNameRouting: true}))
}

// autoscale lets the real HPA controller read a metric of a plain process on this machine, through the real aggregation layer.
func autoscale(t *testing.T, c *Cluster) {
	serveExternalMetric(t, c, "7")
	apply(t, c, pausedDeployment+autoscaler)
	eventually(t, time.Minute, want(t, c, "7", "get", "deployment", "paused", "-o", "jsonpath={.spec.replicas}"))
}

// users checks that users have exactly the rights that rules give them.
func users(t *testing.T, c *Cluster) {
	for _, tt := range []struct {
		name   string
		groups []string
		want   string
	}{
		{name: "nobody", want: "no"},
		{name: "root", groups: []string{"system:masters"}, want: "yes"},
	} {
		kubeconfig, err := c.AddUser(tt.name, tt.groups...)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(kubeconfig); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("kubeconfig of %s: %v, %v; want mode 0600", tt.name, info, err)
		}
		out, _ := c.Kubectl(t.Context(), "--kubeconfig", kubeconfig, "auth", "can-i", "get", "pods") // "no" is a failure of kubectl
		if got := strings.TrimSpace(string(out)); got != tt.want {
			t.Errorf("may %s get pods: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func downAfterKills(t *testing.T, c *Cluster, dir string) {
	pids, err := c.Processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, victim := range []string{"etcd", "supervisor"} {
		if err := process.Identify(pids[victim]).Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Open(dir, c.Name()) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := processesNaming(dir); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	if _, err := Open(dir, c.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open after down: got %v, want ErrNotExist", err)
	}
}

const pausedDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: paused}
spec:
  selector: {matchLabels: {app: paused}}
  template:
    metadata: {labels: {app: paused}}
    spec: {containers: [{name: paused, image: "tachometer/pause:1", imagePullPolicy: Never}]}
`

const autoscaler = `---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: paused}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: paused}
  minReplicas: 1
  maxReplicas: 10
  metrics: [{type: External, external: {metric: {name: wanted}, target: {type: AverageValue, averageValue: "1"}}}]
`

// serveExternalMetric starts a process that serves an external metric, and creates the APIService for it.
func serveExternalMetric(t *testing.T, c *Cluster, value string) {
	t.Helper()
	ca, err := newAuthority(pair{cert: filepath.Join(t.TempDir(), "ca.crt"), key: filepath.Join(t.TempDir(), "ca.key")}, "test")
	if err != nil {
		t.Fatal(err)
	}
	serving := pair{cert: filepath.Join(t.TempDir(), "tls.crt"), key: filepath.Join(t.TempDir(), "tls.key")}
	if err := ca.issueCertificate(serving, identity{name: "test", hosts: []string{"metrics.aggregated.svc"}}); err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(serving.cert, serving.key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(c.HostIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(externalMetrics(value))
	server.Listener.Close()
	server.Listener, server.TLS = listener, &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)

	port, err := c.Expose(t.Context(), "aggregated", "metrics", listener.Addr().(*net.TCPAddr).Port)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(ca.path)
	if err != nil {
		t.Fatal(err)
	}
	const service = `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.external.metrics.k8s.io}
spec:
  group: external.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  caBundle: %s
  service: {namespace: aggregated, name: metrics, port: %d}
`
	apply(t, c, fmt.Sprintf(service, base64.StdEncoding.EncodeToString(bundle), port))
}

func externalMetrics(value string) http.Handler {
	const list = `{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},` +
		`"items":[{"metricName":"wanted","metricLabels":{},"timestamp":"%s","value":"%s"}]}`
	const discovery = `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"external.metrics.k8s.io/v1beta1",` +
		`"resources":[{"name":"wanted","namespaced":true,"kind":"ExternalMetricValueList","verbs":["get"]}]}`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/namespaces/default/wanted") {
			fmt.Fprintf(w, list, time.Now().UTC().Format(time.RFC3339), value)
			return
		}
		fmt.Fprint(w, discovery)
	})
}

func TestFailedStartSaysWhyAndLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Name: "broken", Dir: dir, APIServerArgs: []string{"--no-such-flag"}})
	if err == nil {
		t.Fatal("start with a bad flag: no error")
	}
	log := filepath.Join(dir, "broken"+failedSuffix, "kube-apiserver.log")
	for _, wanted := range []string{"kube-apiserver ended", "unknown flag: --no-such-flag", log} {
		if !strings.Contains(err.Error(), wanted) {
			t.Errorf("error lacks %q: %v", wanted, err)
		}
	}
	if _, err := os.Stat(log); err != nil {
		t.Errorf("the log that the error names: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "broken")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if left := processesNaming(dir); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
}

// TestClusterEndsWithItsOwner: a killed test binary leaves no process behind, and the next start removes its folder.
func TestClusterEndsWithItsOwner(t *testing.T) {
	const folder = "TACHOMETER_TEST_OWNER"
	if dir := os.Getenv(folder); dir != "" {
		c, err := Start(t.Context(), Options{Name: "orphan", Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "started"), []byte(c.Dir()), 0o600); err != nil {
			t.Fatal(err)
		}
		select {} // until the test kills it
	}
	t.Parallel()
	dir := t.TempDir()
	owner := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	owner.Env = append(os.Environ(), folder+"="+dir)
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() error { _, err := os.Stat(filepath.Join(dir, "started")); return err })
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait()
	eventually(t, 10*time.Second, func() error {
		if left := processesNaming(dir); len(left) > 0 {
			return fmt.Errorf("processes left: %v", left)
		}
		return nil
	})
	if err := sweepDeadClusters(t.Context(), dir); err != nil { // as the next start does
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "orphan")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestStartThatIsGivenUp(t *testing.T) {
	t.Parallel()
	if _, err := ensurePrograms(t.Context(), logWriter{t}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	dir := t.TempDir()
	if _, err := Start(ctx, Options{Name: "early", Dir: dir}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	if left := processesNaming(dir); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
}
