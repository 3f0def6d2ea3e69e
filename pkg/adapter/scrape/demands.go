package scrape

// The demanded families of the targets, by the age of the demand: a later demand must not take the place of an earlier one.

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// maxFamilies bounds the families of a target: its parser remembers some 100 bytes of each.
const maxFamilies = 4096

// demandAges are the ages of demands: the number of the SetTargets that first had them.
type demandAges struct {
	round  int
	rounds map[demandedFamily]int
}

// demandedFamily is a family demanded of the pods of a namespace.
type demandedFamily struct{ namespace, family string }

// standingFamilies are the joined families of a target, and of autoscalers.
type standingFamilies struct{ namespace, families, standing string }

// readersRank is added to the rank of a family that no autoscaler demands.
const readersRank = 1 << 40

// rankedFamilies are compiled families and their ranks: the rounds of their demands.
type rankedFamilies struct {
	families *exposition.Families
	ranks    []int
}

// targetDemands are the demands of one SetTargets.
type targetDemands struct {
	before, ages     demandAges
	compiledBefore   map[string]*exposition.Families
	compiled         map[string]*exposition.Families
	rankedByFamilies map[standingFamilies]rankedFamilies
}

// beginTargetDemands begins the demands of the next SetTargets. compiled are the families compiled for the one before.
func (a demandAges) beginTargetDemands(compiled map[string]*exposition.Families) *targetDemands {
	return &targetDemands{
		before:           a,
		ages:             demandAges{round: a.round + 1, rounds: make(map[demandedFamily]int, len(a.rounds))},
		compiledBefore:   compiled,
		compiled:         make(map[string]*exposition.Families, len(compiled)),
		rankedByFamilies: map[standingFamilies]rankedFamilies{},
	}
}

// rankTargetFamilies compiles and ranks the families of a target; of too many it keeps autoscalers', then the oldest demands. Targets
// of a namespace with the same families share the result. Both lists are sorted.
func (d *targetDemands) rankTargetFamilies(namespace string, families, standing []string) rankedFamilies {
	joined := standingFamilies{namespace, strings.Join(families, "\x00"), strings.Join(standing, "\x00")}
	if ranked, ok := d.rankedByFamilies[joined]; ok {
		return ranked
	}
	for _, f := range families {
		key := demandedFamily{namespace, f}
		round, known := d.before.rounds[key]
		if !known {
			round = d.ages.round
		}
		d.ages.rounds[key] = round
	}
	ageOf := func(f string) int {
		age := d.ages.rounds[demandedFamily{namespace, f}]
		if _, ok := slices.BinarySearch(standing, f); !ok {
			age += readersRank
		}
		return age
	}
	if len(families) > maxFamilies {
		families = slices.Clone(families)
		slices.SortStableFunc(families, func(a, b string) int { return cmp.Compare(ageOf(a), ageOf(b)) })
		families = families[:maxFamilies]
		slices.Sort(families)
	}
	ranked := rankedFamilies{families: d.compileTargetFamilies(families)}
	for _, f := range ranked.families.Names() {
		ranked.ranks = append(ranked.ranks, ageOf(f))
	}
	d.rankedByFamilies[joined] = ranked
	return ranked
}

// compileTargetFamilies returns the compiled form of families. Targets with the same families share it.
func (d *targetDemands) compileTargetFamilies(families []string) *exposition.Families {
	key := strings.Join(families, "\x00")
	f := d.compiled[key]
	if f == nil {
		if f = d.compiledBefore[key]; f == nil {
			f = exposition.NewFamilies(families)
		}
		d.compiled[key] = f
	}
	return f
}
