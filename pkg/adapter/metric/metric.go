// Package metric is the adapter's vocabulary: targets, values with their own time and window, reasons for a missing value, and kinds of
// error. It uses the standard library only.
package metric

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Target is a pod's metrics endpoint, and the families demanded from it.
type Target struct {
	// Namespace, Pod and Node become the labels of the same names on every series of the target. The page's own
	// labels of these names become exported_namespace, exported_pod and exported_node.
	Namespace, Pod, Node string
	// UID distinguishes a pod from a later pod of the same name.
	UID string
	// URL is the endpoint: scheme, pod address, port and path.
	URL string
	// Started is the time at which the container behind the endpoint started; zero if unknown. Samples before it belong to another process.
	Started time.Time
	// Finished is the time at which the process before ended, truncated to the second; zero if unknown.
	Finished time.Time
	// Stopped reports that this container does not run, as far as the cluster tells: a page is of another process, started since.
	Stopped bool
	// Ready reports that the pod is ready: it may serve requests, even while its page fails.
	Ready bool
	// Ending reports that the pod is being deleted. It is scraped for as long as it answers.
	Ending bool
	// Families are the demanded metric families, sorted, without duplicates. For a histogram or summary this is the
	// family's name, without _bucket, _sum or _count.
	Families []string
	// Standing are the families that autoscalers demand: a sorted part of Families. The scraper prefers them to readers' families
	// where a bound leaves no room for both.
	Standing []string
}

// Key identifies a target among all targets: a pod has one target.
func (t Target) Key() Object { return Object{Namespace: t.Namespace, Name: t.Pod} }

// Equal reports whether two targets are the same endpoint with the same demand.
func (t Target) Equal(o Target) bool {
	return t.Namespace == o.Namespace && t.Pod == o.Pod && t.Node == o.Node && t.UID == o.UID &&
		t.URL == o.URL && t.Started.Equal(o.Started) && t.Finished.Equal(o.Finished) && t.Stopped == o.Stopped && t.Ready == o.Ready && t.Ending == o.Ending &&
		slices.Equal(t.Families, o.Families) && slices.Equal(t.Standing, o.Standing)
}

// TimeSpan is a stretch of time; the zero value is none.
type TimeSpan struct {
	From, To time.Time
}

// Object names a Kubernetes object; its resource is known from the context. Namespace is empty for objects of the
// cluster.
type Object struct {
	Namespace, Name string
}

// String returns namespace/name, or only the name for objects of the cluster.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Name
	}
	return o.Namespace + "/" + o.Name
}

// Compare orders objects by namespace, then name.
func (o Object) Compare(other Object) int {
	if c := strings.Compare(o.Namespace, other.Namespace); c != 0 {
		return c
	}
	return strings.Compare(o.Name, other.Name)
}

// Value is a rule's result for an object, or for a series of an external metric.
type Value struct {
	// Object is the object of the value; zero for an external metric.
	Object Object
	// Labels are the labels of the result, without __name__. They may be nil if Object is set, which carries the same
	// information.
	Labels map[string]string
	// Value is the number as computed: it may be NaN, infinite or negative. The provider validates it.
	Value float64
	// Time is the end of the window: the time of the newest sample behind the value, or an earlier time until which all pods of a group
	// are known.
	Time time.Time
	// Lag is how much later than Time the newest sample behind the value is; mostly zero.
	Lag time.Duration
	// Window is the time span of the computation; zero for an instantaneous value.
	Window time.Duration
	// Ended reports that all series of the object ended. Value is their count within the window until then: a part of
	// the total of a group, and no value of the object.
	Ended bool
	// Reason says why the object has no right value, and Detail says it in words. Value is then meaningless. Both are
	// empty for a right value. A NaN may have a Detail alone.
	Reason Reason
	Detail string
}

// NewestSample returns the time of the newest sample behind the value; zero for a substitute.
func (v *Value) NewestSample() time.Time { return v.Time.Add(v.Lag) }

// Age returns the time from the newest sample behind the value to now.
func (v *Value) Age(now time.Time) time.Duration { return now.Sub(v.NewestSample()) }

// Reason is a word for the cause of a missing value. It is a label value of the self-metrics.
type Reason string

// The reasons, in their order within a message.
const (
	ReasonScrapeFailed Reason = "scrape_failed" // the last scrape failed
	ReasonAbsent       Reason = "absent"        // the page has no such family, or no matching series
	ReasonWarmingUp    Reason = "warming_up"    // too few samples for the expression, so far
	ReasonStale        Reason = "stale"         // the newest sample is older than maxAge
	ReasonNotScraped   Reason = "not_scraped"   // no target: no port to scrape, or not yet discovered
	ReasonTerminating  Reason = "terminating"   // the pod is being deleted, has ended or is gone
	ReasonNotANumber   Reason = "not_a_number"  // NaN
	ReasonOutOfRange   Reason = "out_of_range"  // infinite, or beyond the range of a quantity
	ReasonNegative     Reason = "negative"      // negative, without allowNegative
	ReasonDecreasing   Reason = "decreasing"    // a counter that decreases again and again
)

// DecreasingDetail is the detail of ReasonDecreasing, for the status of an HPA.
const DecreasingDetail = "a counter decreases again and again: several processes behind one port?"

var reasonOrder = []Reason{
	ReasonScrapeFailed, ReasonAbsent, ReasonWarmingUp, ReasonStale, ReasonNotScraped,
	ReasonTerminating, ReasonNotANumber, ReasonOutOfRange, ReasonNegative, ReasonDecreasing,
}

// Text returns the reason in words for a message.
func (r Reason) Text() string { return strings.ReplaceAll(string(r), "_", " ") }

// Omission is an object left out of a response, with its reason.
type Omission struct {
	Object Object
	Reason Reason
	// Detail is the cause in a few words, such as "connection refused"; it may be empty.
	Detail string
}

// SummarizeOmissions counts omissions by reason and detail, in a fixed order, for an error message: "2 scrape failed
// (connection refused), 1 warming up". It shows the most frequent detail of each reason, and of equally frequent
// details the first in alphabetical order.
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
		if d := mostFrequentMetricOmissionDetail(details[r]); d != "" {
			part += " (" + d + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func mostFrequentMetricOmissionDetail(counts map[string]int) string {
	best := ""
	for s, n := range counts {
		if best == "" || n > counts[best] || n == counts[best] && s < best {
			best = s
		}
	}
	return best
}
