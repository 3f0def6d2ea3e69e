// This file sends requests to a pod.

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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// maxBodyBytes bounds the body of a response.
const maxBodyBytes = 1 << 20

// podClient sends requests to a pod. It has its own connections and keeps them alive between requests, as browsers and proxies do. It
// never follows a redirect, which would lead away from the pod.
type podClient struct {
	http      http.Client
	closeIdle func()
	bytesLeft atomic.Int64 // of the pod's responses
}

// newPodClient returns a client of a pod. A nil shared transport means a transport of its own.
func newPodClient(shared http.RoundTripper, host string, concurrency int) *podClient {
	c := &podClient{closeIdle: func() {}}
	c.bytesLeft.Store(maxPodBytes)
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http.Transport = shared
	if shared == nil {
		own := &http.Transport{
			DialContext:            (&net.Dialer{}).DialContext,
			TLSClientConfig:        podTLSConfig(host),
			MaxIdleConnsPerHost:    concurrency,
			MaxResponseHeaderBytes: fieldlimit.MaxResponseHeaderBytes,
			DisableCompression:     true, // the body is measured as the pod sends it
		}
		c.http.Transport, c.closeIdle = own, own.CloseIdleConnections
	}
	c.http.Transport = protocolswitch.Reject(c.http.Transport)
	return c
}

// podTLSConfig accepts any certificate, as the kubelet does for its probes: no certificate names a pod's address, and the requests contain
// no secret.
func podTLSConfig(host string) *tls.Config {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return &tls.Config{ServerName: host, InsecureSkipVerify: true}
}

// sendPodRequest sends a request. It returns the time from its start to the end of the response, and a short cause if it failed.
func (c *podClient) sendPodRequest(ctx context.Context, a *podRequest) (took time.Duration, cause string) {
	if c.bytesLeft.Load() <= 0 {
		return 0, tooManyBytesCause
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	begin := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, http.NoBody)
	if err != nil {
		return 0, shortenTestRequestError(err)
	}
	req.Header.Set("User-Agent", "tachometer-scaler")
	for name, values := range a.header {
		req.Header[name] = values
	}
	req.Host = a.host
	resp, err := c.http.Do(req)
	if err != nil {
		return time.Since(begin), shortenTestRequestError(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBodyBytes)) // closing the body drops the rest and the connection
	c.bytesLeft.Add(-n)
	took = time.Since(begin)
	switch {
	case resp.StatusCode < http.StatusOK, resp.StatusCode >= http.StatusBadRequest:
		return took, fmt.Sprintf("status %d", resp.StatusCode)
	case err != nil:
		return took, shortenTestRequestError(err)
	}
	return took, ""
}

// timeoutCause is the cause of requests that timed out.
const timeoutCause = "timeout"

// tooManyBytesCause is the cause of requests that are not sent, because the pod has responded with maxPodBytes.
const tooManyBytesCause = "more than 256MiB of responses"

// shortenTestRequestError returns an error as a short text that is fit for one line: an error may repeat a response. Requests that fail in
// the same way get the same text.
func shortenTestRequestError(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return timeoutCause
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	case fieldlimit.IsLongHeadersError(err):
		return fieldlimit.LongHeadersCause
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // without the address, which differs from pod to pod
	}
	return cmp.Or(strict.ShortenPlain(err.Error()), otherCause)
}

// sendPodRequests sends the requests of the spec to a pod, and returns their tally. It ends early with ctx, and once the pod cannot pass
// because of timeouts: a hanging pod must not delay the rollback by the time of all its requests.
func (c *podClient) sendPodRequests(ctx context.Context, a *podRequest, spec Spec) *requestTally {
	t := newRequestTally()
	turns := make(chan struct{}, spec.Requests)
	for range spec.Requests {
		turns <- struct{}{}
	}
	close(turns)
	var workers panics.Group
	for range min(spec.Requests, spec.Concurrency) {
		workers.Go(func() {
			for range turns {
				took, cause := c.sendPodRequest(ctx, a)
				if ctx.Err() != nil {
					return // an interrupted request is not a failure of the pod
				}
				if t.tallyRequest(took, cause); t.cannotPassSpec(spec) {
					return
				}
			}
		})
	}
	workers.Wait()
	return t
}
