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
	// soakWarmUp is the time until the store and the caches are full. The records of autoscalers fill for half an hour, at ten times the
	// usual reads, and are judged apart.
	soakWarmUp = 10 * time.Minute
	// controllerWorkers is soakFactor times the reads in flight of a kube-controller-manager, by its default.
	controllerWorkers = soakFactor * 5
	// overloadWorkers is more than the places of a lane.
	overloadWorkers = 300
	// overloadTime is that of the overload, and of the reads after it.
	overloadTime = 10 * time.Second
	// punctualShare is the share of the reads that must begin in time; below it a run shows nothing about reads.
	punctualShare = 0.5
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
	reads := startSoakReads(t, w, hpaUser, rate, controllerWorkers)
	warmUp := min(soakWarmUp, *soakDuration/3)
	retry.Sleep(t.Context(), warmUp)
	samples := w.watchAdapter(t, *soakDuration)
	stopChurn()
	steady := reads.take()

	shed := w.overload(t, 99*rate)
	during := reads.take()
	retry.Sleep(t.Context(), recoveryTime)
	reads.take()
	retry.Sleep(t.Context(), overloadTime)
	after := reads.stop()

	report := describeSoak(w, rate, samples) + "\n| reads | a second | by status | p50 | p99 | slowest |\n| --- | --- | --- | --- | --- | --- |\n" +
		steady.rows("autoscalers, steady", *soakDuration+warmUp) + shed + during.rows("autoscalers, during the overload", overloadTime) +
		after.rows("autoscalers, from 5 s after it", overloadTime)
	t.Logf("\n%s", report)
	if *soakTable != "" {
		if err := os.WriteFile(*soakTable, []byte(report), 0o600); err != nil {
			t.Error(err)
		}
	}
	judgeSoak(t, samples, steady, during, after)
}

// judgeSoak holds the run to its promises. Latency is judged only against that of the same run: it is the machine's too.
func judgeSoak(t *testing.T, samples []adapterSample, steady, during, after timedReads) {
	t.Helper()
	for phase, r := range map[string]timedReads{"steady": steady, "during the overload": during, "after the overload": after} {
		punctual := r.punctual
		if n := punctual.count(); punctual.codes[200] != n {
			t.Errorf("%s: of %d reads of autoscalers %v were answered, such as: %v", phase, n, punctual.codes, punctual.failure)
		}
		if share := r.share(); share < punctualShare {
			t.Errorf("%s: generator late: %.0f %% of the reads began in time, want %.0f %%; the machine is too busy to judge the adapter, run it on a quiet one",
				phase, 100*share, 100*punctualShare)
		}
	}
	usual, recovered := steady.punctual.quantile(0.5), after.punctual.quantile(0.5)
	if bound := 5*usual + 100*time.Millisecond; recovered > bound {
		t.Errorf("%s after the overload half of the reads of autoscalers take %s, before it %s, bound %s", recoveryTime, recovered, usual, bound)
	}
	for _, fault := range judgeGrowth(samples) {
		t.Error(fault)
	}
}

// judgeGrowth returns what grew, and records beyond their bound.
func judgeGrowth(samples []adapterSample) (faults []string) {
	for _, c := range sampledColumns {
		if growth := growthOf(samples, c); c.most > 0 && growth > c.most {
			faults = append(faults, fmt.Sprintf("%s grew by %.1f %% from the second quarter of the run to the last, bound %.0f %%", c.name, 100*growth, 100*c.most))
		}
	}
	if last := samples[len(samples)-1]; last.records == 0 || last.goal == 0 {
		faults = append(faults, "the adapter shows no bytes of records, or no size at which its collector begins: memory cannot be judged")
	}
	for _, s := range samples {
		if s.records > 1.1*maxRecordBytes {
			return append(faults, fmt.Sprintf("the records of autoscalers have %.1f MiB, bound %d MiB", s.records/(1<<20), maxRecordBytes>>20))
		}
	}
	return faults
}
