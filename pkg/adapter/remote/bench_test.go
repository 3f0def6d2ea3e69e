package remote

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkRead is a read of 20 pods out of 5,000 in ten namespaces, from memory.
func BenchmarkRead(b *testing.B) {
	w := newTestBackend(b, "  refresh: 1m\n", sharedRules, Options{})
	var all []fakeSeries
	var names []string
	for i := range 5000 {
		all = append(all, fakeSeries{fmt.Sprintf("namespace=ns-%d,pod=web-%d", i%10, i), float64(i), time.Now()})
		if i%10 == 3 && len(names) < 20 {
			names = append(names, fmt.Sprintf("web-%d", i))
		}
	}
	w.server.alwaysRespond(newVectorResponse(all...))
	q, now := w.newRuleQuery("requests", "ns-3", names...), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if v, err := w.Evaluate(b.Context(), q, now); err != nil || len(v) != len(names) {
			b.Fatal(len(v), err)
		}
	}
}
