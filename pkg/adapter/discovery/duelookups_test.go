package discovery

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestSelectorsOfAutoscalersComeFirst has readers of many objects wait for lookups: an autoscaler's is not behind them.
func TestSelectorsOfAutoscalersComeFirst(t *testing.T) {
	t.Parallel()
	s := newPodSelectorCache(nil)
	now := time.Now()
	for i := range 3 * maxConcurrentLookups {
		s.insertSelector(objectKey{custom.resource, "shop", fmt.Sprint("reader-", i)}, now)
	}
	s.setNeededPodSelectors(neededKeys(custom), now.Add(time.Second))
	keys, _ := s.reserveDueSelectors(now.Add(time.Second))
	if len(keys) != maxConcurrentLookups || keys[0] != custom {
		t.Errorf("lookups begin with %v, want %v", keys, custom)
	}
}

// TestSelectorsOfNamespacesTakeTurns: the first lookup of a namespace waits for no more than those in flight, however many another namespace needs.
func TestSelectorsOfNamespacesTakeTurns(t *testing.T) {
	t.Parallel()
	s := newPodSelectorCache(nil)
	now := time.Now()
	keys := neededKeys(custom)
	for i := range 500 {
		keys[objectKey{custom.resource, "evil", fmt.Sprint(i)}] = struct{}{}
	}
	s.setNeededPodSelectors(keys, now)
	first, _ := s.reserveDueSelectors(now)
	s.inFlight -= len(first) // they have ended
	second, _ := s.reserveDueSelectors(now)
	if !slices.Contains(first, custom) && !slices.Contains(second, custom) {
		t.Errorf("lookups begin with %v and %v, want one of them to be %v", first, second, custom)
	}
}
