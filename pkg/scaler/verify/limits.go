// This file holds the defaults and limits of a Spec, and validates it.

package verify

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

const (
	// DefaultRequests is the smallest number with a meaningful p99 of a single pod: a hundredth is a request.
	DefaultRequests = 100
	// DefaultConcurrency keeps a pod busy without a load test: a pod that just became ready is still warming up.
	DefaultConcurrency = 5
	// DefaultTimeout is how long people wait before they try again.
	DefaultTimeout = 2 * time.Second
	// DefaultSuccess permits a failure in a hundred: a single lost connection must not undo a rollout.
	DefaultSuccess = 0.99
	// DefaultWithin is many times a verification of healthy pods, and as long as pods get to become ready.
	DefaultWithin = 5 * time.Minute
)

// Limits of a Spec: a verification must not overload the pods.
const (
	maxRequests    = 10_000
	maxConcurrency = 100
	minTimeout     = 10 * time.Millisecond
	maxTimeout     = time.Minute
	maxSlower      = 1000
	maxURLBytes    = 2048
	minWithin      = time.Second
	maxWithin      = time.Hour
	// maxReadinessTimeout bounds the timeout of a pod's own readiness probe, which its owner chooses.
	maxReadinessTimeout = 30 * time.Second
	// maxTotalRequests bounds the requests of a verification to all pods together. Of many pods, each gets fewer.
	maxTotalRequests = 100_000
	// maxPodBytes bounds the responses of a pod together; then its other requests fail.
	maxPodBytes = 256 << 20
)

// WithDefaults returns the spec with defaults for missing fields.
func (s Spec) WithDefaults() Spec {
	s.Requests = cmp.Or(s.Requests, DefaultRequests)
	s.Concurrency = cmp.Or(s.Concurrency, min(DefaultConcurrency, max(s.Requests, 1)))
	s.Timeout.Duration = cmp.Or(s.Timeout.Duration, DefaultTimeout)
	s.Success = cmp.Or(s.Success, DefaultSuccess)
	return s
}

// Validate returns all errors of a completed spec, with the keys of the configuration file.
func (s Spec) Validate() error {
	var all []error
	for _, f := range s.findSpecErrors() {
		all = append(all, fmt.Errorf("%s: %s", f.key, f.text))
	}
	return errors.Join(all...)
}

// fieldError is an error in the value of a key.
type fieldError struct{ key, text string }

// findSpecErrors returns the errors of a completed spec, at most one for each key.
func (s Spec) findSpecErrors() []fieldError {
	var all []fieldError
	check := func(valid bool, key, format string, args ...any) {
		if !valid {
			all = append(all, fieldError{key, fmt.Sprintf(format, args...)})
		}
	}
	text := describeSpecURLError(s.URL)
	check(text == "", "url", "%s", text)
	check(s.Requests >= 1 && s.Requests <= maxRequests, "requests", "must be from 1 to %d, not %d", maxRequests, s.Requests)
	check(s.Concurrency >= 1 && s.Concurrency <= maxConcurrency, "concurrency", "must be from 1 to %d, not %d", maxConcurrency, s.Concurrency)
	check(s.Timeout.Duration >= minTimeout && s.Timeout.Duration <= maxTimeout, "timeout",
		"must be from %s to %s, not %s", strict.FormatDuration(minTimeout), strict.FormatDuration(maxTimeout), s.Timeout.Duration)
	check(s.Within.Duration == 0 || s.Within.Duration >= minWithin && s.Within.Duration <= maxWithin, "within",
		"must be from %s to %s, not %s", strict.FormatDuration(minWithin), strict.FormatDuration(maxWithin), s.Within.Duration)
	check(s.Success > 0 && s.Success <= 1, "success", "must be above 0 and at most 1, a share, not %v", s.Success)
	check(s.Slower == 0 || s.Slower >= 1 && s.Slower <= maxSlower, "slower", "must be 0, or from 1 to %d times, not %v", maxSlower, s.Slower)
	check(s.Slower == 0 || s.URL != "", "slower", "needs url: it limits the latency of these requests")
	return append(all, s.findLatencySpecErrors()...)
}

// findLatencySpecErrors returns the errors of the latency thresholds.
func (s Spec) findLatencySpecErrors() []fieldError {
	var all []fieldError
	var before time.Duration
	var above string
	for _, l := range s.specLatencyLimits() {
		switch d := l.maximum.Duration; {
		case d < 0:
			all = append(all, fieldError{l.name, fmt.Sprintf("must not be negative, but is %s", d)})
		case d > 0 && s.URL == "":
			all = append(all, fieldError{l.name, "needs url: it limits the latency of these requests"})
		case d > 0 && d < before:
			all = append(all, fieldError{l.name, fmt.Sprintf("%s is below %s, %s", d, above, before)})
		case d > 0:
			before, above = d, l.name
		}
	}
	return all
}

// specTimeLimit returns the time limit of the whole verification.
func (s Spec) specTimeLimit() time.Duration { return cmp.Or(s.Within.Duration, DefaultWithin) }

// latencyLimit is a threshold for a percentile of the latency.
type latencyLimit struct {
	name       string
	maximum    metav1.Duration
	percentile func(*Summary) time.Duration
}

func (s Spec) specLatencyLimits() []latencyLimit {
	return []latencyLimit{
		{"p50", s.P50, func(s *Summary) time.Duration { return s.P50.Duration }},
		{"p95", s.P95, func(s *Summary) time.Duration { return s.P95.Duration }},
		{"p99", s.P99, func(s *Summary) time.Duration { return s.P99.Duration }},
	}
}

// describeSpecURLError returns the error of a URL as text, or an empty text. It never quotes a URL with a password.
func describeSpecURLError(text string) string {
	if text == "" {
		return ""
	}
	if len(text) > maxURLBytes {
		return fmt.Sprintf("has %d bytes; the maximum is %d", len(text), maxURLBytes)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "is not a valid URL"
	case u.User != nil:
		return "must not have a user or a password: it is stored in annotations and shown in reports"
	case u.Fragment != "":
		return "must not have a fragment, which is never sent"
	case u.IsAbs() && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "":
		return ""
	case !u.IsAbs() && u.Host == "" && strings.HasPrefix(text, "/"):
		return ""
	}
	return fmt.Sprintf("must be a path that begins with /, or an http or https URL, not %q", strict.Shorten(text))
}
