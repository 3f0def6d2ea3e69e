package inventory

import "testing"

// TestIsRateMetric: a name or a metric in words is a rate by the end of its name, whatever its selector says.
func TestIsRateMetric(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]bool{
		"request_per_second of ingress.networking.k8s.io/front": true,

		"request_per_second": true, "request_per_second of pods": true, "request_per_second{code=500} of pods": true, "http_qps, external": true, "rps": true,
		"checkout_rps of service/checkout": true, "corps of pods": false, "rps_limit of pods": false, "jobs_waiting{unit=x_per_second}, external": false, "cpu of pods": false, "": false,
	} {
		if got := IsRateMetric(words); got != want {
			t.Errorf("%q: %t, want %t", words, got, want)
		}
	}
}
