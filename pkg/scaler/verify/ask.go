package verify

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// The bounds of what is read of one answer.
const (
	maxBody   = 1 << 20
	maxHeader = 64 << 10
)

// client asks one pod over connections of its own, which it keeps while it asks as browsers and proxies do. It never follows a
// redirect, which would lead away from the pod.
type client struct {
	http  http.Client
	close func()
}

// newClient returns a client of a pod; a nil transport makes one of its own.
func newClient(shared http.RoundTripper, host string, concurrency int) *client {
	c := &client{close: func() {}}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http.Transport = shared
	if shared == nil {
		own := &http.Transport{
			DialContext:            (&net.Dialer{}).DialContext,
			TLSClientConfig:        podTLS(host),
			MaxIdleConnsPerHost:    concurrency,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true, // what is measured is what is sent
		}
		c.http.Transport, c.close = own, own.CloseIdleConnections
	}
	return c
}

// podTLS takes any certificate, as the kubelet does for its probes: no certificate names a pod's address, and nothing secret is
// sent.
func podTLS(host string) *tls.Config {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return &tls.Config{ServerName: host, InsecureSkipVerify: true}
}

// ask sends one request, and returns how long it took from its start to the end of its answer, and in few words what went
// wrong; empty: nothing.
func (c *client) ask(ctx context.Context, a *address) (took time.Duration, cause string) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	begin := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, http.NoBody)
	if err != nil {
		return 0, causeOf(err)
	}
	req.Header.Set("User-Agent", "tachometer-scaler")
	for name, values := range a.header {
		req.Header[name] = values
	}
	req.Host = a.host
	resp, err := c.http.Do(req)
	if err != nil {
		return time.Since(begin), causeOf(err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)) // what is beyond goes down with the connection
	took = time.Since(begin)
	switch {
	case resp.StatusCode >= http.StatusBadRequest:
		return took, fmt.Sprintf("status %d", resp.StatusCode)
	case err != nil:
		return took, causeOf(err)
	}
	return took, ""
}

// timedOut is the cause of requests that were given up.
const timedOut = "timeout"

// causeOf is an error in few words, the same for every request that fails in the same way.
func causeOf(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return timedOut
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // without the address, which differs from pod to pod
	}
	return cmp.Or(strict.Shorten(err.Error()), otherCause)
}

// load asks a pod what the spec says, and returns what it answered. It ends early with ctx, and when so many requests have timed
// out that the rest cannot help: a pod that hangs must not hold the rollback for the time of all its requests.
func (c *client) load(ctx context.Context, a *address, spec Spec) *tally {
	t := newTally()
	turns := make(chan struct{}, spec.Requests)
	for range spec.Requests {
		turns <- struct{}{}
	}
	close(turns)
	var workers sync.WaitGroup
	for range min(spec.Requests, spec.Concurrency) {
		workers.Go(func() {
			for range turns {
				took, cause := c.ask(ctx, a)
				if ctx.Err() != nil {
					return // not the pod's fault
				}
				if t.add(took, cause); t.hopeless(spec) {
					return
				}
			}
		})
	}
	workers.Wait()
	return t
}
