package sample

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// TestProbesNameEachCheck: each check stands in the answer by its name, and the first that fails is named.
func TestProbesNameEachCheck(t *testing.T) {
	t.Parallel()
	ping := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	checks := []*dependencyCheck{{name: "cache", ping: ping(nil)}, {name: "database", ping: ping(errors.New("connection refused"))}, {name: "queue", ping: ping(errors.New("no such host"))}}
	for phase, want := range map[servicePhase]string{
		phaseStarting: `{"status":"unavailable","failed":"phase","checks":{"phase":"starting: waiting for the start-up jitter"}}`,
		phaseServing:  `{"status":"unavailable","failed":"database","checks":{"cache":"ok","database":"connection refused","phase":"ok","queue":"no such host"}}`,
		phaseDraining: `{"status":"unavailable","failed":"phase","checks":{"phase":"draining: the program is stopping"}}`,
	} {
		r := &readinessHandler{checks: checks}
		r.enterServicePhase(phase)
		if w := recordResponse(r, newTestRequest(t, http.MethodGet, "/readyz", "")); w.Code != 503 || w.Body.String() != want+"\n" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%d %s; want %s", w.Code, w.Body, want)
		}
	}
}

// TestEachRequestIsLogged: a request that succeeds is a line at info with its trace ID. Above the rate, the next line says how many have none,
// and failures keep their lines.
func TestEachRequestIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s, _ := newTestService(t, func(c *Config) { c.RateLimit = 0 })
		s.log = NewLogger(&out, zap.InfoLevel)
		h := s.newServiceHandler(prometheus.NewRegistry())
		const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
		send := func(target string) {
			r := newTestRequest(t, http.MethodGet, target, "")
			r.Header.Set("Traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
			recordResponse(h, r)
		}
		for range 3 * requestLinesPerSecond {
			send("/")
		}
		send("/orders/1234")    // 503: there is no Redis
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock: no time passes
		send("/")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != requestLinesPerSecond+2 {
			t.Fatalf("%d lines; want %d", len(lines), requestLinesPerSecond+2)
		}
		type line struct {
			Level, Msg, Route string
			TraceID           string `json:"trace_id"`
			Code, Omitted     int
		}
		for i, want := range map[int]line{
			0: {"info", "Request", "/", trace, 200, 0}, requestLinesPerSecond - 1: {"info", "Request", "/", trace, 200, 0},
			requestLinesPerSecond: {"error", "Request", "/orders/{id}", trace, 503, 2 * requestLinesPerSecond}, requestLinesPerSecond + 1: {"info", "Request", "/", trace, 200, 0},
		} {
			var got line
			if err := json.Unmarshal([]byte(lines[i]), &got); err != nil || got != want {
				t.Errorf("line %d: %s, %v; want %+v", i, lines[i], err, want)
			}
		}
		for range requestLinesPerSecond {
			send("/")
		}
		if got := s.requestLog.TakeSuppressed(); got != 1 {
			t.Errorf("%d have no line; want 1, to be said at the end", got)
		}
	})
}
