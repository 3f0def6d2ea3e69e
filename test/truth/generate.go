package truth

// Generate: scenarios from a grammar and a seed.

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// scenarioWriter writes the lines of a generated scenario.
type scenarioWriter struct {
	strings.Builder
	rng     *rand.Rand
	pods    int  // at the start
	fixed   int  // window of the fixed rules, seconds
	traffic bool // the load is smooth, so that totals are judged closely
}

func (g *scenarioWriter) writeLine(format string, args ...any) {
	fmt.Fprintf(g, format+"\n", args...)
}

// chooseOne returns one of the choices.
func chooseOne[T any](g *scenarioWriter, choices ...T) T { return choices[g.rng.IntN(len(choices))] }

// Generate returns the scenario of a seed.
func Generate(seed uint64) Scenario {
	g := &scenarioWriter{rng: rand.New(rand.NewPCG(seed, 7))}
	length := 90 + 10*g.rng.IntN(7)
	g.writeLine("run %ds", length)
	g.writeSettings()
	g.writeService()
	for range g.rng.IntN(4) {
		g.writeEvent(30 + g.rng.IntN(length-50))
	}
	s, err := Parse(fmt.Sprintf("generated-%d", seed), g.String())
	if err != nil {
		panic(err) // a bug of the grammar
	}
	for i := range s.Statements {
		s.Statements[i].Line = 0
	}
	return s
}

// writeSettings writes the adapter's configuration, with rules over windows of all kinds.
func (g *scenarioWriter) writeSettings() {
	g.fixed = chooseOne(g, 10, 15, 30, 60)
	if g.rng.IntN(3) == 0 {
		g.writeLine("scrape interval %s", chooseOne(g, "1s", "5s"))
		g.fixed = max(g.fixed, 15)
	}
	if g.rng.IntN(4) == 0 {
		g.writeLine("replicas 2")
	}
	const rate = "(rate(http_requests_total[$window]))"
	g.writeLine("rule request_per_second window auto: sum by (namespace, pod) %s", rate)
	g.writeLine("rule fixed_rate window %ds: sum by (namespace, pod) %s", g.fixed, rate)
	g.writeLine("rule all_rate external true window %s: sum%s", chooseOne(g, "auto", fmt.Sprintf("%ds", g.fixed)), rate)
	g.writeLine("rule in_flight: sum by (namespace, pod) (in_flight)")
	g.writeLine("rule all_in_flight external true: sum(in_flight)")
	g.writeLine("rule latency_p95 window auto aggregate max: " +
		"histogram_quantile(0.95, sum by (namespace, pod, le) (rate(http_request_duration_seconds_bucket[$window])))")
}

// writeService writes a service, its families and their readers.
func (g *scenarioWriter) writeService() {
	g.pods = 1 + g.rng.IntN(6)
	g.writeLine("service web pods %d boot %ds grace %ds delay %s", g.pods, 2+g.rng.IntN(4), 2+g.rng.IntN(5),
		chooseOne(g, "0s", "0s", "50ms", "300ms"))
	rate := 20 + g.rng.IntN(800)
	switch g.rng.IntN(6) {
	case 0:
		g.writeLine("counter web http_requests_total rate %d poisson yes", rate)
	case 1:
		g.writeLine("counter web http_requests_total rate %d poisson yes batch 10 spread yes", rate)
	case 2:
		g.writeLine("counter web http_requests_total rate %d batch %d", 10*g.pods, chooseOne(g, 20, 50, 100))
	default:
		g.traffic = true
		g.writeLine("counter web http_requests_total rate %d series %d", rate, 1+g.rng.IntN(3))
	}
	g.writeLine("gauge web in_flight value %d", 1+g.rng.IntN(50))
	g.writeLine("read total deployment web request_per_second")
	g.writeLine("read pods pods web request_per_second")
	g.writeLine("read fixed pods web fixed_rate truth rate/http_requests_total from %ds", 12)
	g.writeLine("read all external - all_rate truth rate/http_requests_total")
	g.writeLine("read busy deployment web in_flight")
	switch g.rng.IntN(4) {
	case 0:
		g.writeLine("histogram web http_request_duration_seconds rate %d latency %s", rate, chooseOne(g, "0.03", "0.2", "0.7"))
		g.writeLine("read slow pods web latency_p95 truth quantile/http_request_duration_seconds/95")
	case 1:
		g.writeLine("read queue external - all_in_flight truth gauge/in_flight")
	case 2:
		g.writeLine("hpa web request_per_second target %d min 1 max 12", max(1, rate/(1+g.pods)))
	}
}

// writeEvent writes something that happens at a time, in seconds.
func (g *scenarioWriter) writeEvent(at int) {
	pod := fmt.Sprintf("web-%d", 1+g.rng.IntN(g.pods))
	seconds := 2 + g.rng.IntN(20)
	switch g.rng.IntN(14) {
	case 0, 1, 2:
		g.writeLine("at %ds scale web %d", at, 1+g.rng.IntN(10))
	case 3:
		g.writeLine("at %ds rollout web", at)
	case 4:
		g.writeLine("at %ds pod %s restart down %ds", at, pod, seconds)
	case 5:
		g.writeLine("at %ds pod %s %s", at, pod, chooseOne(g, "kill", "delete", "recreate", "url"))
	case 6:
		g.writeLine("at %ds rate web http_requests_total %d", at, 10+g.rng.IntN(2000))
	case 7:
		g.writeLine("at %ds rate web http_requests_total %d over %ds", at, 10+g.rng.IntN(2000), seconds)
	case 8:
		g.writeLine("at %ds value web in_flight %d", at, g.rng.IntN(100))
	case 9, 10:
		g.writeLine("at %ds pod %s %s for %ds", at, pod, chooseOne(g, "timeout", "refuse", "503", "truncate"), seconds)
	case 11:
		g.writeLine("at %ds pod %s %s for %ds value %s", at, pod, chooseOne(g, "slow", "cached"), seconds, chooseOne(g, "300ms", "900ms"))
	case 12:
		g.writeLine("at %ds %s", at, chooseOne(g, "restart adapter", "move web http_requests_total 500", "pod "+pod+" weight value 3"))
	default:
		g.writeLine("at %ds pod %s unready", at, pod)
		g.writeLine("at %ds pod %s ready", at+seconds, pod)
	}
}
