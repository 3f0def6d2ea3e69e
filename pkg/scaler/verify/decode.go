// This file decodes verifications; limits.go holds the defaults and limits.

package verify

import (
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Decode decodes a verification, completes it with defaults, and adds every error in it to the faults of d. With a fault, the result
// serves only to find further faults.
func Decode(d *strict.Decoder, path string, n *yaml.Node) Spec {
	var s Spec
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"url":         d.Text(&s.URL),
		"requests":    d.Integer(&s.Requests, 1, maxRequests),
		"concurrency": d.Integer(&s.Concurrency, 1, maxConcurrency),
		"timeout":     d.Duration(&s.Timeout.Duration, minTimeout, maxTimeout),
		"success":     decodeTestRequestShare(d, &s.Success),
		"p50":         d.Duration(&s.P50.Duration, time.Millisecond, maxTimeout),
		"p95":         d.Duration(&s.P95.Duration, time.Millisecond, maxTimeout),
		"p99":         d.Duration(&s.P99.Duration, time.Millisecond, maxTimeout),
		"slower":      d.Number(&s.Slower),
		"within":      d.Duration(&s.Within.Duration, minWithin, maxWithin),
	})
	s = s.WithDefaults()
	if d.HasFault(path) {
		return s
	}
	for _, f := range s.findSpecErrors() {
		d.AddFault(strict.JoinPath(path, f.key), "%s", f.text)
	}
	return s
}

// decodeTestRequestShare decodes a share, and rejects 0, which would mean the default.
func decodeTestRequestShare(d *strict.Decoder, to *float64) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		if d.Number(to)(path, n); *to == 0 {
			d.AddFault(path, "must be above 0 and at most 1, a share, not 0")
		}
	}
}
