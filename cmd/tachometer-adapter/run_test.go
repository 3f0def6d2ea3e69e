package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// replica is an adapter that runs in this process.
type replica struct {
	cluster  *fakeCluster
	listener net.Listener
	addr     string
	stop     func() error
}

func startReplica(t *testing.T, c *fakeCluster, configFile string) *replica {
	t.Helper()
	opts := newDefaultOptions()
	opts.configFile = configFile
	return startWith(t, c, opts)
}

func startWith(t *testing.T, c *fakeCluster, opts *commandLineOptions) *replica {
	t.Helper()
	opts.kubeconfig = c.kubeconfig
	opts.allowHostNetwork = true // the pods are on loopback
	opts.server.ShutdownDelay = 200 * time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts.server.Serving.Listener = listener
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runAdapter(ctx, opts) }()
	r := &replica{cluster: c, listener: listener, addr: listener.Addr().String()}
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("run = %v", err)
		}
	})
	return r
}

// getPath reads as kube-apiserver does: over TLS, verified by the APIService's caBundle alone.
func (r *replica) getPath(ctx context.Context, path string) (string, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.cluster.caBundle())
	return r.getWithTLS(ctx, &tls.Config{RootCAs: pool, ServerName: "tachometer-adapter.tachometer.svc"}, path)
}

func (r *replica) getWithTLS(ctx context.Context, trust *tls.Config, path string) (string, error) {
	return r.getAs(ctx, "reader", trust, path)
}

// getAs reads as a user, whose name is the token.
func (r *replica) getAs(ctx context.Context, user string, trust *tls.Config, path string) (string, error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.addr+path, http.NoBody)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+user)
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

func (r *replica) isReady(ctx context.Context) bool {
	_, err := r.getPath(ctx, "/readyz")
	return err == nil
}

// wantRate reads the pod's rate, which is 100 a second by the page's own times.
func (r *replica) wantRate(t *testing.T) {
	t.Helper()
	var body string
	waitUntil(t, func() bool {
		var err error
		body, err = r.getPath(t.Context(), "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_per_second")
		return err == nil
	})
	var values v1beta2.MetricValueList
	if err := json.Unmarshal([]byte(body), &values); err != nil {
		t.Fatal(err)
	}
	if len(values.Items) != 1 || math.Abs(values.Items[0].Value.AsApproximateFloat64()-100) > 0.1 {
		t.Errorf("values %s, want one of 100", body)
	}
}

// Two adapters, each with all its parts, from a first certificate that they share to the end of one and the other.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	c := newFakeCluster(t)
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(configHeader+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("maxAge: 5m\nscrape: {interval: 200ms}\n")
	a, b := startReplica(t, c, path), startReplica(t, c, path)
	for _, r := range []*replica{a, b} {
		waitUntil(t, func() bool { return r.isReady(t.Context()) })
		r.wantRate(t)
	}

	write("scrape: {interval: soon}\n")
	waitUntil(t, func() bool {
		notes, err := a.getPath(t.Context(), "/readyz?verbose")
		return err == nil && strings.Contains(notes, "scrape.interval")
	})
	a.wantRate(t)

	write("maxAge: 5m\nscrape: {interval: 200ms}\nrules: [{metric: requests, query: \"sum by (namespace, pod) (rate(http_requests_total[$window]))\"}]\n")
	const pods = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/"
	waitUntil(t, func() bool {
		_, err := a.getPath(t.Context(), pods+"*/requests")
		return err == nil
	})
	if body, err := a.getPath(t.Context(), pods+"*/request_per_second"); err == nil || !strings.Contains(body, "no rule") {
		t.Errorf("a rule that the file no longer has: %v %s", err, body)
	}

	if err := a.stop(); err != nil {
		t.Errorf("run = %v", err)
	}
	if _, err := a.listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a stopped replica listens: %v", err)
	}
	waitUntil(t, func() bool { // the metric is new to it
		_, err := b.getPath(t.Context(), pods+"web-1/requests")
		return err == nil
	})
}

// A part that ends by itself, or with an error, ends the adapter.
func TestSupervise(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		ctx  context.Context
		err  error
		want string
	}{
		"told to":     {ended, nil, ""},
		"by itself":   {t.Context(), nil, "run part: ended by itself"},
		"by an error": {t.Context(), broken, "run part: broken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := superviseComponent(tc.ctx, "part", func(context.Context) error { return tc.err })
			if got := errorText(err); got != tc.want {
				t.Errorf("supervise = %q, want %q", got, tc.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
