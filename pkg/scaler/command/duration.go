// Durations of flags.

package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/duration"
)

// durationValue is the value of a flag: 90s, 1h30m or 1.5h as in Go, and 1d, 2w or 1d12h as in Prometheus.
type durationValue time.Duration

var _ pflag.Value = (*durationValue)(nil)

// addDurationFlag adds a flag for durations that may have days and weeks.
func addDurationFlag(flags *pflag.FlagSet, to *time.Duration, name string, value time.Duration, usage string) {
	*to = value
	flags.Var((*durationValue)(to), name, usage)
}

// Set implements pflag.Value.
func (d *durationValue) Set(text string) error {
	parsed, err := ParseDuration(text)
	*d = durationValue(parsed)
	return err
}

// ParseDuration parses a duration such as 90s, 1h30m, 1d or 2w.
func ParseDuration(text string) (time.Duration, error) {
	if parsed, err := time.ParseDuration(text); err == nil {
		return parsed, nil
	}
	parsed, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 90s, 1h30m, 1d or 2w", text)
	}
	return time.Duration(parsed), nil
}

// endOfHoldSpan returns the end of a span that begins now, in whole seconds as a Hold has it: never earlier. A shorter span than a second is a typing
// error: a hold or a pause of it would end before it began.
func endOfHoldSpan(now time.Time, span time.Duration) (time.Time, error) {
	if span < time.Second {
		return time.Time{}, UsageErrorf("--for must be 0, or at least 1s, not %s", span)
	}
	return now.Add(span).Add(time.Second - 1).Truncate(time.Second), nil // the longest span and a second are no duration
}

// String implements pflag.Value.
func (d *durationValue) String() string {
	if *d == 0 {
		return "0"
	}
	text := time.Duration(*d).String()
	for _, zero := range []string{"m0s", "h0m"} { // 5m0s is 5m
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
}

// Type implements pflag.Value.
func (d *durationValue) Type() string { return "duration" }

// describeTimeSpan returns a time span for people: 3d4h, 12m.
func describeTimeSpan(d time.Duration) string { return duration.HumanDuration(d) }
