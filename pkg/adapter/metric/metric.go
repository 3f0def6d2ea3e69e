// Package metric is the vocabulary that every other package shares: targets, values with their own time and
// window, the reasons why an object has no value, and the kinds of error. It uses the standard library only.
package metric

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Target is one pod's metrics endpoint, and what is wanted from it.
type Target struct {
	// Namespace, Pod and Node become the labels of the same names on every series of the target. What the
	// page itself says under those names is kept as exported_namespace, exported_pod and exported_node.
	Namespace, Pod, Node string
	// UID tells a pod from a later one of the same name.
	UID string
	// URL is the endpoint: scheme, pod address, port and path.
	URL string
	// Families are the demanded metric families, sorted, without duplicates. For a histogram or summary
	// this is the family's name, without _bucket, _sum or _count.
	Families []string
}

// Key names a target among all targets: one pod has one.
func (t Target) Key() Object { return Object{Namespace: t.Namespace, Name: t.Pod} }

// Equal reports whether two targets are the same endpoint with the same demand.
func (t Target) Equal(o Target) bool {
	return t.Namespace == o.Namespace && t.Pod == o.Pod && t.Node == o.Node && t.UID == o.UID &&
		t.URL == o.URL && slices.Equal(t.Families, o.Families)
}

// Object names a Kubernetes object of a resource that is known from the context. Namespace is empty for
// objects of the cluster.
type Object struct {
	Namespace, Name string
}

// String is namespace/name, or the name alone for objects of the cluster.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Name
	}
	return o.Namespace + "/" + o.Name
}

// Value is what a rule computed for one object, or one series of an external metric.
type Value struct {
	// Object is the object valued; zero for an external metric.
	Object Object
	// Labels are the labels of the result, without __name__. Where an object is valued they may be nil: it says all that they do.
	Labels map[string]string
	// Value is the number as computed: it may be NaN, infinite or negative; the provider judges it.
	Value float64
	// Time is the time of the newest sample behind the value.
	Time time.Time
	// Window is the time span that the value was computed over; zero for an instantaneous value.
	Window time.Duration
}

// Age is now minus the newest sample behind the value.
func (v Value) Age(now time.Time) time.Duration { return now.Sub(v.Time) }

// Reason says in one word why an object has no value. It is a label value of the self-metrics.
type Reason string

// The reasons, in the order in which a message lists them.
const (
	ReasonScrapeFailed Reason = "scrape_failed" // the last scrape failed
	ReasonAbsent       Reason = "absent"        // the page has no such family, or no series that matches
	ReasonWarmingUp    Reason = "warming_up"    // fewer samples than the expression needs, so far
	ReasonStale        Reason = "stale"         // the newest sample is older than maxAge
	ReasonNotScraped   Reason = "not_scraped"   // no target: no port to scrape, or not yet discovered
	ReasonTerminating  Reason = "terminating"   // the pod is being deleted, has ended or is gone
	ReasonNotANumber   Reason = "not_a_number"  // NaN
	ReasonOutOfRange   Reason = "out_of_range"  // infinite, or beyond the range of a quantity
	ReasonNegative     Reason = "negative"      // negative, without allowNegative
)

var reasonOrder = []Reason{
	ReasonScrapeFailed, ReasonAbsent, ReasonWarmingUp, ReasonStale, ReasonNotScraped,
	ReasonTerminating, ReasonNotANumber, ReasonOutOfRange, ReasonNegative,
}

// Text is the reason in the words of a message for people.
func (r Reason) Text() string { return strings.ReplaceAll(string(r), "_", " ") }

// Omission is one object left out of an answer, and why.
type Omission struct {
	Object Object
	Reason Reason
	// Detail is the cause in a few words, such as "connection refused"; it may be empty.
	Detail string
}

// SummarizeOmissions counts omissions by reason and detail, in a fixed order, for an error message:
// "2 scrape failed (connection refused), 1 warming up". Of several details of one reason the most
// frequent is shown, the first in alphabetical order where they tie.
func SummarizeOmissions(omissions []Omission) string {
	counts := map[Reason]int{}
	details := map[Reason]map[string]int{}
	for _, o := range omissions {
		counts[o.Reason]++
		if details[o.Reason] == nil {
			details[o.Reason] = map[string]int{}
		}
		if o.Detail != "" {
			details[o.Reason][o.Detail]++
		}
	}
	var parts []string
	for _, r := range reasonOrder {
		if counts[r] == 0 {
			continue
		}
		part := strconv.Itoa(counts[r]) + " " + r.Text()
		if d := mostFrequentDetail(details[r]); d != "" {
			part += " (" + d + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func mostFrequentDetail(counts map[string]int) string {
	best := ""
	for s, n := range counts {
		if best == "" || n > counts[best] || n == counts[best] && s < best {
			best = s
		}
	}
	return best
}
