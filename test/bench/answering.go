// Measures reads of custom metrics: the processor time and the latency of the adapter under a reader.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

// answering is the part that measures reads of the adapter, which runs beside a minimal kube-apiserver.
type answering struct {
	cpus     processors
	dir      string
	program  string // the adapter
	groups   int
	steady   time.Duration
	profiles string
	log      io.Writer

	kube    *kubeapi.Server
	adapter *process
	pages   *process
	base    string
	trust   *tls.Config

	idle    usage // without reads
	measure func(context.Context) ([]*answer, error)
}

// answer is one row of the report.
type answer struct {
	usage
	latencies
	name, protocol  string
	rate            int
	reviews, others int // requests to kube-apiserver meanwhile
}

// cpuPerAPIRead returns the CPU time of a read: the adapter's usage minus its usage without reads.
func (a *answer) cpuPerAPIRead(idle usage) time.Duration {
	scraping := time.Duration(float64(idle.cpu) * a.elapsed.Seconds() / idle.elapsed.Seconds())
	return (a.cpu - scraping) / time.Duration(max(1, len(a.latencies)))
}

func (a *answer) apiReadsPerSecond() float64 { return float64(len(a.latencies)) / a.elapsed.Seconds() }

// The protocols. The API server library uses HTTP/2 for an adapter.
const (
	http1 = "HTTP/1.1"
	http2 = "HTTP/2"
)

// The kinds of reads.
const (
	fewSeries  = "20 pods, a series each"
	manySeries = "20 pods, 24 series each"
	noPod      = "no pod matches"
)

func (a *answering) chooseAPIRead(name string) question {
	metric, app := orderRate, ""
	q := question{status: http.StatusOK, values: podsPerGroup}
	switch name {
	case manySeries:
		metric = requestRate
	case noPod:
		app, q.status, q.values = "nobody", http.StatusNotFound, 0
	}
	q.path = func(n int) string {
		selected := app
		if selected == "" {
			selected = benchGroupName(n % a.groups)
		}
		return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/pods/*/" + metric + "?labelSelector=app%3D" + selected
	}
	return q
}

// measureAnswering starts all processes, measures, and ends the processes.
func (a *answering) measureAnswering(ctx context.Context) (_ []*answer, err error) {
	if a.pages, err = startBenchRole(&a.cpus.others, a.dir, rolePages, "-mode", namedPages); err != nil {
		return nil, err
	}
	defer a.pages.endBenchChild()
	if a.kube, err = startBenchKube(a.groups, a.pages.line); err != nil {
		return nil, err
	}
	defer a.kube.Close()
	if err := a.startAdapter(ctx); err != nil {
		return nil, err
	}
	defer a.adapter.endBenchChild()
	if err := a.awaitFullBenchStore(ctx); err != nil {
		log, _ := os.ReadFile(a.adapter.log.Name())
		return nil, fmt.Errorf("wait for values: %w; log of the adapter: %s", err, log[max(0, len(log)-2000):])
	}
	m := meter{measured: a.adapter, serving: a.pages}
	if a.idle, err = m.measureBenchWork(ctx, a.steady, nil); err != nil {
		return nil, err
	}
	return a.measure(ctx)
}

func (a *answering) measureAllAnswers(ctx context.Context) ([]*answer, error) {
	var all []*answer
	for _, one := range []answer{
		{name: noPod, protocol: http2, rate: 500}, {name: noPod, protocol: http2},
		{name: fewSeries, protocol: http2, rate: 500}, {name: fewSeries, protocol: http2},
		{name: manySeries, protocol: http2, rate: 500}, {name: manySeries, protocol: http2},
		{name: fewSeries, protocol: http1, rate: 500}, {name: fewSeries, protocol: http1},
	} {
		if err := a.measureAPIReads(ctx, &one); err != nil {
			return nil, fmt.Errorf("measure reads of %s: %w", one.name, err)
		}
		fmt.Fprintf(a.log, "%s, %s, %d reads/s: %.0f a second, p50 %v, p99 %v, CPU %v a read, %d reviews and %d others at kube-apiserver, others %.2f, adapter %.2f, reader %.2f processors\n",
			one.name, one.protocol, one.rate, one.apiReadsPerSecond(), one.apiLatencyQuantile(0.5), one.apiLatencyQuantile(0.99), one.cpuPerAPIRead(a.idle), one.reviews, one.others, one.foreign,
			one.cpu.Seconds()/one.elapsed.Seconds(), one.own.Seconds()/one.elapsed.Seconds())
		all = append(all, &one)
	}
	return all, nil
}

func (a *answering) measureAPIReads(ctx context.Context, one *answer) error {
	r := newAPIReader(a.base, a.trust, one.protocol)
	defer r.closeAPIReader()
	q := a.chooseAPIRead(one.name)
	if _, err := r.readAPIAtRate(ctx, q, one.rate, a.steady/5); err != nil { // warms up connections and caches
		return err
	}
	reviews, others := a.kube.CountRequests()
	m := meter{measured: a.adapter, serving: a.pages}
	var err error
	one.usage, err = m.measureBenchWork(ctx, a.steady, func(ctx context.Context) (err error) {
		one.latencies, err = r.readAPIAtRate(ctx, q, one.rate, a.steady)
		return err
	})
	if err != nil {
		return err
	}
	one.reviews, one.others = a.kube.CountRequests()
	one.reviews, one.others = one.reviews-reviews, one.others-others
	if a.profiles == "" || one.rate > 0 {
		return nil
	}
	return a.profileAPIReads(ctx, one, r, q)
}

// profileAPIReads keeps a CPU profile of reads at full speed, taken after the measurement.
func (a *answering) profileAPIReads(ctx context.Context, one *answer, r *reader, q question) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.readAPIAtRate(ctx, q, 0, processTimeout) // ends with cancel
	}()
	aside := &http.Client{Transport: &http.Transport{TLSClientConfig: a.trust.Clone(), DisableKeepAlives: true}}
	profile, err := fetchBenchPage(ctx, aside, a.base+"/debug/pprof/profile?seconds=10")
	cancel()
	<-done
	if err != nil {
		return err
	}
	name := strings.NewReplacer(" ", "-", "/", "", ",", "").Replace(one.name + "-" + one.protocol)
	return os.WriteFile(filepath.Join(a.profiles, "read-"+name+".pprof"), profile, 0o600)
}

// startAdapter runs the adapter with its defaults.
func (a *answering) startAdapter(ctx context.Context) error {
	kubeconfig, err := a.kube.WriteKubeconfig(a.dir)
	if err != nil {
		return err
	}
	listen, err := freeBenchAddress()
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(listen, ":")
	certificates := filepath.Join(a.dir, "certificates")
	a.adapter, err = startBenchChild(&a.cpus.measured, a.dir, a.program, "--allow-host-network", "--kubeconfig", kubeconfig, "--bind-address", "127.0.0.1", "--secure-port", port,
		"--cert-dir", certificates, "--shutdown-delay-duration", "0s", "--profiling")
	if err != nil {
		return err
	}
	a.base = "https://" + listen
	return a.trustCertificate(ctx, filepath.Join(certificates, "adapter.crt"))
}

// trustCertificate waits for the adapter's certificate, and trusts no other.
func (a *answering) trustCertificate(ctx context.Context, file string) error {
	a.trust = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", Certificates: []tls.Certificate{a.kube.Proxy.Client}}
	return pollBenchUntil(ctx, func() error {
		text, err := os.ReadFile(file)
		if err == nil && !a.trust.RootCAs.AppendCertsFromPEM(text) {
			err = errors.New("adapter has no certificate")
		}
		return err
	})
}

// awaitFullBenchStore returns when every group has a value for each pod over the longest window, that is when the store is full.
func (a *answering) awaitFullBenchStore(ctx context.Context) error {
	r := newAPIReader(a.base, a.trust, http2)
	defer r.closeAPIReader()
	q := a.chooseAPIRead(manySeries)
	for range a.groups {
		if err := pollBenchUntil(ctx, func() error { return r.readAPIOnce(ctx, r.clients[0], q) }); err != nil {
			return err
		}
	}
	const longestWindow = time.Minute
	return sleepInBench(ctx, longestWindow)
}
