package explainapi

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// RuleReviews is the resource of reviews. It has the verb create alone.
const RuleReviews = "rulereviews"

// RuleReview asks for the values that a rule would have on the pods of its namespace, without deploying it. The adapter answers a
// created review at once, and keeps none.
type RuleReview struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              RuleReviewSpec   `json:"spec"`
	Status            RuleReviewStatus `json:"status,omitzero"`
}

// RuleReviewSpec is the rule to review, and the objects to compute it for.
type RuleReviewSpec struct {
	// Config is the text of an adapter configuration. Only its rules count: everything else is as in the running configuration.
	Config string `json:"config"`
	// Metric is the metric to compute. It may be empty if the configuration has a single rule with a name.
	Metric string `json:"metric,omitempty"`
	// External chooses the external metric of the name.
	External bool `json:"external,omitempty"`
	// Resource is the resource of the described objects, as plural or plural.group; empty means pods.
	Resource string `json:"resource,omitempty"`
	// Object is the name of a single object; empty means all pods that Selector selects.
	Object string `json:"object,omitempty"`
	// Selector selects pods by their labels; empty means all pods of the namespace.
	Selector string `json:"selector,omitempty"`
	// MetricSelector selects series, as the selector of an autoscaler's metric does.
	MetricSelector string `json:"metricSelector,omitempty"`
}

// RuleReviewStatus is the answer: faults of the configuration, or values and omissions, or the error that an autoscaler would get.
type RuleReviewStatus struct {
	Source Source `json:"source"`
	// Metric, External and Resource name the computed metric.
	Metric   string `json:"metric,omitempty"`
	External bool   `json:"external,omitempty"`
	Resource string `json:"resource,omitempty"`
	// Faults are all faults of the configuration. With faults nothing is computed.
	Faults []RuleFault `json:"faults,omitempty"`
	// Families are the metric families that the rule reads from pods.
	Families []string        `json:"families,omitempty"`
	Values   []ReviewedValue `json:"values,omitempty"`
	Omitted  []Omission      `json:"omitted,omitempty"`
	// Error is the reason why there is no value.
	Error string `json:"error,omitempty"`
}

// RuleFault is a fault of a configuration, in the words of --check-config.
type RuleFault struct {
	Path    string `json:"path,omitempty"`
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

// ReviewedValue is a value of a reviewed rule.
type ReviewedValue struct {
	// Object is the name of the described object; empty for an external metric.
	Object string `json:"object,omitempty"`
	// Labels are the labels of an external metric's series.
	Labels map[string]string `json:"labels,omitempty"`
	// Milli is the value in thousandths.
	Milli int64 `json:"milli"`
	// Time is the time of the newest sample behind the value.
	Time time.Time `json:"time"`
	// WindowSeconds is the window of the value; 0 for an instantaneous one.
	WindowSeconds int64 `json:"windowSeconds,omitempty"`
}

// DeepCopyObject implements runtime.Object.
func (r *RuleReview) DeepCopyObject() runtime.Object { return copyExplainObject(r) }
