package remote

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWaitForTurnIsNotTheServers: a large response waits for its turn without a loss of the server's time. A wait that is too long is a failure, and
// not one of the server: three would take it for down.
func TestWaitForTurnIsNotTheServers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTestBackend(t, "  timeout: 5s\n", sharedRules, Options{})
		w.server.alwaysRespond(fakeResponse{body: strings.Repeat(" ", 1<<20) + newVectorResponse().body})
		const delay = 4 * time.Second
		w.server.delay = delay
		query := func(wait time.Duration) (string, time.Duration) {
			w.largeResponses <- struct{}{}
			time.AfterFunc(wait, func() { <-w.largeResponses })
			start := time.Now()
			turn := &largeResponseTurn{places: w.largeResponses}
			defer turn.endLargeResponseTurn()
			if _, f := w.sendInstantQuery(t.Context(), "up", start, turn); f != nil {
				return f.text, time.Since(start)
			}
			return "", time.Since(start)
		}
		timeout := w.config.Timeout + serverTimeoutGrace
		if text, took := query(2 * delay); text != "" || took != 2*delay {
			t.Errorf("a turn after %v: %q after %v, want a response at once", 2*delay, text, took)
		}
		for range 2 * timeoutsUntilDown {
			text, took := query(delay + 2*timeout)
			if !strings.Contains(text, "other large answers") || took != delay+timeout {
				t.Errorf("no turn: %q after %v, want a failure after %v", text, took, delay+timeout)
			}
			<-time.After(timeout)
		}
		if text, _ := query(0); text != "" {
			t.Errorf("after the waits: %s", text)
		}
		w.server.delay = time.Hour
		if text, took := query(0); !strings.Contains(text, "timeout after") || took != timeout {
			t.Errorf("a server that is too slow: %q after %v, want a timeout after %v", text, took, timeout)
		}
	})
}
