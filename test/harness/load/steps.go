package load

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Step is a rate that holds for a time.
type Step struct {
	// Rate is in requests per second.
	Rate float64
	// For is the duration of the rate; 0, in the last step only: no end.
	For time.Duration
}

// ParseSteps reads "RATE[:DURATION],…", e.g. "50", or "40:30s,400:60s,40:30s". Only the last step may lack a duration.
func ParseSteps(text string) ([]Step, error) {
	parts := strings.Split(text, ",")
	steps := make([]Step, len(parts))
	for i, part := range parts {
		rate, span, timed := strings.Cut(part, ":")
		r, err := strconv.ParseFloat(rate, 64)
		if err != nil || math.IsNaN(r) || math.IsInf(r, 0) || r < 0 {
			return nil, fmt.Errorf("step %q: %q is not a rate", part, rate)
		}
		steps[i].Rate = r
		if !timed {
			if i != len(parts)-1 {
				return nil, fmt.Errorf("step %q: only the last may lack a duration", part)
			}
			continue
		}
		if steps[i].For, err = time.ParseDuration(span); err != nil || steps[i].For <= 0 {
			return nil, fmt.Errorf("step %q: %q is not a duration above 0", part, span)
		}
	}
	return steps, nil
}

// StepRate returns the rate of the steps that begin at start: 0 before it, and after the last step if that step ends.
func StepRate(start time.Time, steps []Step) func(time.Time) float64 {
	return func(t time.Time) float64 {
		since := t.Sub(start)
		if since < 0 {
			return 0
		}
		for _, s := range steps {
			if since < s.For || s.For == 0 {
				return s.Rate
			}
			since -= s.For
		}
		return 0
	}
}

// Length returns the total time of the steps; ok is false if they never end.
func Length(steps []Step) (d time.Duration, ok bool) {
	for _, s := range steps {
		if s.For == 0 {
			return 0, false
		}
		d += s.For
	}
	return d, true
}
