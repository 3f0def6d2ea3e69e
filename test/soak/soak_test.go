// Package soak runs the real adapter for a long time at ten times the reads of a thousand autoscalers, with pods that come and go, and
// looks for what grows. Then it overloads it.
package soak

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

var (
	soakDuration    = flag.Duration("soak.duration", 0, "time for which TestSoak reads at a steady rate; 0 skips it")
	soakAutoscalers = flag.Int("soak.autoscalers", 1000, "autoscalers, each with five pods; they decide on the rate of reads too")
	soakTable       = flag.String("soak.table", "", "file for TestSoak's report, in Markdown")
)

const (
	podsPerAutoscaler = 5
	// soakFactor is the number of reads for each of the HPA controller's.
	soakFactor = 10
	// hpaPeriod is the time between two reads of an autoscaler.
	hpaPeriod = 15 * time.Second
	// churnInterval is the time between two replaced pods: 5,000 pods are all replaced in a bit over an hour.
	churnInterval = time.Second
	// soakWarmUp is the time until the records of autoscalers are full, at ten times the usual reads; the store is full earlier.
	soakWarmUp = 10 * time.Minute
	// recoveryTime is the bound of the time to usual reads after an overload.
	recoveryTime = 5 * time.Second
)

// TestSoak: nothing grows at a steady load, no read of an autoscaler fails, and an overload is shed and over within seconds.
func TestSoak(t *testing.T) {
	if *soakDuration == 0 {
		t.Skip("SKIPPED: -soak.duration is 0: run `make soak`")
	}
	w := startSoakWorld(t)
	rate := float64(*soakAutoscalers) / hpaPeriod.Seconds() * soakFactor
	w.awaitSoakValues(t)
	stopChurn := w.startChurn(t)
	reads := startSoakReads(t, w, hpaUser, rate)
	retry.Sleep(t.Context(), min(soakWarmUp, *soakDuration/3))
	samples := w.watchAdapter(t, *soakDuration)
	stopChurn()
	steady := reads.take()

	overload := startSoakReads(t, w, "reader", 99*rate)
	retry.Sleep(t.Context(), 10*time.Second)
	shed := overload.stop()
	during := reads.take()
	retry.Sleep(t.Context(), recoveryTime)
	reads.take()
	retry.Sleep(t.Context(), 10*time.Second)
	after := reads.stop()

	report := describeSoak(w, rate, samples) + fmt.Sprintf("\n| reads | a second | by status | p50 | p99 | slowest |\n| --- | --- | --- | --- | --- | --- |\n"+
		"%s%s%s%s", steady.row("autoscalers, steady", *soakDuration+min(soakWarmUp, *soakDuration/3)), shed.row("readers, overload", 10*time.Second),
		during.row("autoscalers, during the overload", 10*time.Second), after.row("autoscalers, from 5 s after it", 10*time.Second))
	t.Logf("\n%s", report)
	if *soakTable != "" {
		if err := os.WriteFile(*soakTable, []byte(report), 0o600); err != nil {
			t.Error(err)
		}
	}
	judgeSoak(t, samples, map[string]*readResults{"steady": steady, "during the overload": during, "after the overload": after}, shed)
}

// judgeSoak holds the run to its promises. Latency is judged only against that of the same run: it is the machine's too.
func judgeSoak(t *testing.T, samples []adapterSample, autoscalers map[string]*readResults, shed *readResults) {
	t.Helper()
	for phase, r := range autoscalers {
		if n := r.count(); n == 0 || r.codes[200] != n {
			t.Errorf("%s: of %d reads of autoscalers %v were answered, such as: %v", phase, n, r.codes, r.failure)
		}
	}
	usual, after := autoscalers["steady"].quantile(0.5), autoscalers["after the overload"].quantile(0.5)
	if bound := 5*usual + 100*time.Millisecond; after > bound {
		t.Errorf("%s after the overload half of the reads of autoscalers take %s, before it %s, bound %s", recoveryTime, after, usual, bound)
	}
	for code := range shed.codes {
		if code != 200 && code != 429 && code != 503 {
			t.Errorf("readers in the overload got %d, want values, 429 or 503: %v", code, shed.failure)
		}
	}
	for _, c := range sampledColumns {
		if growth := growthOf(samples, c); growth > c.most {
			t.Errorf("%s grew by %.1f %% from the second quarter of the run to the last, bound %.0f %%", c.name, 100*growth, 100*c.most)
		}
	}
}
