package truth

// Generate: scenarios from a grammar and a seed.

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// scenarioWriter writes the lines of a generated scenario.
type scenarioWriter struct {
	strings.Builder
	rng     *rand.Rand
	pods    int  // at the start
	fixed   int  // window of the fixed rules, seconds
	traffic bool // the load is smooth, so that totals are judged closely
	wide    bool
	scales  bool // there is an autoscaler
	expires bool // series leave the pages and come back; no page fails
	api     bool // there is a second service
	slow    bool // there is a histogram of latencies
}

// firstWideSeed is the first seed of scenarios with all kinds of events. The scenarios of smaller seeds stay as they were.
const firstWideSeed = 10_000_000

// firstSlowSeed is the first seed of wide scenarios at scrape intervals of up to 30 s, while pods start and end as fast as before.
const firstSlowSeed = 20_000_000

func (g *scenarioWriter) writeLine(format string, args ...any) {
	fmt.Fprintf(g, format+"\n", args...)
}

func chooseOne[T any](g *scenarioWriter, choices ...T) T { return choices[g.rng.IntN(len(choices))] }

// Generate returns the scenario of a seed.
func Generate(seed uint64) Scenario {
	g := &scenarioWriter{rng: rand.New(rand.NewPCG(seed, 7)), wide: seed >= firstWideSeed}
	length := 90 + 10*g.rng.IntN(7)
	g.writeLine("run %ds", length)
	g.writeSettings()
	g.writeService()
	if g.wide {
		g.writeWideSettings()
	}
	for range g.rng.IntN(4) {
		g.writeEvent(30 + g.rng.IntN(length-50))
	}
	for range g.rng.IntN(4) {
		if g.wide {
			g.writeWideEvent(30 + g.rng.IntN(length-50))
		}
	}
	s, err := Parse(fmt.Sprintf("generated-%d", seed), g.String())
	if err != nil {
		panic(err) // a bug of the grammar
	}
	for i := range s.Statements {
		s.Statements[i].Line = 0
	}
	if seed >= firstSlowSeed {
		return s.stretchTime(chooseOne(g, 3, 6))
	}
	return s
}

// stretchTime returns the scenario with longer times, but for the lives of pods and the delays of pages and watches.
func (s Scenario) stretchTime(factor int) Scenario {
	head := fmt.Sprintf("scrape interval %ds\nmax-window %ds\n", 2*factor, 60*factor)
	out, err := Parse(s.Name, head)
	if err != nil {
		panic(err) // a bug of this function
	}
	for _, st := range s.Statements {
		st.At *= time.Duration(factor)
		if st.Verb == "run" || st.Verb == "max-window" {
			st.Args = []string{(time.Duration(factor) * st.parseInterval(st.Args[0])).String()}
		}
		if st.Verb == "read" {
			st.Options = append(st.Options, [2]string{"every", "1s"}, [2]string{"from", "10s"}) // unless it has its own
		}
		for i, o := range st.Options {
			if d, err := time.ParseDuration(o[1]); err == nil && slices.Contains(stretchedOptions, o[0]) {
				st.Options[i][1] = (time.Duration(factor) * d).String()
			}
		}
		out.Statements = append(out.Statements, st)
	}
	for i := range out.Statements {
		out.Statements[i].Line = 0
	}
	return out
}

// stretchedOptions are the options with times that a longer scrape interval makes longer.
var stretchedOptions = []string{"interval", "window", "every", "from", "to", "for", "down", "over"}

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
		g.writeLine("counter web http_requests_total rate %d series %d%s", rate, 1+g.rng.IntN(3), g.chooseCounterOptions())
	}
	g.writeLine("gauge web in_flight value %d", 1+g.rng.IntN(50))
	g.writeLine("read total deployment web request_per_second")
	g.writeLine("read pods pods web request_per_second")
	g.writeLine("read fixed pods web fixed_rate truth rate/http_requests_total from %ds", 12)
	g.writeLine("read all external - all_rate truth rate/http_requests_total")
	g.writeLine("read busy deployment web in_flight")
	switch g.rng.IntN(4) {
	case 0:
		g.slow = true
		g.writeLine("histogram web http_request_duration_seconds rate %d latency %s", rate, chooseOne(g, "0.03", "0.2", "0.7"))
		g.writeLine("read slow pods web latency_p95 truth quantile/http_request_duration_seconds/95")
	case 1:
		g.writeLine("read queue external - all_in_flight truth gauge/in_flight")
	case 2:
		g.scales = true
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
		if g.expires {
			return
		}
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

// chooseCounterOptions returns options of a counter in a wide scenario.
func (g *scenarioWriter) chooseCounterOptions() string {
	if !g.wide {
		return ""
	}
	return chooseOne(g, "", "", " base 1000000", " created yes")
}

// writeWideSettings writes what only wide scenarios have: a second service, watches that lag, and readers of other objects.
func (g *scenarioWriter) writeWideSettings() {
	if g.rng.IntN(3) == 0 {
		g.writeLine("watch lag %s", chooseOne(g, "100ms", "500ms", "1500ms", "3s"))
	}
	if g.expires = g.rng.IntN(5) == 0; g.expires {
		g.writeLine("at 40s move web http_requests_total 500")
		g.writeLine("at 55s expire web http_requests_total")
		g.writeLine("at %ds move web http_requests_total 200", 57+g.rng.IntN(20))
	}
	if g.api = g.rng.IntN(3) == 0; g.api {
		g.writeLine("service api pods %d boot 2s grace 3s", 1+g.rng.IntN(3))
		g.writeLine("counter api http_requests_total rate %d", 20+g.rng.IntN(300))
	}
	switch g.rng.IntN(4) {
	case 0:
		g.writeLine("read namespace namespace - request_per_second")
	case 1:
		g.writeLine("read service service web request_per_second")
	case 2:
		g.writeLine("read service service web fixed_rate truth rate/http_requests_total from 12s")
	}
}

// writeWideEvent writes something that happens only in wide scenarios.
func (g *scenarioWriter) writeWideEvent(at int) {
	pod := fmt.Sprintf("web-%d", 1+g.rng.IntN(g.pods))
	seconds := 2 + g.rng.IntN(20)
	kind := g.rng.IntN(12)
	if g.slow && g.rng.IntN(4) == 0 {
		g.writeLine("at %ds latency web http_request_duration_seconds %s", at, chooseOne(g, "0.03", "0.2", "0.7", "2"))
	}
	switch kind {
	case 0:
		g.writeLine("at %ds scrape interval %s", at, chooseOne(g, "1s", "2s", "5s"))
	case 1:
		g.writeLine("at %ds rule fixed_rate window %ds: sum by (namespace, pod) (rate(http_requests_total[$window]))", at, chooseOne(g, 10, 20, 45))
	case 2:
		g.writeLine("at %ds max-window %s", at, chooseOne(g, "90s", "2m"))
	case 3:
		if g.pods == 1 {
			return
		}
		g.writeLine("at %ds pod %s %s", at, pod, chooseOne(g, "fail", "succeed", "replace"))
	case 4: // a crash loop
		for i := range 3 {
			g.writeLine("at %ds pod %s restart down %ds", at+i*(seconds/2+2), pod, seconds/2)
		}
	case 5: // a node
		if g.expires {
			return
		}
		mode := chooseOne(g, "timeout", "refuse", "503")
		for i := range g.pods {
			g.writeLine("at %ds pod web-%d %s for %ds", at, i+1, mode, seconds)
		}
	case 6, 7:
		if !g.api {
			return
		}
		g.writeLine("at %ds rate api http_requests_total %d", at, 20+g.rng.IntN(300))
	case 8:
		if g.scales {
			return
		}
		g.writeLine("at %ds scale web 0", at)
		g.writeLine("at %ds scale web %d", at+seconds, g.pods)
	case 9:
		g.writeLine("at %ds read late external - all_rate truth rate/http_requests_total from %ds", at, at+8)
	case 10:
		if g.expires {
			return
		}
		g.writeLine("at %ds pod %s slow for %ds value %s", at, pod, seconds, chooseOne(g, "1500ms", "2500ms", "4s"))
	default:
		g.writeFlaps(at, pod)
	}
}

// writeFlaps makes a pod not ready and ready again, twice.
func (g *scenarioWriter) writeFlaps(at int, pod string) {
	for i := range 4 {
		g.writeLine("at %ds pod %s %s", at+3*i, pod, []string{"unready", "ready"}[i%2])
	}
}
