package remote

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// backendServer is one base address of a backend, and whether it is worth asking.
type backendServer struct {
	base       *url.URL
	displayURL string

	mu sync.Mutex // guards all below
	// downCause is why the server is left alone; nil: it is not.
	downCause    *requestFailure
	failingSince time.Time // since when it fails
	retryAt      time.Time
	failures     int  // in a row, of those that concern the whole server
	timeouts     int  // in a row
	probing      bool // one question finds out whether it is back
	lastResponse time.Time
}

func newBackendServer(address string) (*backendServer, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("parse url of a backend: must be http://HOST:PORT/PATH or https://HOST:PORT/PATH")
	}
	return &backendServer{base: u, displayURL: redactURL(u)}, nil
}

// redactURL is a URL as people may see it: without parameters and user.
func redactURL(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// newHTTPRequest asks path, which is below /api/v1. The parameters of the server's URL stay.
func (s *backendServer) newHTTPRequest(ctx context.Context, method, path string, form url.Values) (*http.Request, error) {
	u := s.base.JoinPath("api/v1", path)
	body := form.Encode()
	if method != http.MethodPost {
		u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+body, "&")
		return http.NewRequestWithContext(ctx, method, u.String(), nil)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// Not sent: it tells net/http that this POST may be repeated when the server has closed an idle connection, which
	// it may do at any time.
	req.Header["Idempotency-Key"] = nil
	return req, nil
}

// admitRequest asks for permission to ask: a fault says why not. One question at a time probes a server that was down.
func (s *backendServer) admitRequest(now time.Time) *requestFailure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.downCause == nil {
		return nil
	}
	if s.probing || now.Before(s.retryAt) {
		return &requestFailure{outcome: outcomeSkipped, text: s.downCause.text, serverWide: true, since: s.failingSince}
	}
	s.probing = true
	return nil
}

// timeoutsUntilDown in a row are not one slow query's fault. Each costs a place among the questions under way.
const timeoutsUntilDown = 3

// recordServerOutcome notes how a question ended, and reports whether the server is down now, and was before.
func (s *backendServer) recordServerOutcome(now time.Time, f *requestFailure, refresh time.Duration) (was, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.downCause != nil
	probe := s.probing
	s.probing = false
	switch {
	case f != nil && f.outcome == outcomeCancelled:
	case f != nil && f.outcome == outcomeTimeout && !f.serverWide:
		if s.timeouts++; probe || s.timeouts >= timeoutsUntilDown {
			s.markServerDown(now, f, refresh)
		}
	case f != nil && f.serverWide:
		s.markServerDown(now, f, refresh)
	default:
		s.downCause, s.failures, s.timeouts = nil, 0, 0
		if f == nil {
			s.lastResponse = now
		}
	}
	return was, s.downCause != nil
}

// markServerDown leaves the server alone for a time. The caller holds s.mu.
func (s *backendServer) markServerDown(now time.Time, f *requestFailure, refresh time.Duration) {
	if s.downCause == nil {
		s.failingSince = now
	}
	s.downCause = f
	s.failures++
	wait := f.retryAfter
	if wait <= 0 {
		wait = backendRetryDelay(refresh, s.failures)
	}
	s.retryAt = now.Add(wait)
}

// describeServerState is the server's state in one line.
func (s *backendServer) describeServerState() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.downCause != nil:
		return fmt.Sprintf("%s is down since %s: %s; next try %s", s.displayURL, formatClockTime(s.failingSince), s.downCause.text, formatClockTime(s.retryAt))
	case s.lastResponse.IsZero():
		return s.displayURL + " has not answered yet"
	}
	return fmt.Sprintf("%s is up, last answer %s", s.displayURL, formatClockTime(s.lastResponse))
}

func formatClockTime(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
