package event

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// The bounds of what a rule may say.
const (
	maxReplicaCount = 10_000              // above, it is a slip of the finger
	minFor          = time.Second         // a demonstration is over in seconds
	maxFor          = 31 * 24 * time.Hour // longer is no event but how things are
	maxWithin       = 24 * time.Hour
	maxRules        = 1000
)

func (d *configDecoder) decodeRules(path string, n *yaml.Node) []Rule {
	var all []Rule
	first := map[string]string{}
	d.Sequence(path, n, func(path string, n *yaml.Node) {
		r := d.decodeRule(path, n)
		all = append(all, r)
		if at, again := first[r.Name]; again && r.Name != "" {
			d.Wrong(path+".name", "%s is already the name of %s", r.Name, at)
			return
		}
		first[r.Name] = path
	})
	switch {
	case n.Kind == yaml.SequenceNode && len(all) == 0:
		d.Fault(path, n.Line, "is empty")
	case len(all) > maxRules:
		d.Fault(path, n.Line, "has %d elements; up to %d are taken", len(all), maxRules)
	}
	return all
}

// ruleNamePattern is that of a Kubernetes namespace, and of a rule: it becomes part of a hold's ID.
var ruleNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

const ruleNameForm = "lower-case letters, digits and -, at most 63"

func (d *configDecoder) decodeRule(path string, n *yaml.Node) Rule {
	r := Rule{MaxFor: DefaultMaxFor}
	var namespace string
	var targets func(namespace string) []WorkloadSpec
	d.Mapping(path, n, map[string]strict.Field{
		"name":      d.patternField(&r.Name, ruleNamePattern, ruleNameForm),
		"namespace": d.patternField(&namespace, ruleNamePattern, ruleNameForm),
		"type":      d.eventTypeField(&r.Type),
		"releaseOn": d.eventTypeField(&r.ReleaseOn),
		"match":     func(path string, n *yaml.Node) { r.Match = d.decodeMatch(path, n) },
		"key":       d.fieldNameField(&r.Key),
		"targets": func(path string, n *yaml.Node) { // read last: their namespace may come after them
			targets = func(namespace string) []WorkloadSpec { return d.decodeWorkloadSpecs(path, n, namespace) }
		},
		"for":       d.Duration(&r.For, minFor, maxFor),
		"maxFor":    d.Duration(&r.MaxFor, minFor, maxFor),
		"within":    d.Duration(&r.Within, time.Second, maxWithin),
		"verify":    d.Text(&r.Verify),
		"onSuccess": func(path string, n *yaml.Node) { r.OnSuccess = action.Decode(d.Decoder, path, n) },
		"onRelease": func(path string, n *yaml.Node) { r.OnRelease = action.Decode(d.Decoder, path, n) },
		"notify":    func(path string, n *yaml.Node) { r.Notify = d.Texts(path, n) },
	})
	if d.Failed(path) {
		return r
	}
	d.requireEventKeys(path, "name", "namespace", "type", "targets")
	if targets != nil {
		r.Workloads = targets(namespace)
	}
	d.validateRule(path, &r)
	return r
}

// validateRule are the faults of keys that go together.
func (d *configDecoder) validateRule(path string, r *Rule) {
	if r.Type != "" && r.ReleaseOn == r.Type {
		d.Wrong(path+".releaseOn", "is the type that raises")
	}
	if r.For > r.MaxFor {
		if !d.Given(path + ".maxFor") {
			r.MaxFor = r.For
			return
		}
		d.Wrong(path+".for", "is longer than maxFor, %s", strict.FormatDuration(r.MaxFor))
	}
}

// eventTypeField reads the type of an event.
func (d *configDecoder) eventTypeField(to *string) strict.Field {
	return d.patternField(to, eventTypePattern, "the type of an event, such as FLASH_SALE_START: letters, digits and _.:/-")
}

// fieldNameField reads the name of a field of events; the four that all events have are none.
func (d *configDecoder) fieldNameField(to *string) strict.Field {
	return func(path string, n *yaml.Node) {
		d.Text(to)(path, n)
		if slices.Contains([]string{"id", "type", "at", "ttl"}, *to) {
			d.Wrong(path, "%s is no field of its own; use another field", *to)
		}
	}
}

func (d *configDecoder) decodeMatch(path string, n *yaml.Node) map[string]string {
	all := map[string]string{}
	if n.Kind != yaml.MappingNode {
		d.Fault(path, n.Line, "must be a mapping of fields to texts, not %s", strict.Describe(n))
		return all
	}
	fields := map[string]strict.Field{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		fields[key.Value] = func(path string, n *yaml.Node) {
			var name, value string
			d.fieldNameField(&name)(path, key)
			if d.Text(&value)(path, n); !d.Failed(path) {
				all[key.Value] = value
			}
		}
	}
	d.Mapping(path, n, fields)
	return all
}

// objectNamePattern is that of any object that has replicas.
var objectNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

func (d *configDecoder) decodeWorkloadSpecs(path string, n *yaml.Node, namespace string) []WorkloadSpec {
	var all []WorkloadSpec
	d.Sequence(path, n, func(path string, n *yaml.Node) {
		w := d.decodeWorkloadSpec(path, n, namespace)
		if slices.ContainsFunc(all, func(other WorkloadSpec) bool { return other.Workload == w.Workload && w.Workload.Name != "" }) {
			d.Wrong(path+".target", "%s is in the list already", w.Workload)
		}
		all = append(all, w)
	})
	if n.Kind == yaml.SequenceNode && len(all) == 0 {
		d.Fault(path, n.Line, "is empty")
	}
	return all
}

func (d *configDecoder) decodeWorkloadSpec(path string, n *yaml.Node, namespace string) WorkloadSpec {
	var w WorkloadSpec
	d.Mapping(path, n, map[string]strict.Field{
		"target":   func(path string, n *yaml.Node) { w.Workload = d.decodeWorkload(path, n, namespace) },
		"replicas": d.replicaCountField(&w.Replicas),
		"floor":    d.replicaCountField(&w.MinReplicas),
		"ceiling":  d.replicaCountField(&w.MaxReplicas),
	})
	if d.Failed(path) {
		return w
	}
	d.requireEventKeys(path, "target", "replicas")
	for _, f := range []struct{ key, fault string }{{"floor", w.minReplicasError()}, {"ceiling", w.maxReplicasError()}} {
		if f.fault != "" && d.Given(path+".replicas") {
			d.Wrong(path+"."+f.key, "%s", f.fault)
		}
	}
	return w
}

func (w *WorkloadSpec) minReplicasError() string {
	if areBothFixed(w.MinReplicas, w.Replicas) && w.MinReplicas.Value > w.Replicas.Value {
		return fmt.Sprintf("%d is above replicas, %d", w.MinReplicas.Value, w.Replicas.Value)
	}
	return ""
}

func (w *WorkloadSpec) maxReplicasError() string {
	if areBothFixed(w.MaxReplicas, w.Replicas) && w.MaxReplicas.Value != 0 && w.MaxReplicas.Value < w.Replicas.Value {
		return fmt.Sprintf("%d is below replicas, %d", w.MaxReplicas.Value, w.Replicas.Value)
	}
	return ""
}

// areBothFixed tells whether the file itself says both numbers.
func areBothFixed(a, b ReplicaCount) bool { return a.Field == "" && b.Field == "" }

func (d *configDecoder) decodeWorkload(path string, n *yaml.Node, namespace string) hold.Target {
	var text string
	d.Text(&text)(path, n)
	if d.Failed(path) {
		return hold.Target{}
	}
	t, err := hold.ParseTarget(text, namespace)
	switch {
	case err != nil:
		d.Fault(path, n.Line, "%s", strict.Shorten(err.Error()))
	case !objectNamePattern.MatchString(t.Name):
		d.Fault(path, n.Line, "%q is no name of an object", strict.Shorten(t.Name))
	}
	return t
}

// replicaCountField reads a number, or the field that holds it and the most that is taken from there.
func (d *configDecoder) replicaCountField(to *ReplicaCount) strict.Field {
	return func(path string, n *yaml.Node) {
		var value, most int
		if n.Kind != yaml.MappingNode {
			d.Integer(&value, 0, maxReplicaCount)(path, n)
			to.Value = clampToInt32(value)
			return
		}
		d.Mapping(path, n, map[string]strict.Field{"field": d.fieldNameField(&to.Field), "max": d.Integer(&most, 1, maxReplicaCount)})
		d.requireEventKeys(path, "field", "max")
		to.MaxValue = clampToInt32(most)
	}
}

// clampToInt32 is a number that was checked to be at most maxReplicas.
func clampToInt32(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }
