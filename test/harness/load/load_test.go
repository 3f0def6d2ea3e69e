package load

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestOfferedRateIsIndependentOfTheServer sends to a server that responds only on demand: the schedule must not wait for it.
func TestOfferedRateIsIndependentOfTheServer(t *testing.T) {
	t.Parallel()
	const rate, enough = 200, 190
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release := make(chan struct{})
	var arrived atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if arrived.Add(1) == enough { // without a single response so far
			cancel()
			close(release)
		}
		<-release
	}))
	defer server.Close()
	began := time.Now()

	got := Run(ctx, Options{Targets: fixed(server.URL), Rate: constant(rate), Timeout: time.Hour}).Total()

	if most := 1 + int(rate*time.Since(began).Seconds()); got.Sent < enough || got.Sent > most {
		t.Errorf("sent %d, want %d to %d", got.Sent, enough, most)
	}
	if got.OK != got.Sent || got.Failed != 0 {
		t.Errorf("sent %d: %d ok, %d failed (%v)", got.Sent, got.OK, got.Failed, got.Causes)
	}
}

func TestRequestsAreSpreadOverTargets(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	up := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer up.Close()
	got := runUntil(t, Options{Targets: fixed(up.URL, server.URL), NewConnections: true}, func(r Result) bool { return r.Total().Sent >= 20 })

	good, bad := got.URLs[up.URL], got.URLs[server.URL]
	if d := good.Sent - bad.Sent; d < 0 || d > 1 {
		t.Errorf("%d and %d sent to two targets in turn", good.Sent, bad.Sent)
	}
	if good.OK != good.Sent || bad.Failed != bad.Sent || bad.Sent == 0 {
		t.Errorf("counts: %+v and %+v", good, bad)
	}
	if diff := cmp.Diff(map[string]int{"404": bad.Sent}, bad.Causes); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
}

func TestWhatCannotBeSentIsCounted(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	for _, tc := range []struct {
		name    string
		targets []string
		sent    int
	}{
		{"no target", nil, 0},
		{"too many in flight", []string{server.URL}, 3},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if tc.sent > 0 {
			context.AfterFunc(ctx, func() { close(release) })
		}
		const rate, enough = 100, 10
		var g *Generator
		g = New(Options{Targets: fixed(tc.targets...), MaxInFlight: 3, Timeout: time.Hour, Rate: func(time.Time) float64 {
			if g.Result().Unsent >= enough {
				cancel()
			}
			return rate
		}})
		began := time.Now()
		g.Run(ctx)
		got := g.Result()
		// One more request may use the slot that the end of the test frees.
		if sent := got.Total().Sent; sent < tc.sent || sent > tc.sent+min(tc.sent, 1) {
			t.Errorf("%s: %d sent, want %d", tc.name, sent, tc.sent)
		}
		if most := 1 + int(rate*time.Since(began).Seconds()); got.Unsent < enough || got.Unsent+got.Total().Sent > most {
			t.Errorf("%s: %d sent, %d unsent, want %d in all", tc.name, got.Total().Sent, got.Unsent, most)
		}
	}
}

func TestRefusedConnectionIsAFailureWithItsCause(t *testing.T) {
	t.Parallel()
	got := runUntil(t, Options{Targets: fixed("http://127.0.0.1:1")}, func(r Result) bool { return r.Total().Sent >= 10 }).Total()
	if got.Failed == 0 || got.Causes["connection refused"] != got.Failed {
		t.Errorf("got %+v", got)
	}
}

func TestPaceIsTheIntegralOfTheRate(t *testing.T) {
	t.Parallel()
	start := time.Unix(0, 0)
	for _, tc := range []struct {
		name  string
		steps []Step
		late  time.Duration // delay of every look
		want  int
	}{
		{"constant", []Step{{Rate: 100}}, 0, 1000},
		{"constant, asked late", []Step{{Rate: 100}}, 137 * time.Millisecond, 1000},
		{"fast", []Step{{Rate: 50_000}}, 0, 500_000},
		{"slow", []Step{{Rate: 0.5}}, 0, 5},
		{"steps", []Step{{Rate: 10, For: 2 * time.Second}, {Rate: 300, For: 5 * time.Second}, {Rate: 0}}, 0, 1520},
		{"nothing", []Step{{Rate: 0}}, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rate, p, sent := StepRate(start, tc.steps), newLoadPace(start), 0
			for now := start; now.Before(start.Add(10 * time.Second)); {
				due, wait := p.advanceLoadPace(now, rate(now))
				sent += due
				now = now.Add(wait + tc.late)
			}
			// The requests due at the last look, plus each step seen up to 5 ms late.
			slack := 1 + int(float64(tc.want)/10*(maxWait+tc.late).Seconds())
			if sent > tc.want+slack || sent < tc.want-slack {
				t.Errorf("sent %d in 10 s, want %d ± %d", sent, tc.want, slack)
			}
		})
	}
}

func TestPaceIsEven(t *testing.T) {
	t.Parallel()
	start := time.Unix(0, 0)
	p, now, last := newLoadPace(start), start, start
	for range 10_000 {
		due, wait := p.advanceLoadPace(now, 400)
		if due > 1 {
			t.Fatalf("%d requests at once at 400/s", due)
		}
		if due == 1 {
			if gap := now.Sub(last); gap < 2400*time.Microsecond || gap > 2600*time.Microsecond {
				t.Fatalf("gap %v at 400/s", gap)
			}
			last = now
		}
		now = now.Add(wait)
	}
}

func TestParseSteps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want []Step
		err  string
	}{
		{"50", []Step{{Rate: 50}}, ""},
		{"0.5:1m", []Step{{0.5, time.Minute}}, ""},
		{"40:30s,400:1m,40", []Step{{40, 30 * time.Second}, {400, time.Minute}, {40, 0}}, ""},
		{"", nil, `step "": "" is not a rate`},
		{"-1", nil, `step "-1": "-1" is not a rate`},
		{"NaN", nil, `step "NaN": "NaN" is not a rate`},
		{"40,50", nil, `step "40": only the last may lack a duration`},
		{"40:0s", nil, `step "40:0s": "0s" is not a duration above 0`},
		{"40:x", nil, `step "40:x": "x" is not a duration above 0`},
	} {
		got, err := ParseSteps(tc.text)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if diff := cmp.Diff(tc.want, got); diff != "" || text != tc.err {
			t.Errorf("ParseSteps(%q): error %q, want %q (-want +got):\n%s", tc.text, text, tc.err, diff)
		}
	}
}

func FuzzParseSteps(f *testing.F) {
	for _, seed := range []string{"50", "0.5:1m", "40:30s,400:1m,40", "1e300:1ns", ":", ","} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := ParseSteps(text)
		if err != nil {
			return
		}
		start := time.Unix(0, 0)
		if rate := StepRate(start, steps)(start); rate != steps[0].Rate {
			t.Errorf("rate at the start is %v, want %v", rate, steps[0].Rate)
		}
	})
}

func fixed(urls ...string) func() []string { return func() []string { return urls } }

// runUntil sends a hundred requests per second until enough returns true for the counts so far.
func runUntil(t *testing.T, opts Options, enough func(Result) bool) Result {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var g *Generator
	opts.Timeout, opts.Rate = time.Hour, func(time.Time) float64 {
		if enough(g.Result()) {
			cancel()
		}
		return 100
	}
	g = New(opts)
	g.Run(ctx)
	return g.Result()
}

func constant(rate float64) func(time.Time) float64 { return func(time.Time) float64 { return rate } }
