// The bounds of requests that cost much: at a time, and over time, in all and for each namespace.

package explain

import (
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// maxRequestRates bounds the namespaces in memory; those that have their whole burst again are forgotten first.
	maxRequestRates = 1024
	// requestRetrySeconds is the pause that a rejected client is told.
	requestRetrySeconds = 2
)

// placeLimits bound requests of a kind.
type placeLimits struct {
	noun           string // reviews
	all, namespace int    // at a time
	// A namespace may begin burst requests at once, and then another each pause.
	burst int
	pause time.Duration
}

// requestPlaces are the places for requests of a kind. It is safe for concurrent use.
type requestPlaces struct {
	limits placeLimits

	mu      sync.Mutex // guards the rest
	running map[string]int
	total   int
	rates   map[string]*rate.Limiter
}

func newRequestPlaces(limits placeLimits) *requestPlaces {
	return &requestPlaces{limits: limits, running: map[string]int{}, rates: map[string]*rate.Limiter{}}
}

// takeRequestPlace takes a place for a request of the namespace until free is called. The error is a status with code 429.
func (p *requestPlaces) takeRequestPlace(namespace string) (free func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.total >= p.limits.all:
		return nil, newRequestRejection("too many " + p.limits.noun + " of all namespaces at a time; try again")
	case p.running[namespace] >= p.limits.namespace:
		return nil, newRequestRejection("too many " + p.limits.noun + " of namespace " + namespace + " at a time; try again")
	}
	p.total++
	p.running[namespace]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.total--
		if p.running[namespace]--; p.running[namespace] == 0 {
			delete(p.running, namespace)
		}
	}, nil
}

// takeRequestTurn counts a request of the namespace. The error is a status with code 429.
func (p *requestPlaces) takeRequestTurn(namespace string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ensureRequestRate(namespace, now).AllowN(now, 1) {
		return newRequestRejection("too many " + p.limits.noun + " of namespace " + namespace + " within seconds; try again")
	}
	return nil
}

func newRequestRejection(text string) error {
	return apierrors.NewTooManyRequests(text, requestRetrySeconds)
}

// ensureRequestRate returns the rate of a namespace. The caller holds mu.
func (p *requestPlaces) ensureRequestRate(namespace string, now time.Time) *rate.Limiter {
	if own := p.rates[namespace]; own != nil {
		return own
	}
	burst := p.limits.burst
	if len(p.rates) >= maxRequestRates {
		maps.DeleteFunc(p.rates, func(_ string, r *rate.Limiter) bool { return r.TokensAt(now) >= float64(burst) })
	}
	own := rate.NewLimiter(rate.Every(p.limits.pause), burst)
	p.rates[namespace] = own
	return own
}
