package config

import "time"

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
	c.complete()
	return c
}

// The values that complete derives.
const (
	// maxTimeout: a page that takes longer is no basis for a decision.
	maxTimeout = 10 * time.Second
	// ageIntervals: two scrapes may fail, and the one between answer late, before a value is withheld.
	ageIntervals = 5
	// minMaxWindow: the longest of the windows that auto chooses from.
	minMaxWindow = time.Minute
	// windowIntervals: with slow scraping a window must still hold a few samples.
	windowIntervals = 5
	// defaultRefresh: a third of the HPA's period of 15 s, so that it always reads something new.
	defaultRefresh = 5 * time.Second
)

// complete fills in what follows from other values.
func (c *Config) complete() {
	if c.Scrape.Timeout == 0 {
		// Scrapes of one target never overlap.
		c.Scrape.Timeout = min(c.Scrape.Interval, maxTimeout)
	}
	if c.MaxAge == 0 {
		c.MaxAge = ageIntervals * c.Scrape.Interval
	}
	if c.MaxWindow == 0 {
		c.MaxWindow = max(minMaxWindow, windowIntervals*c.Scrape.Interval)
	}
	for i := range c.Backends {
		if c.Backends[i].Refresh == 0 {
			c.Backends[i].Refresh = defaultRefresh
		}
	}
	for i := range c.Rules {
		c.Rules[i].complete(c)
	}
}

// complete fills in a rule's defaults.
func (r *Rule) complete(c *Config) {
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
	if r.MaxAge == 0 {
		r.MaxAge = c.MaxAge
	}
}
