package provider

import (
	"testing"
	"time"
)

// TestTotalIsConserved: under a constant load the sum over the pods is that load while pods leave and come, for the list
// that an autoscaler adds up as for an object.
func TestTotalIsConserved(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	c := &chain{t: t, services: []*service{
		{labelledPod: livePod("a"), rate: 100, stop: never, offset: 300 * time.Millisecond, surge: 40 * time.Second, more: 100},
		{labelledPod: livePod("b"), rate: 100, stop: 40 * time.Second, offset: 1100 * time.Millisecond, departs: true},
		{labelledPod: livePod("c"), rate: 100, stop: 70 * time.Second, offset: 1900 * time.Millisecond, departs: true},
		{labelledPod: livePod("d"), rate: 100, start: 70 * time.Second, born: true, stop: never, offset: 700 * time.Millisecond},
	}}
	c.restart()
	served := map[string]int{}
	for c.now < 100*time.Second {
		c.advance()
		if c.now < 20*time.Second || c.now%(500*time.Millisecond) != 0 {
			continue
		}
		reads := c.reads()
		for _, name := range []string{"pods", "deployment"} {
			got, err := reads[name]()
			if err != nil {
				continue
			}
			served[name]++
			total := 0.0
			for _, v := range got {
				total += v
			}
			if name == "pods" && c.now >= 70*time.Second && len(got) < 2 {
				continue // the autoscaler knows that a pod is missing
			}
			if total < 0.9*300 || total > 1.1*300 {
				t.Errorf("%s after %v: %.1f in total, the load is 300: %v", name, c.now, total, got)
			}
		}
	}
	if served["pods"] < 155 || served["deployment"] < 145 {
		t.Errorf("served %v of 160 reads", served)
	}
}
