package config

import (
	"cmp"
	"slices"
	"time"
)

// Default is the configuration without a file: every default, with its reason. Those that follow from the
// scrape interval are computed by complete, so that a file that changes the interval changes them too.
func Default() Config {
	c := Config{
		Scrape: Scrape{
			// A step shows within two scrapes; a filtered page costs both sides well under a millisecond.
			Interval: 2 * time.Second,
			// Far above any honest /metrics page (a large one is 1 MiB), far below what hurts.
			MaxPageBytes: 16 << 20,
			// Samples of the demanded families only: 100 routes × 12 buckets × 8 codes fit.
			MaxSamples: 10_000,
			// Go services use under ten; three are added here.
			MaxLabels: 64,
			// About 1 KiB a series with a minute of samples every two seconds: 200 MiB at the very most.
			MaxSeries: 200_000,
			// Enough for 1,000 targets that each take 50 ms at an interval of 2 s, twice over.
			MaxConcurrent: 64,
		},
	}
	c.setConfigDefaults()
	return c
}

// The values that complete derives.
const (
	// maxDefaultTimeout: a page that takes longer is no basis for a decision.
	maxDefaultTimeout = 10 * time.Second
	// maxAgeIntervals: two scrapes may fail, and the one between answer late, before a value is withheld.
	maxAgeIntervals = 5
	// minDefaultMaxWindow: the longest of the windows that auto chooses from.
	minDefaultMaxWindow = time.Minute
	// maxWindowIntervals: with slow scraping a window must still hold a few samples.
	maxWindowIntervals = 5
	// defaultRefreshInterval: a third of the HPA's period of 15 s, so that it always reads something new.
	defaultRefreshInterval = 5 * time.Second
	// defaultQueryTimeout: longer than any query that is fit to be asked every few seconds.
	defaultQueryTimeout = 5 * time.Second
	// defaultRemoteMaxAge: Prometheus scrapes every 15 s to 60 s; at the slowest, one scrape may fail.
	defaultRemoteMaxAge = 2 * time.Minute
	// defaultMaxResponseBytes: a result is about 150 bytes, so that 200,000 pods fit.
	defaultMaxResponseBytes = 32 << 20
)

// setConfigDefaults fills in what follows from other values.
func (c *Config) setConfigDefaults() {
	if c.Scrape.Timeout == 0 {
		// Scrapes of one target never overlap.
		c.Scrape.Timeout = min(c.Scrape.Interval, maxDefaultTimeout)
	}
	if c.MaxAge == 0 {
		c.MaxAge = maxAgeIntervals * c.Scrape.Interval
	}
	if c.MaxWindow == 0 {
		c.MaxWindow = max(minDefaultMaxWindow, maxWindowIntervals*c.Scrape.Interval)
	}
	for i := range c.Backends {
		c.Backends[i].SetDefaults()
	}
	for i := range c.Rules {
		c.Rules[i].setRuleDefaults(c)
	}
}

// SetDefaults fills in a backend's defaults.
func (b *Backend) SetDefaults() {
	b.Refresh = cmp.Or(b.Refresh, defaultRefreshInterval)
	b.Timeout = cmp.Or(b.Timeout, defaultQueryTimeout)
	b.MaxAge = cmp.Or(b.MaxAge, defaultRemoteMaxAge)
	b.Labels = b.Labels.withDefaults(DefaultLabels())
	b.Method = cmp.Or(b.Method, MethodPost)
	b.MaxResponseBytes = cmp.Or(b.MaxResponseBytes, defaultMaxResponseBytes)
}

// findBackend is the entry of that name, or nil.
func (c *Config) findBackend(name string) *Backend {
	i := slices.IndexFunc(c.Backends, func(b Backend) bool { return b.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Backends[i]
}

// setRuleDefaults fills in a rule's defaults.
func (r *Rule) setRuleDefaults(c *Config) {
	if r.Resource == "" && !r.External {
		// What an HPA's Pods metrics ask for, and what other objects are aggregated from.
		r.Resource = "pods"
	}
	if r.Backend == "" {
		r.Backend = ScrapeBackend
	}
	if !r.HasWindow && r.Backend == ScrapeBackend {
		// A fixed window is too long for a busy service or too short for a quiet one.
		r.Window = Window{Auto: true}
	}
	if r.Aggregate == "" {
		// Rates and queue lengths add up.
		r.Aggregate = AggregateSum
	}
	remote := c.findBackend(r.Backend)
	switch {
	case r.MaxAge != 0:
	case remote != nil:
		r.MaxAge = remote.MaxAge
	default:
		r.MaxAge = c.MaxAge
	}
	if remote != nil {
		r.Labels = r.Labels.withDefaults(remote.Labels)
	}
	r.Labels = r.Labels.withDefaults(DefaultLabels())
}
