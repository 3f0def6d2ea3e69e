package provider

import (
	"testing"
	"time"
)

// TestFallbacksAreShared: a reader of ever new selectors, for which there is no value, takes the memory of no other namespace, nor that of
// an autoscaler that reads again and again.
func TestFallbacksAreShared(t *testing.T) {
	t.Parallel()
	var f fallbacks
	now := time.Unix(1_800_000_000, 0)
	absent := func(namespace string, selector uint64) (served bool) {
		now = now.Add(time.Millisecond)
		_, served, _ = f.recordValueAbsence(fallbackKey{metric: "m", namespace: namespace, selector: selector}, time.Minute, now)
		return served
	}
	began := now
	absent("shop", 1)
	for i := range uint64(30_000) {
		absent([]string{"evil", "evil-2", "evil-3"}[i%3], 2+i)
		if i%100 == 0 { // each 100 ms
			absent("evil", 1)
		}
	}
	if f.count != 3*maxNamespaceFallbacks+1 {
		t.Errorf("%d metrics in memory, want %d", f.count, 3*maxNamespaceFallbacks+1)
	}
	now = began.Add(2 * time.Minute)
	if !absent("shop", 1) || !absent("evil", 1) {
		t.Error("an autoscaler has lost its fallback to a reader")
	}
}

// TestFallbacksOfManyNamespaces: at the bound of all, the namespace with the most gives way.
func TestFallbacksOfManyNamespaces(t *testing.T) {
	t.Parallel()
	var f fallbacks
	now := time.Unix(1_800_000_000, 0)
	key := func(namespace string, selector int) fallbackKey {
		return fallbackKey{namespace: namespace, selector: uint64(selector)} //nolint:gosec // a small number
	}
	f.recordValueAbsence(key("shop", 0), time.Minute, now)
	for namespace := range 15 {
		for i := range 900 {
			f.recordValueAbsence(key(string(rune('a'+namespace)), i), time.Minute, now)
		}
	}
	if f.count != maxFallbacks {
		t.Errorf("%d metrics in memory, want %d", f.count, maxFallbacks)
	}
	if _, served, _ := f.recordValueAbsence(key("shop", 0), time.Minute, now.Add(time.Minute)); !served {
		t.Error("a namespace with one metric has lost its fallback")
	}
	if !f.recordValueReturn(key("shop", 0), now.Add(time.Minute)) || f.count != maxFallbacks {
		t.Errorf("the fallback does not end, or %d metrics are in memory", f.count)
	}
}
