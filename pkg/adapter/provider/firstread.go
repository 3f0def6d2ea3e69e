// The first read of a metric that nobody asked for so far: it waits for the first scrapes.

package provider

import (
	"context"
	"errors"
	"slices"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// maxWaitingReads bounds the reads that wait. Any further read has its response at once.
	maxWaitingReads = 32
	// maxFirstReadWait bounds the wait of a read where scrapes are far apart: kubectl and proxies give up later.
	maxFirstReadWait = 10 * time.Second
	// firstReadPolls is the number of attempts in a scrape interval.
	firstReadPolls = 4
)

// firstReadError marks the error of a request that is the first with its demand: a later one may have a value.
type firstReadError struct{ error }

// Unwrap returns the error of the request.
func (e firstReadError) Unwrap() error { return e.error }

// waitForFirstValue returns the result of readOnce. If the read is the first of its demand and a person's, it tries again until
// there is a value, or two scrapes are over, or ctx ends. An autoscaler's read never waits: its workers are few.
func waitForFirstValue[T any](ctx context.Context, p *Provider, s requestSubject, readOnce func() (T, error)) (T, error) {
	read := func() (v T, err error) {
		defer p.panics.Catch(ctx, &err, s.listRequestLogKeys)
		return readOnce()
	}
	v, err := read()
	if !errors.As(err, new(firstReadError)) || !isRequestOfPerson(ctx) {
		return v, err
	}
	select {
	case p.waitingReads <- struct{}{}:
		defer func() { <-p.waitingReads }()
	default:
		return v, err
	}
	interval := p.getDemandScrapeInterval()
	end := time.NewTimer(min(2*interval+interval/2, maxFirstReadWait))
	defer end.Stop()
	tick := time.NewTicker(interval / firstReadPolls)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return v, err
		case <-end.C:
			return read()
		case <-tick.C:
			if v, err = read(); err == nil || !mayNextScrapeAnswer(err) {
				return v, err
			}
		}
	}
}

// isRequestOfPerson reports whether a request comes from a known user other than the autoscaler's controller.
func isRequestOfPerson(ctx context.Context) bool {
	u, ok := apirequest.UserFrom(ctx)
	if !ok {
		return false
	}
	switch u.GetName() {
	case "", user.Anonymous, user.KubeControllerManager, "system:serviceaccount:kube-system:horizontal-pod-autoscaler":
		return false
	}
	return true
}

// mayNextScrapeAnswer reports whether the next scrapes may give the value that an error is about.
func mayNextScrapeAnswer(err error) bool {
	if apistatus.KindOf(err) != metric.KindUnavailable {
		return false
	}
	var missing *missingError
	return !errors.As(err, &missing) || slices.ContainsFunc(missing.omissions, func(o metric.Omission) bool {
		return o.Reason == metric.ReasonWarmingUp || o.Reason == metric.ReasonNotScraped
	})
}
