// The section of the report on memory, and the cost of a target and of a series.

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"
)

func (s *settings) reportMemory(ctx context.Context, dir string, load float64, out io.Writer) (string, error) {
	m := &memory{cpus: s.cpus, dir: dir, program: s.adapter, steady: s.steady, profiles: s.profiles, log: out}
	head := describeBenchMachine(time.Now(), load)
	all, err := m.measurePopulations(ctx)
	if err != nil {
		return "", err
	}
	return head + "\n\n" + m.formatMemory(all), nil
}

func (m *memory) formatMemory(all []*holding) string {
	var w bytes.Buffer
	fmt.Fprintf(&w, `Resident memory of the adapter with its defaults (scrapes every 2 s, longest window %v). A fake kube-apiserver has the pods in groups of %d, each
with an autoscaler that asks for two families.

| pods | series | resident, MB | processors |
| --- | --- | --- | --- |
`, longestWindow, podsPerGroup)
	by := map[population]*holding{}
	for _, h := range all {
		by[h.population] = h
		fmt.Fprintf(&w, "| %d | %d | %.1f | %.2f |\n", h.populationPods(), h.populationPods()*2*h.series,
			float64(h.resident)/1e6, h.cpu.Seconds()/h.elapsed.Seconds())
	}
	fmt.Fprintf(&w, "\nBy difference: %.1f KB a target with two series and its pod; %.2f KB a series with a minute of samples.\n",
		residentBytesEach(by[someFlat], by[manyFlat], population.populationPods)/1e3, residentBytesEach(by[someFlat], by[someDeep], population.populationSeries)/1e3)
	return w.String()
}

// residentBytesEach returns the memory per item that b has more than a, in bytes.
func residentBytesEach(a, b *holding, count func(population) int) float64 {
	return float64(b.resident-a.resident) / float64(count(b.population)-count(a.population))
}
