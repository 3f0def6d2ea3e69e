package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// maxProbeTime is the timeout of a probe in the shipped manifests.
const maxProbeTime = 2 * time.Second

// TestProbesPassFloods probes as a kubelet does while strangers flood the port from twenty addresses: with scrapes that take a second, health requests,
// idle connections, and headers and bodies that do not end.
func TestProbesPassFloods(t *testing.T) {
	t.Parallel()
	health := newHealthServer(newElection("scaler/scaler"))
	health.setComponentMetrics(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { time.Sleep(time.Second); return nil, nil })) //nolint:forbidigo // a slow scrape
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- health.serveProbesOnListener(ctx, listener) }()
	var strangers sync.WaitGroup
	defer func() { stop(); strangers.Wait(); <-ended }()
	texts := []string{
		"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "GET /readyz?verbose HTTP/1.1\r\nHost: x\r\n\r\n", "", "GET /livez HTTP/1.1\r\nHost: x\r\n",
		"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
	}
	for i := range 20 * len(texts) {
		strangers.Go(func() { floodHealthPort(ctx, listener.Addr().String(), byte(2+i%20), texts[i/20]) })
	}
	var took []time.Duration
	for range 50 {
		<-time.After(20 * time.Millisecond)
		began := time.Now()
		if err := getHealthPath(t, listener, "/livez", http.StatusOK); err != nil {
			t.Error(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("probes: p50 %s, slowest %s", took[25], took[49])
	if took[49] > maxProbeTime {
		t.Errorf("the slowest probe took %s, bound %s", took[49], maxProbeTime)
	}
}

// floodHealthPort sends a text over one connection from 127.0.0.host after the other, again after each response.
func floodHealthPort(ctx context.Context, address string, host byte, text string) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}}
	for ctx.Err() == nil {
		c, err := dialer.DialContext(ctx, "tcp4", address)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		response := make([]byte, 4096)
		for err == nil {
			if _, err = fmt.Fprint(c, text); err == nil {
				_, err = io.ReadAtLeast(c, response, 1)
			}
		}
		stop()
		_ = c.Close()
	}
}
