// Package verify sends test requests and probes to new pods, and compares readiness, failures and latencies with thresholds.
package verify

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Spec holds the requests to each new pod and the thresholds of the responses. A Hold keeps it, so that a scaler that finishes
// a rollout uses the thresholds with which another scaler began it.
type Spec struct {
	// URL is a path such as /work?ms=1, on the port of the pod's readiness probe. Or it is a complete URL: the pod's address replaces the
	// host, which is sent as the Host header. Empty: only the readiness address.
	URL string `json:"url,omitempty"`
	// Requests is the number of requests to each pod, Concurrency the number at a time, Timeout the limit of each. A pod gets fewer
	// requests once it cannot pass because of timeouts.
	Requests    int             `json:"requests,omitempty"`
	Concurrency int             `json:"concurrency,omitempty"`
	Timeout     metav1.Duration `json:"timeout,omitzero"`
	// Success is the required share of responses with a status below 400, of all new pods together and of each.
	Success float64 `json:"success,omitempty"`
	// P50, P95 and P99 are the highest permitted latencies of all new pods together; 0: no limit.
	P50 metav1.Duration `json:"p50,omitzero"`
	P95 metav1.Duration `json:"p95,omitzero"`
	P99 metav1.Duration `json:"p99,omitzero"`
	// Slower is the highest permitted ratio of the new pods' p50 and p95 to the old pods', measured in the same way at the same time; 0:
	// not compared. A difference of up to 5 ms always passes: at such latencies a ratio measures the network.
	Slower float64 `json:"slower,omitempty"`
	// Within is the time limit of the whole verification, which fails at its end; 0: DefaultWithin.
	Within metav1.Duration `json:"within,omitzero"`
}
