// This file merges the families that are demanded of a pod, within bounds in number and in bytes.

package discovery

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
)

const (
	// maxDemandedFamilies bounds the families of one scope of pods, and the families of one pod.
	maxDemandedFamilies = 1000
	// maxPodClaims bounds the scopes with demands that one pod belongs to.
	maxPodClaims = 256
	// maxClaimChains bounds the different combinations of scopes. Real clusters have tens.
	maxClaimChains = 100_000
	// maxFamilySetBytes bounds the sets of families in all, maxNamespaceFamilySetBytes the sets of a namespace's pods.
	maxFamilySetBytes          = memorybounds.FamilySets
	maxNamespaceFamilySetBytes = maxFamilySetBytes / 4
)

// familyDemand holds demanded families; the value is true for a family that an autoscaler demands.
type familyDemand map[string]bool

// addDemandedFamilies adds families up to maxDemandedFamilies and returns the number that it left out. Autoscalers add first.
func (d *familyDemand) addDemandedFamilies(families []string, standing bool) (rejected int) {
	if *d == nil && len(families) > 0 {
		*d = familyDemand{}
	}
	for _, f := range families {
		if _, ok := (*d)[f]; !ok && len(*d) >= maxDemandedFamilies {
			rejected++
			continue
		}
		(*d)[f] = (*d)[f] || standing
	}
	return rejected
}

// podFamilies are the families demanded of a pod, sorted. The slices are shared and must not be changed.
type podFamilies struct {
	all, standing []string
}

// claimChain identifies the claims on a pod, in the order in which they were added; noClaims is none.
type claimChain int32

const noClaims claimChain = 0

// podClaim is the demand of a scope: of all its pods, or of the pods that have opted in.
type podClaim struct {
	pods    *demandedPods
	optedIn bool
}

func (c podClaim) claimedFamilies() familyDemand {
	if c.optedIn {
		return c.pods.optedInFamilies
	}
	return c.pods.allPodsFamilies
}

type claimLink struct {
	before claimChain
	podClaim
}

type namespacedChain struct {
	namespace string
	chain     claimChain
}

// familySets resolves the claims on pods to sets of families. Thousands of pods share a few chains of claims, and each chain is
// resolved once: no set exists for a part of a chain. It is not safe for concurrent use.
type familySets struct {
	links    []claimLink // by chain
	depths   []int       // by chain: the number of its claims
	next     map[claimLink]claimChain
	resolved map[namespacedChain]podFamilies
	interned map[[sha256.Size]byte]podFamilies
	bytes    int
	spent    map[string]int // bytes by namespace
	// exhausted is true after a bound left something out.
	exhausted bool
}

func newFamilySets() *familySets {
	return &familySets{
		links: make([]claimLink, 1), depths: make([]int, 1), next: map[claimLink]claimChain{}, resolved: map[namespacedChain]podFamilies{},
		interned: map[[sha256.Size]byte]podFamilies{}, spent: map[string]int{},
	}
}

// extendClaimChain returns the chain with one claim more. It returns the chain itself for a claim without families, and at a bound.
func (s *familySets) extendClaimChain(chain claimChain, claim podClaim) claimChain {
	if len(claim.claimedFamilies()) == 0 {
		return chain
	}
	link := claimLink{chain, claim}
	if longer, ok := s.next[link]; ok {
		return longer
	}
	if s.depths[chain] >= maxPodClaims || len(s.links) > maxClaimChains {
		s.exhausted = true
		return chain
	}
	longer := claimChain(len(s.links)) //nolint:gosec // at most maxClaimChains
	s.links, s.depths = append(s.links, link), append(s.depths, s.depths[chain]+1)
	s.next[link] = longer
	return longer
}

// resolvePodFamilies returns the families that a chain of claims demands of a pod of the namespace. Where they are too many, it leaves
// out readers' families first.
func (s *familySets) resolvePodFamilies(namespace string, chain claimChain) podFamilies {
	key := namespacedChain{namespace, chain}
	found, ok := s.resolved[key]
	if !ok {
		standing, others := s.collectClaimedFamilies(chain)
		if found, ok = s.internPodFamilies(namespace, standing, others); !ok {
			found, _ = s.internPodFamilies(namespace, standing, nil)
			s.exhausted = true
		}
		s.resolved[key] = found
	}
	return found
}

// collectClaimedFamilies returns the families of autoscalers, and the families that readers alone demand, both sorted.
func (s *familySets) collectClaimedFamilies(chain claimChain) (standing, others []string) {
	families := familyDemand{}
	for ; chain != noClaims; chain = s.links[chain].before {
		for f, isStanding := range s.links[chain].claimedFamilies() {
			families[f] = families[f] || isStanding
		}
	}
	for f, isStanding := range families {
		if isStanding {
			standing = append(standing, f)
		} else {
			others = append(others, f)
		}
	}
	slices.Sort(standing)
	slices.Sort(others)
	standing = standing[:min(len(standing), maxDemandedFamilies)]
	return standing, others[:min(len(others), maxDemandedFamilies-len(standing))]
}

// internPodFamilies returns the shared set of families, and false if the budget has no room for it.
func (s *familySets) internPodFamilies(namespace string, standing, others []string) (podFamilies, bool) {
	all := slices.Concat(standing, others)
	slices.Sort(all)
	key := sha256.Sum256([]byte(strings.Join(all, "\x00") + "\x01" + strings.Join(standing, "\x00")))
	size := measureDemandedFamilySet(all) + measureDemandedFamilySet(standing)
	if s.spent[namespace]+size > maxNamespaceFamilySetBytes {
		return podFamilies{}, false
	}
	set, ok := s.interned[key]
	if !ok {
		if s.bytes+size > maxFamilySetBytes {
			return podFamilies{}, false
		}
		set = podFamilies{all: all, standing: standing}
		s.interned[key] = set
		s.bytes += size
	}
	s.spent[namespace] += size
	return set, true
}

// measureDemandedFamilySet returns the bytes of a set: a string's header and the name.
func measureDemandedFamilySet(families []string) int {
	size := 0
	for _, f := range families {
		size += 16 + len(f)
	}
	return size
}
