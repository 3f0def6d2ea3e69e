// Package verify asks new pods what users will ask them, and judges the answers.
package verify

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Spec says what each new pod is asked and what is good enough. It is kept in annotations, so that whoever finishes a
// rollout judges as whoever began it would have.
type Spec struct {
	// URL is what is asked: a path such as /work?ms=1, on the port of the pod's readiness probe, or a whole URL whose host is
	// replaced by the pod's address and sent as the Host header. Empty: the readiness address alone.
	URL string `json:"url,omitempty"`
	// Requests to each pod, Concurrency of them at a time, each within Timeout; fewer to a pod of which so many have timed out that
	// it cannot pass any more.
	Requests    int             `json:"requests,omitempty"`
	Concurrency int             `json:"concurrency,omitempty"`
	Timeout     metav1.Duration `json:"timeout,omitzero"`
	// Success is the least share of requests of all new pods, and of each, that must be answered with a status below 400.
	Success float64 `json:"success,omitempty"`
	// P50, P95 and P99 are the greatest latencies of all new pods together; 0: any.
	P50 metav1.Duration `json:"p50,omitzero"`
	P95 metav1.Duration `json:"p95,omitzero"`
	P99 metav1.Duration `json:"p99,omitzero"`
	// Slower is how many times the old pods' own p50 and p95, asked in the same way at the same time, the new pods' may be; 0: not
	// compared. Up to 5 ms more than the old pods is never too slow: at such latencies a factor judges the network.
	Slower float64 `json:"slower,omitempty"`
}
