// This file bounds the rate of lookups at the API server.

package discovery

import (
	"time"

	"golang.org/x/time/rate"
)

// selectorLookupLimiter bounds lookups per namespace and in all. It is not safe for concurrent use.
type selectorLookupLimiter struct {
	all           *rate.Limiter
	namespaceRate rate.Limit
	namespaceSize int
	byNamespace   map[string]*rate.Limiter
}

// newReaderLookupLimiter returns the limit for objects that readers alone ask for. A lookup is up to two requests.
func newReaderLookupLimiter() selectorLookupLimiter {
	return selectorLookupLimiter{all: rate.NewLimiter(50, 200), namespaceRate: 5, namespaceSize: 50, byNamespace: map[string]*rate.Limiter{}}
}

// newStandingLookupLimiter returns the limit for the objects of autoscalers. The first lookups of 5,000 autoscalers are not delayed.
func newStandingLookupLimiter() selectorLookupLimiter {
	return selectorLookupLimiter{all: rate.NewLimiter(200, 5000), namespaceRate: 20, namespaceSize: 1000, byNamespace: map[string]*rate.Limiter{}}
}

// maxIdleLimiters bounds the limiters of namespaces without lookups lately.
const maxIdleLimiters = 1000

// hasSelectorLookup reports whether a lookup in the namespace may start now.
func (l *selectorLookupLimiter) hasSelectorLookup(namespace string, now time.Time) bool {
	n := l.byNamespace[namespace]
	return l.all.TokensAt(now) >= 1 && (n == nil || n.TokensAt(now) >= 1)
}

// countSpentLookups returns the lookups of the namespace that its rate has not given back yet.
func (l *selectorLookupLimiter) countSpentLookups(namespace string, now time.Time) int {
	n := l.byNamespace[namespace]
	if n == nil {
		return 0
	}
	return l.namespaceSize - int(n.TokensAt(now))
}

// allowSelectorLookup reports whether a lookup in the namespace may start now, and counts it.
func (l *selectorLookupLimiter) allowSelectorLookup(namespace string, now time.Time) bool {
	n := l.byNamespace[namespace]
	if n == nil {
		l.dropIdleLookupLimiters(now)
		n = rate.NewLimiter(l.namespaceRate, l.namespaceSize)
		l.byNamespace[namespace] = n
	}
	return l.all.TokensAt(now) >= 1 && n.AllowN(now, 1) && l.all.AllowN(now, 1)
}

// dropIdleLookupLimiters forgets the namespaces without lookups lately, if they are many.
func (l *selectorLookupLimiter) dropIdleLookupLimiters(now time.Time) {
	if len(l.byNamespace) < maxIdleLimiters {
		return
	}
	for namespace, n := range l.byNamespace {
		if n.TokensAt(now) >= float64(l.namespaceSize) {
			delete(l.byNamespace, namespace)
		}
	}
}
