// The section of the report on answering.

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"
)

// groups make 1,000 pods.
const groups = 50

func (s *settings) reportAnswering(ctx context.Context, dir string, load float64, out io.Writer) (string, error) {
	a := &answering{cpus: s.cpus, dir: dir, program: s.adapter, groups: groups, steady: s.steady / 2, profiles: s.profiles, log: out}
	a.measure = a.measureAllAnswers
	head := describeBenchMachine(time.Now(), load)
	answers, err := a.measureAnswering(ctx)
	if err != nil {
		return "", err
	}
	return head + "\n\n" + a.formatAnswering(answers), nil
}

func (a *answering) formatAnswering(answers []*answer) string {
	var w bytes.Buffer
	fmt.Fprintf(&w, `A fake kube-apiserver has %d pods in groups of %d, and an autoscaler on each group. The adapter has its defaults and a processor to itself, and
scrapes every 2 s (without reads %.1f %% of the processor, %.0f MB resident). Reads come over TLS with the front proxy's certificate, from %d
connections for %v. *CPU* is of one read, beyond the time without reads.

| read | offered | reads/s | p50, ms | p99, ms | CPU, ms |
| --- | --- | --- | --- | --- | --- |
`, a.groups*podsPerGroup, podsPerGroup, 100*a.idle.cpu.Seconds()/a.idle.elapsed.Seconds(), float64(a.idle.resident)/1e6, connections, a.steady)
	for _, one := range answers {
		a.writeAnsweringRow(&w, one)
	}
	return w.String()
}

func (a *answering) writeAnsweringRow(w io.Writer, one *answer) {
	name, offered := one.name, "all"
	if one.protocol != http2 {
		name += ", " + one.protocol
	}
	if one.rate > 0 {
		offered = fmt.Sprintf("%d/s", one.rate)
	}
	fmt.Fprintf(w, "| %s | %s | %.0f | %.2f | %.2f | %.3f |\n", name, offered, one.apiReadsPerSecond(),
		1000*one.apiLatencyQuantile(0.5).Seconds(), 1000*one.apiLatencyQuantile(0.99).Seconds(), 1000*one.cpuPerAPIRead(a.idle).Seconds())
}
