package config

import (
	"cmp"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
)

// Default returns the configuration without a file: every default, with its reason. setConfigDefaults derives further defaults
// from the scrape interval. A file with another interval changes them too.
func Default() Config {
	c := Config{
		Scrape: Scrape{
			// A step shows within two scrapes; a filtered page costs both sides well under a millisecond.
			Interval: 2 * time.Second,
			// Far above a large /metrics page (1 MiB), far below a harmful amount of memory.
			MaxPageBytes: 16 << 20,
			// Counts samples of demanded families only: 100 routes × 12 buckets × 8 codes fit.
			MaxSamples: 10_000,
			// Go services use under ten; the adapter adds three.
			MaxLabels: 64,
			// Labels of real series have some 200 bytes; a value of 2 KiB is a text, not a label.
			MaxLabelBytes: 2 << 10,
			// Some 1 KiB a series with a minute of samples every 2 s.
			MaxSeries: 200_000,
			// The store's part of half of the container's memory.
			MaxStoreBytes: memorybounds.Store,
			// Twice the need of 1,000 targets of 50 ms each at an interval of 2 s.
			MaxConcurrent: 64,
		},
	}
	c.setConfigDefaults()
	return c
}

// Defaults of setConfigDefaults and SetDefaults.
const (
	// maxDefaultTimeout: a slower page is too old for a decision.
	maxDefaultTimeout = 10 * time.Second
	// maxAgeIntervals: two scrapes may fail, and a scrape between them respond late, before a value is too old.
	maxAgeIntervals = 5
	// minDefaultMaxWindow is the longest window of auto.
	minDefaultMaxWindow = time.Minute
	// maxWindowIntervals: with a long scrape interval a window must still hold a few samples.
	maxWindowIntervals = 5
	// defaultRefreshInterval is a third of the HPA's period of 15 s: every HPA read gets a new value.
	defaultRefreshInterval = 5 * time.Second
	// defaultQueryTimeout: a slower query must not run every few seconds.
	defaultQueryTimeout = 5 * time.Second
	// defaultRemoteMaxAge: Prometheus scrapes every 15 s to 60 s. At 60 s, a single scrape may fail.
	defaultRemoteMaxAge = 2 * time.Minute
)

// setConfigDefaults fills in the defaults derived from other values.
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
	b.MaxResponseBytes = cmp.Or(b.MaxResponseBytes, memorybounds.ServerResponse)
}

// findNamedBackend returns the backend with the name, or nil.
func (c *Config) findNamedBackend(name string) *Backend {
	i := slices.IndexFunc(c.Backends, func(b Backend) bool { return b.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Backends[i]
}

// setRuleDefaults fills in the defaults of a rule.
func (r *Rule) setRuleDefaults(c *Config) {
	if r.Resource == "" && !r.External {
		// The Pods metrics of an HPA read pods, and other objects aggregate the values of pods.
		r.Resource = "pods"
	}
	if r.Backend == "" {
		r.Backend = ScrapeBackend
	}
	if r.Namespaced == nil && r.HasFrom() {
		r.Namespaced = new(false)
	}
	if !r.HasWindow && r.Backend == ScrapeBackend {
		// A fixed window is too long for a busy service or too short for a quiet service.
		r.Window = Window{Auto: true}
	}
	if r.Aggregate == "" {
		// Rates and queue lengths add up.
		r.Aggregate = AggregateSum
	}
	remote := c.findNamedBackend(r.Backend)
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
