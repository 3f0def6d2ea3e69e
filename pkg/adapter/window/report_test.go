// The report of the simulations: REPORT.md.

package window

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

var report = flag.Bool("report", false, "rewrite REPORT.md")

const (
	reportFile  = "REPORT.md"
	reportBegin = "<!-- pkg/window: begin -->\n"
	reportEnd   = "<!-- pkg/window: end -->\n"
	reportSeeds = 200
)

// TestReport checks that REPORT.md has a place for the figures; -report rewrites them. It is a simulation of a
// minute, the same on every machine. targets_test.go asserts the promises, on fewer seeds.
func TestReport(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(reportFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(file), reportBegin)
	_, after, ends := strings.Cut(rest, reportEnd)
	if !begins || !ends {
		t.Fatalf("%s has no place for this section, between %q and %q", reportFile, reportBegin, reportEnd)
	}
	if !*report {
		return // the section exists; -report rewrites it
	}
	var section bytes.Buffer
	writeReport(&section)
	if err := os.WriteFile(reportFile, []byte(before+reportBegin+section.String()+reportEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeReport(w io.Writer) {
	fmt.Fprintf(w, `
Simulated Poisson traffic, spread evenly over pods; a scrape every %g s; longest window %s; seeds 0 to %d, the same on every machine. Repeat:
`+"`go test ./pkg/adapter/window -run TestReport -report`"+`.

`, interval, longest, reportSeeds-1)
	reportSteps(w)
	reportSteady(w)
	reportShapes(w)
}

func reportSteps(w io.Writer) {
	fmt.Fprint(w, `**After a step**: seconds until the served total is within 10 % of the truth (no load: 1 % of the load before), median and 95th percentile.
*In time*: the lowest share of runs within the *promised* time; 95 % is promised. *Best*: a window that begins at the step, 4 pods, 95th percentile.

| requests/s | 4 pods | 100 pods | promised | in time | best |
| --- | --- | --- | --- | --- | --- |
`)
	for _, c := range loadSteps {
		if c.deadline == 0 || min(c.from, c.to) > 0.1*max(c.from, c.to) {
			continue // no promise, or a smaller step
		}
		few, best := c.measureReactions(4, reportSeeds)
		many, _ := c.measureReactions(100, reportSeeds)
		inTime := min(few.lagShare(c.deadline), many.lagShare(c.deadline))
		fmt.Fprintf(w, "| %g → %g | %s | %s | %.1f | %.1f %% | %.1f |\n", c.from, c.to, few, many, c.deadline, inTime, best.lagQuantile(0.95))
	}
}

func reportSteady(w io.Writer) {
	fmt.Fprint(w, `
**At a steady rate**, ten hours on 4 pods, an hour on 100: standard deviation of the total beside the longest window's (promised: at most
1.15), and greatest total beside the truth.

| requests/s | in batches of | pods | standard deviation | greatest | greatest, longest window |
| --- | --- | --- | --- | --- | --- |
`)
	row := func(batch float64, pods int, seconds float64) {
		c := measureSteady(40, batch, pods, seconds)
		fmt.Fprintf(w, "| 40 | %g | %d | %.3f | %.2f | %.2f |\n", batch, pods, c.ratio, c.maxRatio, c.plainMaxRatio)
	}
	row(1, 4, 36_000)
	row(1, 100, 3600)
	for _, batch := range []float64{2, 5, 10} { // no promise, but real traffic looks like this
		row(batch, 4, 36_000)
	}
}

// loadShape is a load with other changes than one step.
type loadShape struct {
	name string
	load trueLoad
}

var loadShapes = []loadShape{
	{"40 → 400 in 10 s", rampLoad(40, 400, 100, 10)},
	{"400 → 40 in 10 s", rampLoad(400, 40, 100, 10)},
	{"40 → 400 in 60 s", rampLoad(40, 400, 100, 60)},
	{"400 → 40 in 60 s", rampLoad(400, 40, 100, 60)},
	{"20, and 200 for 10 s every 30 s", burstLoad(20, 200, 20, 10)},
	{"0, and 200 for 30 s every 60 s", burstLoad(0, 200, 30, 30)},
	{"40, and 400 for 60 s every 120 s", burstLoad(40, 400, 60, 60)},
}

// shapeSeconds is the measured time of a shape in seconds, from the 70th on.
const shapeSeconds = 190.0

func reportShapes(w io.Writer) {
	fmt.Fprint(w, `
**Ramps and bursts** on 4 pods: average error of the total over two minutes, in requests/s.

| requests/s | off by | off by, longest window |
| --- | --- | --- |
`)
	for _, s := range loadShapes {
		auto, plain := meanErrors(s.load, 4, shapeSeconds)
		fmt.Fprintf(w, "| %s | %.1f | %.1f |\n", s.name, auto, plain)
	}
}
