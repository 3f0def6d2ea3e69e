// Package lint finds mistakes in an autoscaler's limits, behavior and metrics, and in its workload, budget and neighbours: one function
// for each mistake.
package lint

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// Severity says whether a finding can never work or only works badly.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // it cannot work as written
	SeverityWarning Severity = "warning" // it works badly in a case that comes sooner or later
)

// Rule is one thing that lint knows to be wrong.
type Rule struct {
	// ID names the rule in findings and in its page.
	ID       string
	Severity Severity
	// Reason says why it is wrong, Fix says how to mend it; both are whole sentences.
	Reason, Fix string
	// check returns one message for each place where the rule is broken; nil for a rule of files.
	check func(s subject) []string
}

// Finding is one place where a rule is broken.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Object   string   `json:"object"` // NAMESPACE/hpa/NAME, or FILE:LINE
	Message  string   `json:"message"`
	Reason   string   `json:"reason"`
	Fix      string   `json:"fix"`
	Page     string   `json:"page"`
}

// subject is an autoscaler with its surroundings.
type subject struct {
	objects  *inventory.Inventory
	hpa      *autoscalingv2.HorizontalPodAutoscaler
	workload *inventory.Workload // nil if unknown
	files    bool                // from manifests, not from a cluster
}

// Rules returns all rules, sorted by ID.
func Rules() []Rule {
	rules := slices.Concat(listMetricRules(), listLimitRules(), listBehaviorRules(), listWorkloadRules(), listNeighbourRules(), listConfigurationRules(), []Rule{duplicateKeyRule})
	slices.SortFunc(rules, func(a, b Rule) int { return cmp.Compare(a.ID, b.ID) })
	return rules
}

// Report is the outcome of Run.
type Report struct {
	Findings []Finding          `json:"findings"`
	Unread   []inventory.Unread `json:"unread,omitempty"`
	HPAs     int                `json:"autoscalers"`
}

// duplicateKeyRule is the rule of files: a decoded object has each key once.
var duplicateKeyRule = Rule{
	ID: "duplicate-key", Severity: SeverityError,
	Reason: "kubectl silently takes the last value.", Fix: "Remove the key with the wrong value.",
}

// Run applies all rules to every autoscaler of the objects, from files or from a cluster.
func Run(objects *inventory.Inventory, files bool) *Report {
	report := &Report{Unread: objects.Unread, HPAs: len(objects.HPAs), Findings: []Finding{}}
	for _, k := range objects.DuplicateKeys {
		report.addLintFinding(duplicateKeyRule, fmt.Sprintf("%s:%d", k.File, k.Line), fmt.Sprintf("%s repeats line %d", k.Path, k.First))
	}
	rules := slices.DeleteFunc(Rules(), func(r Rule) bool { return r.check == nil })
	for i := range objects.HPAs {
		hpa := &objects.HPAs[i]
		s := subject{objects: objects, hpa: hpa, workload: objects.WorkloadOf(hpa), files: files}
		s.lintNewestPod()
		for _, r := range rules {
			for _, message := range r.check(s) {
				report.addLintFinding(r, hpa.Namespace+"/hpa/"+hpa.Name, message)
			}
		}
	}
	slices.SortStableFunc(report.Findings, func(a, b Finding) int { return cmp.Compare(a.Severity, b.Severity) })
	return report
}

// addLintFinding adds a finding once: overlays have variants of one autoscaler.
func (r *Report) addLintFinding(rule Rule, object, message string) {
	f := Finding{
		Rule: rule.ID, Severity: rule.Severity, Object: object, Message: message, Reason: rule.Reason, Fix: rule.Fix, Page: "docs/lint.md#" + rule.ID,
	}
	if !slices.Contains(r.Findings, f) {
		r.Findings = append(r.Findings, f)
	}
}

// lintNewestPod gives the workload the containers and annotations of its newest pod: webhooks, a LimitRange and a VerticalPodAutoscaler change
// pods, and not the template.
func (s *subject) lintNewestPod() {
	var newest *corev1.Pod
	for _, p := range s.objects.PodsOf(s.workload) {
		if findUnscaledOwner(p) == "" && (newest == nil || p.CreationTimestamp.After(newest.CreationTimestamp.Time)) {
			newest = p
		}
	}
	if newest == nil {
		return
	}
	w := *s.workload
	w.Template.Spec, w.Template.Annotations = newest.Spec, newest.Annotations
	s.workload = &w
}

// Faulty reports whether a finding is an error.
func (r *Report) Faulty() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == SeverityError })
}

// Print writes a table of the findings; wide adds reason and fix.
func (r *Report) Print(out io.Writer, opts output.TableOptions) error {
	table := output.Table{Header: []string{"SEVERITY", "OBJECT", "RULE", "FINDING"}}
	if opts.Wide {
		table.Header = append(table.Header, "REASON", "FIX")
	}
	for _, f := range r.Findings {
		cells := []string{string(f.Severity), f.Object, f.Rule, f.Message}
		if opts.Wide {
			cells = append(cells, f.Reason, f.Fix)
		}
		table.Add(cells...)
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(out, "%s, no finding.\n", output.Count(r.HPAs, "autoscaler"))
		return nil
	}
	return table.Print(out, opts)
}

// newLintFinding returns the message as the only finding if found, else none.
func newLintFinding(found bool, format string, args ...any) []string {
	if !found {
		return nil
	}
	return []string{fmt.Sprintf(format, args...)}
}
