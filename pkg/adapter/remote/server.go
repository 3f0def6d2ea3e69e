// One server of a backend: its URL, and when it may receive the next request.

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

// backendServer is a base address of a backend, with its state.
type backendServer struct {
	base       *url.URL
	displayURL string

	mu sync.Mutex // guards all below
	// downCause is the failure for which requests skip the server until retryAt; nil: the server is up.
	downCause    *backendRequestFailure
	failingSince time.Time // of the first failure in a row
	retryAt      time.Time
	failures     int  // in a row, of the whole server
	timeouts     int  // in a row
	probing      bool // a request is finding out whether the server is back
	lastResponse time.Time
}

func newBackendServer(address string) (*backendServer, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("parse url of a backend: must be http://HOST:PORT/PATH or https://HOST:PORT/PATH")
	}
	return &backendServer{base: u, displayURL: redactServerURL(u)}, nil
}

// redactServerURL returns a URL for people: without parameters and user, which may be secret.
func redactServerURL(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// newServerRequest returns a request for path, which is below /api/v1. It keeps the parameters of the server's URL.
func (s *backendServer) newServerRequest(ctx context.Context, method, path string, form url.Values) (*http.Request, error) {
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
	// net/http does not send this header: it permits net/http to repeat the POST when the server has closed an idle
	// connection, which may happen at any time.
	req.Header["Idempotency-Key"] = nil
	return req, nil
}

// admitServerRequest returns nil if the server may receive a request now, else the failure. One request at a time probes a down server.
func (s *backendServer) admitServerRequest(now time.Time) *backendRequestFailure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.downCause == nil {
		return nil
	}
	if s.probing || now.Before(s.retryAt) {
		return &backendRequestFailure{outcome: outcomeSkipped, text: s.downCause.text, serverWide: true, since: s.failingSince}
	}
	s.probing = true
	return nil
}

// timeoutsUntilDown is the number of timeouts in a row that a slow query does not explain. Each occupies a request slot.
const timeoutsUntilDown = 3

// recordServerOutcome records the outcome of a request. It reports whether the server was down before, and is down now.
func (s *backendServer) recordServerOutcome(now time.Time, f *backendRequestFailure, refresh time.Duration) (was, is bool) {
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

// markServerDown makes requests skip the server until the next try. The caller holds s.mu.
func (s *backendServer) markServerDown(now time.Time, f *backendRequestFailure, refresh time.Duration) {
	if s.downCause == nil {
		s.failingSince = now
	}
	s.downCause = f
	s.failures++
	wait := f.retryAfter
	if wait <= 0 {
		wait = newRefreshBackoff(refresh).Delay(s.failures)
	}
	s.retryAt = now.Add(wait)
}

// describeServerState returns the server's state in one line.
func (s *backendServer) describeServerState() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.downCause != nil:
		return fmt.Sprintf("%s is down since %s: %s; next try %s", s.displayURL, formatServerTime(s.failingSince), s.downCause.text, formatServerTime(s.retryAt))
	case s.lastResponse.IsZero():
		return s.displayURL + " has not answered yet"
	}
	return fmt.Sprintf("%s is up, last answer %s", s.displayURL, formatServerTime(s.lastResponse))
}

func formatServerTime(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
