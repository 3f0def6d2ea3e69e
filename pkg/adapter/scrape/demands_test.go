package scrape

import (
	"testing"
)

// TestAutoscalersFamiliesRankFirst: a family that an autoscaler demands ranks before those that readers demanded earlier.
func TestAutoscalersFamiliesRankFirst(t *testing.T) {
	t.Parallel()
	first := demandAges{}.beginTargetDemands(nil)
	first.rankTargetFamilies("shop", []string{"read"}, nil)
	second := first.ages.beginTargetDemands(first.compiled)
	ranked := second.rankTargetFamilies("shop", []string{"late", "read", "rps"}, []string{"rps"})
	ranks := map[string]int{}
	for i, f := range ranked.families.Names() {
		ranks[f] = ranked.ranks[i]
	}
	if ranks["rps"] >= ranks["read"] || ranks["read"] >= ranks["late"] {
		t.Errorf("ranks %v, want rps first, then by age", ranks)
	}
	if other := second.rankTargetFamilies("shop", []string{"late", "read", "rps"}, []string{"read", "rps"}); other.ranks[1] >= readersRank {
		t.Errorf("ranks %v are those of other standing families", other.ranks)
	}
}
