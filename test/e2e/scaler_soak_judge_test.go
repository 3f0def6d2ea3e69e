package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/test/harness/host"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// describeMessageFaults returns what is wrong with the messages that a receiver got: a hold tells its start first, each outcome of an attempt once in a row,
// and after all holds have ended, its end. A message comes again only if a process was killed.
func describeMessageFaults(bodies []string, killed bool) (faults []string) {
	told, times := map[string][]notify.Kind{}, map[string]int{}
	for _, body := range bodies {
		var m notify.Message
		if err := json.Unmarshal([]byte(body), &m); err != nil || m.Key == "" {
			faults = append(faults, fmt.Sprintf("no message: %v: %s", err, body))
			continue
		}
		if times[m.Key]++; times[m.Key] > 1 {
			if !killed {
				faults = append(faults, fmt.Sprintf("message %s came %d times", m.Key, times[m.Key]))
			}
			continue
		}
		uid, _, _ := strings.Cut(m.Key, "/")
		told[uid] = append(told[uid], m.Kind)
	}
	for uid, kinds := range told {
		last := kinds[len(kinds)-1]
		if kinds[0] != notify.KindStarted || last != notify.KindEnded && last != notify.KindRolledBack && last != notify.KindPaused {
			faults = append(faults, fmt.Sprintf("hold %s told %v", uid, kinds))
		}
		for i := range kinds[1:] {
			if k := kinds[i]; k == kinds[i+1] && k != notify.KindYielded && k != notify.KindStuck && k != notify.KindStarted {
				faults = append(faults, fmt.Sprintf("hold %s told %s twice", uid, k))
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// memorySample is the resident memory of a scaler in a round.
type memorySample struct {
	at       time.Duration // since the soak began
	pid      int
	resident int64 // bytes
	limit    int64 // of its container
}

// sampleScalerMemory reads the resident memory of each scaler.
func (k *soak) sampleScalerMemory(t *testing.T, at time.Duration) {
	t.Helper()
	pods, err := s.Client.CoreV1().Pods(stack.AdapterNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=tachometer-scaler"})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		pids, err := podProcesses(pod)
		if err != nil {
			continue // it starts again
		}
		for _, pid := range pids {
			if resident, err := host.Resident(pid); err == nil {
				k.memory = append(k.memory, memorySample{at, pid, resident, pod.Spec.Containers[0].Resources.Limits.Memory().Value()})
			}
		}
	}
}

// maxMemoryGrowth bounds the growth of the median of the scalers' resident memory from the second quarter of the soak to the last.
const maxMemoryGrowth = 0.25

// minGrowthSamples are the fewest samples whose quarters say something.
const minGrowthSamples = 16

// describeMemoryFaults returns what is wrong with the memory: a scaler needs half of its container's limit, or all of them grow.
func describeMemoryFaults(samples []memorySample) (faults []string) {
	for _, m := range samples {
		if 2*m.resident > m.limit {
			faults = append(faults, fmt.Sprintf("after %s a scaler has %d MiB, its limit is %d MiB", m.at.Round(time.Second), m.resident>>20, m.limit>>20))
		}
	}
	if n := len(samples); n >= minGrowthSamples {
		before, after := medianResident(samples[n/4:n/2]), medianResident(samples[3*n/4:])
		if float64(after) > (1+maxMemoryGrowth)*float64(before) {
			faults = append(faults, fmt.Sprintf("the scalers grew from %d to %d MiB", before>>20, after>>20))
		}
	}
	return faults
}

func medianResident(samples []memorySample) int64 {
	sorted := slices.SortedFunc(slices.Values(samples), func(a, b memorySample) int { return cmp.Compare(a.resident, b.resident) })
	return sorted[len(sorted)/2].resident
}

// TestScalerSoakJudges: the judges see a lost start, a lost end, a message twice, a scaler near its limit and a slow growth.
func TestScalerSoakJudges(t *testing.T) {
	t.Parallel()
	body := func(uid string, kind notify.Kind, version int) string {
		text, err := json.Marshal(notify.Message{Key: fmt.Sprintf("%s/%s/%d", uid, kind, version), Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	started, up, ended := body("a", notify.KindStarted, 1), body("a", notify.KindUp, 2), body("a", notify.KindEnded, 3)
	for name, c := range map[string]struct {
		bodies []string
		killed bool
		want   int
	}{
		"right":              {[]string{started, up, ended}, false, 0},
		"two holds":          {[]string{started, body("b", notify.KindStarted, 4), up, body("b", notify.KindRolledBack, 5), ended}, false, 0},
		"no start":           {[]string{up, ended}, false, 1},
		"no end":             {[]string{started, up}, false, 1},
		"again":              {[]string{started, up, up, ended}, false, 1},
		"again after a kill": {[]string{started, up, up, ended}, true, 0},
		"twice in a row":     {[]string{started, up, body("a", notify.KindUp, 9), ended}, true, 1},
		"no message":         {[]string{"{}", started, ended}, false, 1},
	} {
		if faults := describeMessageFaults(c.bodies, c.killed); len(faults) != c.want {
			t.Errorf("%s: %q; want %d", name, faults, c.want)
		}
	}
	for name, c := range map[string]struct {
		resident func(i int) int64
		want     int
	}{
		"steady": {func(int) int64 { return 40 << 20 }, 0}, "noise": {func(i int) int64 { return int64(40+i%5) << 20 }, 0},
		"growing": {func(i int) int64 { return int64(30+i) << 20 }, 1}, "near the limit": {func(i int) int64 { return int64(40+60*(i/39)) << 20 }, 1},
	} {
		var samples []memorySample
		for i := range 40 {
			samples = append(samples, memorySample{time.Duration(i) * time.Minute, 1, c.resident(i), 192 << 20})
		}
		if faults := describeMemoryFaults(samples); len(faults) != c.want {
			t.Errorf("%s: %q; want %d", name, faults, c.want)
		}
	}
}
