package e2e

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/load"
)

// truth is the number of requests sent to each pod, sampled from a running load generator. The tests check the adapter's values
// against it.
type truth struct {
	mu     sync.Mutex // guards byHost
	byHost map[string][]sent
}

// sent is the number of requests sent to a pod up to a time.
type sent struct {
	at    time.Time
	total int
}

// truthPeriod is the time between two samples of the generator, and so the resolution of the truth.
const truthPeriod = 50 * time.Millisecond

// record samples g until ctx ends.
func (tr *truth) record(ctx context.Context, g *load.Generator) {
	tick := time.NewTicker(truthPeriod)
	defer tick.Stop()
	for {
		now := time.Now()
		for raw, count := range g.Result().URLs {
			if u, err := url.Parse(raw); err == nil {
				tr.add(u.Hostname(), sent{now, count.Sent})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (tr *truth) add(host string, s sent) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.byHost == nil {
		tr.byHost = map[string][]sent{}
	}
	tr.byHost[host] = append(tr.byHost[host], s)
}

// at returns the number of requests sent to host by t, from the last sample that is not later.
func (tr *truth) at(host string, t time.Time) float64 {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	total := 0
	for _, s := range tr.byHost[host] {
		if s.at.After(t) {
			break
		}
		total = s.total
	}
	return float64(total)
}

// rate returns the true mean rate of host over [from, to], in requests per second.
func (tr *truth) rate(host string, from, to time.Time) float64 {
	return (tr.at(host, to) - tr.at(host, from)) / to.Sub(from).Seconds()
}

// scrapeInterval is the adapter's default. A window ends at samples, so each end of the measured span may lie up to an interval (and
// the duration of a scrape) inside the window.
const scrapeInterval = 2 * time.Second

// allowed returns the range of right values at now for a rate over window: the true mean rates over all spans that scrapes within the
// window can have measured, widened by tolerance and by the two requests that a scrape may see or miss at its edges.
func (tr *truth) allowed(host string, now time.Time, window time.Duration, tolerance float64) (low, high float64) {
	low, high = math.Inf(1), 0
	const slack = scrapeInterval + 500*time.Millisecond
	for begin := -500 * time.Millisecond; begin <= slack; begin += 250 * time.Millisecond {
		for end := time.Duration(0); end <= slack; end += 250 * time.Millisecond {
			from, to := now.Add(begin-window), now.Add(-end)
			if to.Sub(from) < window/4 {
				continue
			}
			r := tr.rate(host, from, to)
			low, high = min(low, r), max(high, r)
		}
	}
	edge := 2 / window.Seconds()
	return low*(1-tolerance) - edge, high*(1+tolerance) + edge
}

// check returns an error if value is wrong.
func (tr *truth) check(host string, now time.Time, window time.Duration, value, tolerance float64) error {
	low, high := tr.allowed(host, now, window, tolerance)
	if value < low || value > high {
		return fmt.Errorf("%s: %.2f requests/s over %v, but %.2f to %.2f were sent", host, value, window, low, high)
	}
	return nil
}
