package rule

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestCachedRulesAreShared: a namespace that asks for ever new names, or again and again for more than the cache holds, makes no rule of
// another namespace be expanded again.
func TestCachedRulesAreShared(t *testing.T) {
	t.Parallel()
	s := builtinSet(t)
	lookup := func(namespace, name string) *Rule {
		r, err := s.LookupFor(namespace, "pods", name)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := map[string]*Rule{}
	for i := range 50 {
		name := fmt.Sprintf("shop_%d_per_second", i)
		first[name] = lookup("shop", name)
	}
	lookup("evil", "shop_total_per_second") // evil asked first for what shop reads too
	lookup("shop", "shop_total_per_second")
	for range 2 {
		for i := range 800 {
			lookup("evil", fmt.Sprintf("evil_%06d_per_second", i))
		}
	}
	for name, r := range first {
		if lookup("shop", name) != r {
			t.Errorf("the rule of %s was expanded again", name)
		}
	}
	again := lookup("shop", "shop_total_per_second")
	for i := range 800 {
		lookup("evil", fmt.Sprintf("evil_%06d_per_second", i))
	}
	if lookup("shop", "shop_total_per_second") != again {
		t.Error("a rule that the greedy namespace asked for first is expanded more than once more")
	}
	if _, bytes := s.expanded.Usage(); bytes > maxCachedRuleBytes {
		t.Errorf("rules have %d bytes, want at most %d", bytes, maxCachedRuleBytes)
	}
}

// TestCachedRulesAreMeasured: a full cache takes about the memory that it counts, with short and with long names.
func TestCachedRulesAreMeasured(t *testing.T) { //nolint:paralleltest // measures the heap
	for _, size := range []int{20, 240} {
		s := builtinSet(t)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 800 {
			if _, err := s.Lookup("pods", fmt.Sprintf("m%06d%s_per_second", i, strings.Repeat("m", size-18))); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		count, bytes := s.expanded.Usage()
		got := float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / float64(bytes)
		t.Logf("names of %d bytes: %d rules take %.2f times what is counted", size, count, got)
		if got > 1.5 {
			t.Errorf("names of %d bytes: the rules take %.2f times what is counted", size, got)
		}
		runtime.KeepAlive(s)
	}
}
