// This file decodes the rules of the section events.

package event

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

const (
	maxReplicaCount = hold.MaxReplicas
	minFor          = time.Second         // a demonstration takes seconds
	maxFor          = 31 * 24 * time.Hour // a longer hold is a permanent setting
	maxRules        = 1000
)

func (d *sourceRuleDecoder) eventRulesFromYAML(path string, n *yaml.Node) []HoldRule {
	var all []HoldRule
	first := map[string]string{}
	d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
		r := d.eventRuleFromYAML(path, n)
		all = append(all, r)
		if at, again := first[r.Name]; again && r.Name != "" {
			d.AddFault(path+".name", "%s is already the name of %s", r.Name, at)
			return
		}
		first[r.Name] = path
	})
	d.RejectEmpty(path, n)
	d.RejectLong(path, n, maxRules)
	return all
}

// ruleNamePattern matches a Kubernetes namespace and the name of a rule, which becomes part of a hold's ID.
var ruleNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

const ruleNameForm = "lower-case letters, digits and -, at most 63"

func (d *sourceRuleDecoder) eventRuleFromYAML(path string, n *yaml.Node) HoldRule {
	r := HoldRule{MaxFor: DefaultMaxFor}
	var namespace string
	var decodeWorkloads func(namespace string) []WorkloadSpec
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"name":      d.patternedTextFromYAML(&r.Name, ruleNamePattern, ruleNameForm),
		"namespace": d.patternedTextFromYAML(&namespace, ruleNamePattern, ruleNameForm),
		"type":      d.eventTypeFromYAML(&r.Type),
		"releaseOn": d.eventTypeFromYAML(&r.ReleaseOn),
		"match":     func(path string, n *yaml.Node) { r.Match = d.eventRuleMatchFromYAML(path, n) },
		"key":       d.eventFieldNameFromYAML(&r.Key),
		"workloads": func(path string, n *yaml.Node) { // decoded last, because the namespace may follow
			decodeWorkloads = func(namespace string) []WorkloadSpec { return d.eventWorkloadsFromYAML(path, n, namespace) }
		},
		"for":       d.Duration(&r.For, minFor, maxFor),
		"maxFor":    d.Duration(&r.MaxFor, minFor, maxFor),
		"within":    d.Duration(&r.Within, time.Second, hold.MaxWithin),
		"paused":    d.Bool(&r.Paused),
		"verify":    d.Text(&r.Verify),
		"onSuccess": func(path string, n *yaml.Node) { r.OnSuccess = action.Decode(d.Decoder, path, n) },
		"onRelease": func(path string, n *yaml.Node) { r.OnRelease = action.Decode(d.Decoder, path, n) },
		"after":     func(path string, n *yaml.Node) { r.After = action.DecodeWatch(d.Decoder, path, n) },
		"gates":     func(path string, n *yaml.Node) { r.Gates = d.DecodeTexts(path, n) },
		"notify":    func(path string, n *yaml.Node) { r.Notify = d.DecodeTexts(path, n) },
	})
	if d.HasFault(path) {
		return r
	}
	d.Require(path, "name", "namespace", "type", "workloads")
	if decodeWorkloads != nil {
		r.Workloads = decodeWorkloads(namespace)
	}
	d.validateEventRule(path, &r)
	return r
}

// validateEventRule checks keys that depend on each other.
func (d *sourceRuleDecoder) validateEventRule(path string, r *HoldRule) {
	if r.Type != "" && r.ReleaseOn == r.Type {
		d.AddFault(path+".releaseOn", "equals type, which raises")
	}
	if r.After != nil && len(r.OnSuccess) == 0 {
		d.AddFault(path+".after", "watches the gate of onSuccess, which is missing; a gate of the section gates has its own")
	}
	if r.For > r.MaxFor {
		if !d.HasKey(path + ".maxFor") {
			r.MaxFor = r.For
			return
		}
		d.AddFault(path+".for", "is longer than maxFor, %s", strict.FormatDuration(r.MaxFor))
	}
}

// eventTypeFromYAML decodes the type of an event.
func (d *sourceRuleDecoder) eventTypeFromYAML(to *string) strict.FieldDecoder {
	return d.patternedTextFromYAML(to, eventTypePattern, "the type of an event, such as FLASH_SALE_START: letters, digits and _.:/-")
}

// eventFieldNameFromYAML decodes the name of an event's field, and rejects the four that every event has.
func (d *sourceRuleDecoder) eventFieldNameFromYAML(to *string) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		d.Text(to)(path, n)
		if isCommonEventField(*to) {
			d.AddFault(path, "%s is a field of every event; use another field", *to)
		}
	}
}

func (d *sourceRuleDecoder) eventRuleMatchFromYAML(path string, n *yaml.Node) map[string]string {
	all := map[string]string{}
	if n.Kind != yaml.MappingNode {
		d.AddFaultAtLine(path, n.Line, "must be a mapping of fields to texts, not %s", strict.DescribeNode(n))
		return all
	}
	fields := map[string]strict.FieldDecoder{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		fields[key.Value] = func(path string, n *yaml.Node) {
			var name, value string
			d.eventFieldNameFromYAML(&name)(path, key)
			if d.Text(&value)(path, n); !d.HasFault(path) {
				all[key.Value] = value
			}
		}
	}
	d.DecodeMapping(path, n, fields)
	return all
}

// objectNamePattern matches the name of any object with replicas.
var objectNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

func (d *sourceRuleDecoder) eventWorkloadsFromYAML(path string, n *yaml.Node, namespace string) []WorkloadSpec {
	var all []WorkloadSpec
	d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
		w := d.eventWorkloadFromYAML(path, n, namespace)
		if slices.ContainsFunc(all, func(other WorkloadSpec) bool { return other.Workload == w.Workload && w.Workload.Name != "" }) {
			d.AddFault(path+".workload", "%s is in the list already", w.Workload)
		}
		all = append(all, w)
	})
	d.RejectEmpty(path, n)
	return all
}

func (d *sourceRuleDecoder) eventWorkloadFromYAML(path string, n *yaml.Node, namespace string) WorkloadSpec {
	var w WorkloadSpec
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"workload":    func(path string, n *yaml.Node) { w.Workload = d.eventRuleWorkloadFromYAML(path, n, namespace) },
		"replicas":    d.eventReplicaCountFromYAML(&w.Replicas),
		"minReplicas": d.eventReplicaCountFromYAML(&w.MinReplicas),
		"maxReplicas": d.eventReplicaCountFromYAML(&w.MaxReplicas),
	})
	if d.HasFault(path) {
		return w
	}
	d.Require(path, "workload", "replicas")
	for _, f := range []struct{ key, fault string }{{"minReplicas", w.minReplicasError()}, {"maxReplicas", w.maxReplicasError()}} {
		if f.fault != "" && d.HasKey(path+".replicas") {
			d.AddFault(path+"."+f.key, "%s", f.fault)
		}
	}
	return w
}

// minReplicasError returns the fault of a minReplicas that is above replicas in every event.
func (w *WorkloadSpec) minReplicasError() string {
	if w.MinReplicas.Field == "" && w.MinReplicas.Value > w.Replicas.Highest() {
		return fmt.Sprintf("%d is above replicas, %s", w.MinReplicas.Value, w.Replicas.describeEventReplicas())
	}
	return ""
}

// maxReplicasError returns the fault of a maxReplicas that is below replicas, in some event at least.
func (w *WorkloadSpec) maxReplicasError() string {
	if highest := w.MaxReplicas.Highest(); highest != 0 && highest < w.Replicas.Highest() {
		return fmt.Sprintf("%s is below replicas, %s", w.MaxReplicas.describeEventReplicas(), w.Replicas.describeEventReplicas())
	}
	return ""
}

// Highest returns the highest number that an event can ask for.
func (n ReplicaCount) Highest() int32 {
	if n.Field != "" {
		return n.MaxValue
	}
	return n.Value
}

func (n ReplicaCount) describeEventReplicas() string {
	if n.Field != "" {
		return fmt.Sprintf("up to %d by field %s", n.MaxValue, n.Field)
	}
	return strconv.Itoa(int(n.Value))
}

func (d *sourceRuleDecoder) eventRuleWorkloadFromYAML(path string, n *yaml.Node, namespace string) hold.Workload {
	var text string
	d.Text(&text)(path, n)
	if d.HasFault(path) {
		return hold.Workload{}
	}
	t, err := hold.ParseWorkload(text, namespace)
	switch {
	case err != nil:
		d.AddFaultAtLine(path, n.Line, "%s", err.Error())
	case !objectNamePattern.MatchString(t.Name):
		d.AddFaultAtLine(path, n.Line, "%q is not a valid object name", strict.Shorten(t.Name))
	}
	return t
}

// eventReplicaCountFromYAML decodes a number, or the name of an event's field with a maximum.
func (d *sourceRuleDecoder) eventReplicaCountFromYAML(to *ReplicaCount) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		var value, maxValue int
		if n.Kind != yaml.MappingNode {
			d.Integer(&value, 0, maxReplicaCount)(path, n)
			to.Value = clampEventReplicas(value)
			return
		}
		d.DecodeMapping(path, n, map[string]strict.FieldDecoder{"field": d.eventFieldNameFromYAML(&to.Field), "max": d.Integer(&maxValue, 1, maxReplicaCount)})
		d.Require(path, "field", "max")
		to.MaxValue = clampEventReplicas(maxValue)
	}
}

// clampEventReplicas converts a number that is at most maxReplicaCount, or already a fault.
func clampEventReplicas(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }
