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

// server is one base address of a backend, and whether it is worth asking.
type server struct {
	base  *url.URL
	shown string

	mu sync.Mutex // guards all below
	// down is why the server is left alone; nil: it is not.
	down     *fault
	since    time.Time // since when it fails
	retryAt  time.Time
	failures int  // in a row, of those that concern the whole server
	timeouts int  // in a row
	probing  bool // one question finds out whether it is back
	answered time.Time
}

func newServer(address string) (*server, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("parse url of a backend: must be http://HOST:PORT/PATH or https://HOST:PORT/PATH")
	}
	return &server{base: u, shown: shown(u)}, nil
}

// shown is a URL as people may see it: without parameters and user.
func shown(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// request asks path, which is below /api/v1. The parameters of the server's URL stay.
func (s *server) request(ctx context.Context, method, path string, form url.Values) (*http.Request, error) {
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

// enter asks for permission to ask: a fault says why not. One question at a time probes a server that was down.
func (s *server) enter(now time.Time) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil {
		return nil
	}
	if s.probing || now.Before(s.retryAt) {
		return &fault{outcome: skipped, text: s.down.text, whole: true, since: s.since}
	}
	s.probing = true
	return nil
}

// manyTimeouts in a row are not one slow query's fault. Each costs a place among the questions under way.
const manyTimeouts = 3

// leave notes how a question ended, and reports whether the server is down now, and was before.
func (s *server) leave(now time.Time, f *fault, refresh time.Duration) (was, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.down != nil
	probe := s.probing
	s.probing = false
	switch {
	case f != nil && f.outcome == cancelled:
	case f != nil && f.outcome == timedOut && !f.whole:
		if s.timeouts++; probe || s.timeouts >= manyTimeouts {
			s.rest(now, f, refresh)
		}
	case f != nil && f.whole:
		s.rest(now, f, refresh)
	default:
		s.down, s.failures, s.timeouts = nil, 0, 0
		if f == nil {
			s.answered = now
		}
	}
	return was, s.down != nil
}

// rest leaves the server alone for a time. The caller holds s.mu.
func (s *server) rest(now time.Time, f *fault, refresh time.Duration) {
	if s.down == nil {
		s.since = now
	}
	s.down = f
	s.failures++
	wait := f.retryAfter
	if wait <= 0 {
		wait = pause(refresh, s.failures)
	}
	s.retryAt = now.Add(wait)
}

// note is the server's state in one line.
func (s *server) note() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down != nil:
		return fmt.Sprintf("%s is down since %s: %s; next try %s", s.shown, clock(s.since), s.down.text, clock(s.retryAt))
	case s.answered.IsZero():
		return s.shown + " has not answered yet"
	}
	return fmt.Sprintf("%s is up, last answer %s", s.shown, clock(s.answered))
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
