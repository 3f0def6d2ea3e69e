// Reads of custom metrics at a rate or at full speed, with their latencies.

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// connections is the number of connections to the adapter.
const connections = 5

// reader reads like a kube-apiserver on behalf of the HPA controller.
type reader struct {
	base    string
	clients []*http.Client // each has one connection
	next    atomic.Int64   // the group of the next read
}

func newAPIReader(base string, trust *tls.Config, protocol string) *reader {
	r := &reader{base: base}
	for range connections {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(protocol == http1)
		protocols.SetHTTP2(protocol == http2)
		r.clients = append(r.clients, &http.Client{Timeout: processTimeout, Transport: &http.Transport{
			TLSClientConfig: trust.Clone(), Protocols: protocols, MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1,
		}})
	}
	return r
}

func (r *reader) closeAPIReader() {
	for _, c := range r.clients {
		c.CloseIdleConnections()
	}
}

// question is a request with its expected response.
type question struct {
	path   func(n int) string
	status int
	values int // expected number of values
}

// readAPIOnce sends a request and checks its response.
func (r *reader) readAPIOnce(ctx context.Context, client *http.Client, q question) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+q.path(int(r.next.Add(1))), http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("X-Remote-User", "system:serviceaccount:kube-system:horizontal-pod-autoscaler")
	request.Header["X-Remote-Group"] = []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"}
	request.Header.Set("Accept", "application/vnd.kubernetes.protobuf") // as kube-controller-manager's clients do
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	// Each value has an ObjectReference, which begins with the kind.
	if values := bytes.Count(body, []byte("\n\x03Pod")); response.StatusCode != q.status || values != q.values {
		return fmt.Errorf("read %s: %s with %d values, want %d with %d: %.300s", request.URL, response.Status, values, q.status, q.values, body)
	}
	return nil
}

// latencies are sorted.
type latencies []time.Duration

func (l latencies) apiLatencyQuantile(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(len(l)-1, int(q*float64(len(l))))]
}

// readAPIAtRate reads for a time at a rate per second over all connections; with rate 0, each connection reads at full speed. At a
// rate, latency counts from the time when a read was due, and so includes the wait for a slow previous read.
func (r *reader) readAPIAtRate(ctx context.Context, q question, rate int, d time.Duration) (latencies, error) {
	all := make([]latencies, len(r.clients))
	begin := time.Now()
	var gap time.Duration // between two reads of a connection
	if rate > 0 {
		gap = time.Second * time.Duration(len(r.clients)) / time.Duration(rate)
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, client := range r.clients {
		group.Go(func() error {
			due := begin.Add(gap * time.Duration(i) / time.Duration(len(r.clients)))
			for ; due.Sub(begin) < d && time.Since(begin) < d; due = due.Add(gap) {
				if rate == 0 {
					due = time.Now()
				} else if err := sleepInBench(ctx, time.Until(due)); err != nil {
					return err
				}
				if err := r.readAPIOnce(ctx, client, q); err != nil {
					return err
				}
				all[i] = append(all[i], time.Since(due))
			}
			return nil
		})
	}
	err := group.Wait()
	together := slices.Concat(all...)
	slices.Sort(together)
	return together, err
}
