package recorder

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"
)

// TestRecordBytesAreThoseOfTheHeap: the bytes that the records are counted and bounded by are those that they take of the heap.
func TestRecordBytesAreThoseOfTheHeap(t *testing.T) { // not parallel: it measures the heap
	r := New(Options{Now: func() time.Time { return noon }, Autoscalers: []string{controller}, MaxBytes: 1 << 30})
	services := make([]*loadedService, 50)
	for i := range services {
		services[i] = &loadedService{t: t, now: noon, random: newRandom(uint64(i)), user: controller}
	}
	look := func(looks int) {
		for i, s := range services {
			r.opts.Now = func() time.Time { return s.now }
			r.SetScaleTargets(s)
			if looks == 0 {
				s.join(fmt.Sprintf("web-%d", i), r)
			}
			for j := range looks {
				s.load = 1_000_000 + 100_000*math.Sin(float64(i+j)/20)
				s.look()
			}
		}
	}
	measure := func() (heap, counted float64) {
		runtime.GC()
		runtime.GC() // what a pool held goes with the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc), float64(r.used)
	}
	look(0)
	look(60) // the open blocks are full
	heap, counted := measure()
	look(240)
	laterHeap, laterCounted := measure()
	runtime.KeepAlive(services)
	ratio := (laterHeap - heap) / (laterCounted - counted)
	t.Logf("the heap grew by %.0f bytes, the count by %.0f: %.2f", laterHeap-heap, laterCounted-counted, ratio)
	if ratio < 0.7 || ratio > 1.3 {
		t.Errorf("the heap grew %.2f times as much as what is counted", ratio)
	}
}
