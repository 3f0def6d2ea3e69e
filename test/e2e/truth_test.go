package e2e

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/load"
)

// truth is the number of requests sent to each pod and the number of its successful responses, sampled from a running load generator.
// A pod counts at most the requests that were sent, and at least those that it answered. The tests check the adapter's values against
// both.
type truth struct {
	mu     sync.Mutex // guards the fields below
	byHost map[string][]sent
	killed map[string][]time.Time
}

// sent is the number of requests sent to a pod up to a time, and of those with a complete response by then.
type sent struct {
	at       time.Time
	total    int
	answered int
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
				tr.add(u.Hostname(), sent{now, count.Sent, count.OK})
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

// lose says that host's process was killed at t: what it counted since its last scrape is lost, at most over scrapeSlack.
func (tr *truth) lose(host string, t time.Time) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.killed == nil {
		tr.killed = map[string][]time.Time{}
	}
	tr.killed[host] = append(tr.killed[host], t)
}

// lost returns the number of answered requests within [from, to] that a killed process of host may have counted after its last scrape.
func (tr *truth) lost(host string, from, to time.Time) (count float64) {
	tr.mu.Lock()
	kills := tr.killed[host]
	tr.mu.Unlock()
	for _, killed := range kills {
		begin, end := killed.Add(-scrapeSlack), killed
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if begin.Before(end) {
			_, before := tr.at(host, begin)
			_, after := tr.at(host, end)
			count += after - before
		}
	}
	return count
}

// at returns the numbers of requests sent to host and answered by t, from the last sample that is not later.
func (tr *truth) at(host string, t time.Time) (total, answered float64) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	samples := tr.byHost[host]
	later := sort.Search(len(samples), func(i int) bool { return samples[i].at.After(t) })
	if later == 0 {
		return 0, 0
	}
	return float64(samples[later-1].total), float64(samples[later-1].answered)
}

// rates returns the mean rates of host over [from, to], in requests per second: of the requests answered and of those sent, the
// lower first.
func (tr *truth) rates(host string, from, to time.Time) (low, high float64) {
	sentFrom, answeredFrom := tr.at(host, from)
	sentTo, answeredTo := tr.at(host, to)
	seconds := to.Sub(from).Seconds()
	sent, answered := (sentTo-sentFrom)/seconds, (answeredTo-answeredFrom-tr.lost(host, from, to))/seconds
	return min(sent, answered), max(sent, answered)
}

// scrapeInterval is the adapter's default. A window ends at samples, so each end of the measured span may lie up to an interval (and
// the duration of a scrape) inside the window.
const scrapeInterval = 2 * time.Second

// scrapeSlack is the distance of the newest sample from a read, at most, where no scrape fails.
const scrapeSlack = scrapeInterval + 500*time.Millisecond

// served is a value of a pod as the adapter serves it.
type served struct {
	value  float64
	window time.Duration
	stamp  time.Time // of the newest sample; zero: as new as a scrape can be
}

// judgedAt returns the time at which v is judged if it is read at now: a value promises nothing about the time after its newest
// sample, which is older than usual where a scrape failed.
func (v served) judgedAt(now time.Time) time.Time {
	if latest := v.stamp.Add(scrapeSlack); !v.stamp.IsZero() && latest.Before(now) {
		return latest
	}
	return now
}

// checkList returns an error if values, by host, are wrong at now. A pod's value is its share of the total over the window, so
// that it may contain the shares of pods that left. The window of a list ends at its newest sample: a pod whose own sample is older
// goes on until then. complete says that all pods that serve have a value: their sum is then the total of everything that was sent.
func (tr *truth) checkList(now time.Time, values map[string]served, complete bool, tolerance float64) error {
	var total served
	own := 0.0
	shortest, listedAt := time.Duration(math.MaxInt64), now
	var newest time.Time
	for host, v := range values {
		at := v.judgedAt(now)
		if at.Before(listedAt) {
			listedAt = at
		}
		if at.After(newest) {
			newest = at
		}
		total.value += v.value
		total.window, shortest = max(total.window, v.window), min(shortest, v.window)
		low, _ := tr.allowed([]string{host}, at, v.window, 0)
		own += low
	}
	if complete {
		low, high := tr.allowed(tr.hosts(nil), listedAt, total.window, tolerance)
		if shortest < total.window {
			l, h := tr.allowed(tr.hosts(nil), listedAt, shortest, tolerance)
			low, high = min(low, l), max(high, h)
		}
		if total.value < low || total.value > high {
			return fmt.Errorf("the sum is %.2f requests/s over %v, but %.2f to %.2f were sent", total.value, total.window, low, high)
		}
	}
	_, gone := tr.allowed(tr.hosts(values), listedAt, total.window, 0)
	for host, v := range values {
		low, high := tr.allowed([]string{host}, v.judgedAt(now), v.window, tolerance)
		lowNewest, highNewest := tr.allowed([]string{host}, newest, v.window, tolerance)
		low, high = min(low, lowNewest), max(high, highNewest)*(1+gone/max(own, 1))
		if v.value < low || v.value > high {
			return fmt.Errorf("%s: %.2f requests/s over %v, but %.2f to %.2f were sent; %s", host, v.value, v.window, low, high, tr.describeValues(now, values))
		}
	}
	return nil
}

// describeValues returns each value with the age of its newest sample and the host's true rates over its window.
func (tr *truth) describeValues(now time.Time, values map[string]served) string {
	var text strings.Builder
	for _, host := range slices.Sorted(maps.Keys(values)) {
		v := values[host]
		at := v.judgedAt(now)
		answered, sent := tr.rates(host, at.Add(-v.window), at)
		fmt.Fprintf(&text, "%s %.2f over %v, %v old, true %.2f to %.2f; ", host, v.value, v.window, now.Sub(v.stamp).Round(time.Millisecond), answered, sent)
	}
	return text.String()
}

// hosts returns all hosts that requests were sent to, without those in values.
func (tr *truth) hosts(values map[string]served) (hosts []string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for host := range tr.byHost {
		if _, listed := values[host]; !listed {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// allowed returns the range of right values at now for the rate of hosts over window: the true mean rates over all spans that
// scrapes can have measured, widened by tolerance and by the two requests of each host that a scrape may see or miss at its edges.
// A span is as long as the window, or shorter by up to the distance of scrapes at both ends.
func (tr *truth) allowed(hosts []string, now time.Time, window time.Duration, tolerance float64) (low, high float64) {
	low, high = math.Inf(1), 0
	for begin := -scrapeSlack; begin <= scrapeSlack; begin += 250 * time.Millisecond {
		for end := time.Duration(0); end <= scrapeSlack; end += 250 * time.Millisecond {
			from, to := now.Add(begin-window), now.Add(-end)
			if to.Sub(from) < window/4 || to.Sub(from) > window+500*time.Millisecond {
				continue
			}
			least, most := 0.0, 0.0
			for _, host := range hosts {
				l, h := tr.rates(host, from, to)
				least, most = least+l, most+h
			}
			low, high = min(low, least), max(high, most)
		}
	}
	edge := 2 * float64(len(hosts)) / window.Seconds()
	return low*(1-tolerance) - edge, high*(1+tolerance) + edge
}
