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
)

// answering is the part that measures reads of the adapter: the program, beside a kube-apiserver that has just what it needs.
type answering struct {
	cpus     processors
	dir      string
	program  string // the adapter
	groups   int
	steady   time.Duration
	profiles string
	log      io.Writer

	kube    *kubeAPIServer
	adapter *process
	pages   *process
	base    string
	trust   *tls.Config

	idle usage // without reads
}

// answer is one row of the report.
type answer struct {
	usage
	latencies
	name, protocol  string
	rate            int
	reviews, others int // requests to kube-apiserver meanwhile
}

// perRead is the CPU of one read: what the adapter used, less what it uses without reads.
func (a *answer) perRead(idle usage) time.Duration {
	scraping := time.Duration(float64(idle.cpu) * a.elapsed.Seconds() / idle.elapsed.Seconds())
	return (a.cpu - scraping) / time.Duration(max(1, len(a.latencies)))
}

func (a *answer) perSecond() float64 { return float64(len(a.latencies)) / a.elapsed.Seconds() }

// The protocols. The API server library speaks the newer one to an adapter.
const (
	http1 = "HTTP/1.1"
	http2 = "HTTP/2"
)

// The reads.
const (
	fewSeries  = "20 pods, a series each"
	manySeries = "20 pods, 24 series each"
	noPod      = "no pod matches"
)

func (a *answering) chooseRead(name string) question {
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
			selected = groupName(n % a.groups)
		}
		return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/pods/*/" + metric + "?labelSelector=app%3D" + selected
	}
	return q
}

// measureAnswering starts everything, measures and ends everything.
func (a *answering) measureAnswering(ctx context.Context) (_ []*answer, err error) {
	if a.pages, err = startRole(&a.cpus.others, a.dir, rolePages, "-mode", namedPages); err != nil {
		return nil, err
	}
	defer a.pages.endProcess()
	proxy, err := newFrontProxy(time.Now())
	if err != nil {
		return nil, err
	}
	a.kube = newKubeAPIServer(a.groups, a.pages.line, proxy)
	defer a.kube.closeWatches()
	if err := a.startAdapter(ctx, proxy); err != nil {
		return nil, err
	}
	defer a.adapter.endProcess()
	if err := a.awaitValues(ctx); err != nil {
		log, _ := os.ReadFile(a.adapter.log.Name())
		return nil, fmt.Errorf("wait for values: %w; log of the adapter: %s", err, log[max(0, len(log)-2000):])
	}
	m := meter{measured: a.adapter, serving: a.pages}
	if a.idle, err = m.measureWork(ctx, a.steady, nil); err != nil {
		return nil, err
	}
	return a.measureAll(ctx)
}

func (a *answering) measureAll(ctx context.Context) ([]*answer, error) {
	var all []*answer
	for _, one := range []answer{
		{name: noPod, protocol: http2, rate: 500}, {name: noPod, protocol: http2},
		{name: fewSeries, protocol: http2, rate: 500}, {name: fewSeries, protocol: http2},
		{name: manySeries, protocol: http2, rate: 500}, {name: manySeries, protocol: http2},
		{name: fewSeries, protocol: http1, rate: 500}, {name: fewSeries, protocol: http1},
	} {
		if err := a.measureReads(ctx, &one); err != nil {
			return nil, fmt.Errorf("measure reads of %s: %w", one.name, err)
		}
		fmt.Fprintf(a.log, "%s, %s, %d reads/s: %.0f a second, p50 %v, p99 %v, CPU %v a read, %d reviews and %d others at kube-apiserver, others %.2f, adapter %.2f, reader %.2f processors\n",
			one.name, one.protocol, one.rate, one.perSecond(), one.latencyQuantile(0.5), one.latencyQuantile(0.99), one.perRead(a.idle), one.reviews, one.others, one.foreign,
			one.cpu.Seconds()/one.elapsed.Seconds(), one.own.Seconds()/one.elapsed.Seconds())
		all = append(all, &one)
	}
	return all, nil
}

func (a *answering) measureReads(ctx context.Context, one *answer) error {
	r := newReader(a.base, a.trust, one.protocol)
	defer r.closeReader()
	q := a.chooseRead(one.name)
	if _, err := r.readAtRate(ctx, q, one.rate, a.steady/5); err != nil { // connections and caches warm up
		return err
	}
	reviews, others := a.kube.countRequests()
	m := meter{measured: a.adapter, serving: a.pages}
	var err error
	one.usage, err = m.measureWork(ctx, a.steady, func(ctx context.Context) (err error) {
		one.latencies, err = r.readAtRate(ctx, q, one.rate, a.steady)
		return err
	})
	if err != nil {
		return err
	}
	one.reviews, one.others = a.kube.countRequests()
	one.reviews, one.others = one.reviews-reviews, one.others-others
	if a.profiles == "" || one.rate > 0 {
		return nil
	}
	return a.profileReads(ctx, one, r, q)
}

// profileReads keeps a CPU profile of reads as fast as possible, taken after the measurement.
func (a *answering) profileReads(ctx context.Context, one *answer, r *reader, q question) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.readAtRate(ctx, q, 0, patience) // ends by cancel
	}()
	aside := &http.Client{Transport: &http.Transport{TLSClientConfig: a.trust.Clone(), DisableKeepAlives: true}}
	profile, err := fetchPage(ctx, aside, a.base+"/debug/pprof/profile?seconds=10")
	cancel()
	<-done
	if err != nil {
		return err
	}
	name := strings.NewReplacer(" ", "-", "/", "", ",", "").Replace(one.name + "-" + one.protocol)
	return os.WriteFile(filepath.Join(a.profiles, "read-"+name+".pprof"), profile, 0o600)
}

// startAdapter runs the adapter, with its defaults.
func (a *answering) startAdapter(ctx context.Context, proxy frontProxy) error {
	kubeconfig, err := a.kube.writeKubeconfig(a.dir)
	if err != nil {
		return err
	}
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(listen, ":")
	certificates := filepath.Join(a.dir, "certificates")
	a.adapter, err = startChild(&a.cpus.measured, a.dir, a.program, "--kubeconfig", kubeconfig, "--bind-address", "127.0.0.1", "--secure-port", port,
		"--cert-dir", certificates, "--shutdown-delay-duration", "0s", "--profiling")
	if err != nil {
		return err
	}
	a.base = "https://" + listen
	return a.trustCertificate(ctx, filepath.Join(certificates, "adapter.crt"), proxy)
}

// trustCertificate waits for the adapter's certificate, which is the only one to be trusted.
func (a *answering) trustCertificate(ctx context.Context, file string, proxy frontProxy) error {
	a.trust = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", Certificates: []tls.Certificate{proxy.client}}
	return pollUntil(ctx, func() error {
		text, err := os.ReadFile(file)
		if err == nil && !a.trust.RootCAs.AppendCertsFromPEM(text) {
			err = errors.New("adapter has no certificate")
		}
		return err
	})
}

// awaitValues returns when every group has a value for each pod over the longest window: the store is full, then.
func (a *answering) awaitValues(ctx context.Context) error {
	r := newReader(a.base, a.trust, http2)
	defer r.closeReader()
	q := a.chooseRead(manySeries)
	for range a.groups {
		if err := pollUntil(ctx, func() error { return r.readOnce(ctx, r.clients[0], q) }); err != nil {
			return err
		}
	}
	const longestWindow = time.Minute
	return sleepOrDone(ctx, longestWindow)
}
