// The rate of rejected and unverified requests of an address.

package apiserver

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
)

// strangerBudget bounds the rate of requests that a stranger may have sent, by address: requests that are rejected, or need their credentials to be
// verified. A rejection costs a tenth of a millisecond, most of it TLS: ten thousand a second would take a processor.
//
// A connection with such a request is not read while its address is over the budget, so TCP slows its client down. Other connections of
// the address, such as the kubelet's probes, are read as ever: pods and kubelet share an address behind some network plugins.
type strangerBudget struct {
	perSecond, burst int

	mu        sync.Mutex            // makes a lookup and its addition one
	addresses *cache.LRUExpireCache // *rate.Limiter by address
}

const (
	// maxStrangerAddresses bounds the addresses with a budget; beyond it, the least recently charged one begins anew.
	maxStrangerAddresses = 4096
	// strangerBudgetTime is longer than any limiter needs to be full again.
	strangerBudgetTime = time.Minute
	// maxStrangerDelay bounds the debt of an address, and with it the time until a connection is read again.
	maxStrangerDelay = 2 * time.Second
)

func newStrangerBudget(perSecond, burst int) *strangerBudget {
	return &strangerBudget{perSecond: perSecond, burst: burst, addresses: cache.NewLRUExpireCache(maxStrangerAddresses)}
}

func (b *strangerBudget) findStrangerLimiter(address string) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.addresses.Get(address); ok {
		if limiter, ok := known.(*rate.Limiter); ok {
			return limiter
		}
	}
	limiter := rate.NewLimiter(rate.Limit(b.perSecond), b.burst)
	b.addresses.Add(address, limiter, strangerBudgetTime)
	return limiter
}

// chargeStranger takes one request from the budget of an address.
func (b *strangerBudget) chargeStranger(address string, now time.Time) {
	if limiter := b.findStrangerLimiter(address); b.measureLimiterDelay(limiter, now) < maxStrangerDelay {
		limiter.ReserveN(now, 1)
	}
}

// measureStrangerDelay returns the time until an address is within its budget.
func (b *strangerBudget) measureStrangerDelay(address string, now time.Time) time.Duration {
	return b.measureLimiterDelay(b.findStrangerLimiter(address), now)
}

func (b *strangerBudget) measureLimiterDelay(limiter *rate.Limiter, now time.Time) time.Duration {
	debt := -limiter.TokensAt(now)
	return max(0, time.Duration(debt/float64(b.perSecond)*float64(time.Second)))
}

// awaitStrangerBudget waits while the connection's client is over its budget, and the connection is open.
func (c *limitedConn) awaitStrangerBudget() {
	delay := c.table.strangers.measureStrangerDelay(c.address, time.Now())
	if delay == 0 {
		return
	}
	end := time.NewTimer(delay)
	defer end.Stop()
	select {
	case <-end.C:
	case <-c.closing:
	}
}

type connectionKey struct{}

// withRequestConnection is an http.Server's ConnContext: requests know the connection that they came over.
func withRequestConnection(ctx context.Context, c net.Conn) context.Context {
	if limited, ok := c.(*fieldlimit.Conn); ok {
		c = limited.NetConn()
	}
	if secured, ok := c.(*tls.Conn); ok {
		if gated, ok := secured.NetConn().(*handshakeConn); ok {
			return context.WithValue(ctx, connectionKey{}, gated.limitedConn)
		}
	}
	return ctx
}

// chargeClientConnection takes a request from the budget of its connection's address. Connections of the front proxy have none.
func chargeClientConnection(ctx context.Context) {
	if c, ok := ctx.Value(connectionKey{}).(*limitedConn); ok {
		c.table.strangers.chargeStranger(c.address, time.Now())
		c.charged.Store(true)
	}
}
