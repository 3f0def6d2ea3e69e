// The cache of expanded pattern rules: the names come from requests.

package rule

import (
	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/sharedcache"
)

const (
	// expandedRuleBytes are about the bytes of an expanded rule, and expandedNameRatio the bytes for each byte of its name.
	expandedRuleBytes, expandedNameRatio = 8 << 10, 32
	// maxCachedRuleBytes bounds the expanded rules.
	maxCachedRuleBytes = memorybounds.ExpandedRules
)

type ruleCacheKey struct{ resource, metric string }

// cachedRuleBytes returns about the memory of a rule with this key.
func (k ruleCacheKey) cachedRuleBytes() int {
	return expandedRuleBytes + expandedNameRatio*(len(k.metric)+len(k.resource))
}

// ruleCache holds expanded pattern rules.
type ruleCache = sharedcache.Cache[ruleCacheKey, *Rule]

func newRuleCache() *ruleCache { return sharedcache.New[ruleCacheKey, *Rule](maxCachedRuleBytes) }
