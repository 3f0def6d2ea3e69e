package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sync/errgroup"
)

// TestLivezSeesWorkThatDoesNotEnd: /livez fails while the work of a lost leadership hangs, and neither before nor after.
func TestLivezSeesWorkThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lead := newElection("scaler/scaler")
		handler := newHealthServer(lead).newProbeHandler()
		want := func(when string, code int) {
			t.Helper()
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/livez", http.NoBody))
			if w.Code != code {
				t.Errorf("%s: /livez is %d %s, want %d", when, w.Code, w.Body, code)
			}
		}
		leading, lose := context.WithCancel(t.Context())
		release, ended := make(chan struct{}), make(chan error)
		lead.setLeadershipContext(leading)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			ended <- lead.runWhileLeading(ctx, func(context.Context) error { <-release; return nil })
		}()
		<-time.After(time.Hour)
		want("a leader", http.StatusOK)
		lose()
		lead.setLeadershipContext(nil) //nolint:staticcheck // no context: no leadership
		<-time.After(maxLeaderStop)
		synctest.Wait()
		want("while the work ends", http.StatusOK)
		<-time.After(time.Minute)
		want("the work does not end", http.StatusServiceUnavailable)
		close(release)
		synctest.Wait()
		want("the work has ended", http.StatusOK)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestHealthPortIsBounded: idle connections of strangers close each other, not the port, and their metrics are gathered few at a time.
func TestHealthPortIsBounded(t *testing.T) {
	t.Parallel()
	health := newHealthServer(newElection("scaler/scaler"))
	gathering, release := make(chan struct{}, 100), make(chan struct{})
	health.setComponentMetrics(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		gathering <- struct{}{}
		<-release
		return nil, nil
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- health.serveProbesOnListener(ctx, listener) }()
	defer func() { stop(); <-ended }()

	var scrapes errgroup.Group
	for range 4 {
		scrapes.Go(func() error { return getHealthPath(t, listener, "/metrics", http.StatusOK) })
		<-gathering
	}
	if err := getHealthPath(t, listener, "/metrics", http.StatusServiceUnavailable); err != nil {
		t.Error("beside four scrapes: ", err)
	}
	close(release)
	if err := scrapes.Wait(); err != nil {
		t.Error(err)
	}
	var idle []net.Conn
	for range maxAddressHealthConnections + 1 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		idle = append(idle, conn)
	}
	if _, err := idle[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the oldest idle connection: %v; want it closed", err)
	}
	fields, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer fields.Close()
	if _, err := io.WriteString(fields, "GET /livez HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("a:\r\n", 300)); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(fields); !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
		t.Errorf("300 fields without an end: %q", got)
	}
	if err := getHealthPath(t, listener, "/livez", http.StatusOK); err != nil {
		t.Error(err)
	}
}

// getHealthPath gets a path over a connection of its own, and returns an error for any other status.
func getHealthPath(t *testing.T, listener net.Listener, path string, want int) error {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+path, http.NoBody)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != want {
		return fmt.Errorf("GET %s: %s; want %d", path, res.Status, want)
	}
	return nil
}
