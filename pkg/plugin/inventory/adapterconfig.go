// The rules of the adapter's configurations among the files.

package inventory

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apijson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
)

// AdapterConfig is a configuration of the adapter, reduced to its rules.
type AdapterConfig struct {
	// Source is the file, or configmap/NAME.
	Source string
	Rules  []MetricRule
	// IsFaulty: it cannot be decoded, and Rules are empty. Its metrics are unknown.
	IsFaulty bool
}

// MetricRule computes a metric, or all metrics that match a pattern. It has the keys by which an autoscaler's metric can be judged.
type MetricRule struct {
	Metric    string          `json:"metric"`
	Match     string          `json:"match"`
	Except    string          `json:"except"`
	Resource  string          `json:"resource"`
	Query     string          `json:"query"`
	External  bool            `json:"external"`
	Aggregate json.RawMessage `json:"aggregate"` // empty where the rule has none
	Targets   json.RawMessage `json:"targets"`   // empty where the rule has none
	Labels    struct {
		Object string `json:"object"`
	} `json:"labels"`

	match, except *regexp.Regexp // of whole names; nil without a pattern
}

// ServesMetric reports whether the rule computes a metric of this name.
func (r *MetricRule) ServesMetric(name string) bool {
	if r.match == nil {
		return r.Metric == name
	}
	return r.match.MatchString(name) && (r.except == nil || !r.except.MatchString(name))
}

// AggregatesPods reports whether the value of an object is computed from the values of its pods.
func (r *MetricRule) AggregatesPods() bool {
	ofCluster := r.Resource == "namespaces" || r.Resource == "nodes"
	return !r.External && !ofCluster && len(r.Targets) == 0 && r.Labels.Object == ""
}

// addAdapterConfig adds a configuration. It skips objects of other kinds and versions.
func (i *Inventory) addAdapterConfig(source string, data []byte) {
	var config struct {
		APIVersion string       `json:"apiVersion"`
		Kind       string       `json:"kind"`
		Rules      []MetricRule `json:"rules"`
	}
	err := apijson.Unmarshal(data, &config)
	if config.APIVersion != domain.ConfigAPIVersion || config.Kind != domain.AdapterConfigKind {
		return
	}
	for n := range config.Rules {
		err = errors.Join(err, config.Rules[n].compileNamePatterns())
	}
	if err != nil { // --check-config names its faults
		i.AdapterConfigs = append(i.AdapterConfigs, AdapterConfig{Source: source, IsFaulty: true})
		return
	}
	i.AdapterConfigs = append(i.AdapterConfigs, AdapterConfig{Source: source, Rules: config.Rules})
}

// compileNamePatterns prepares the patterns of names, which match whole names.
func (r *MetricRule) compileNamePatterns() (err error) {
	if r.Match != "" {
		r.match, err = regexp.Compile("^(?:" + r.Match + ")$")
	}
	if err == nil && r.Except != "" {
		r.except, err = regexp.Compile("^(?:" + r.Except + ")$")
	}
	return err
}

// addMountedConfigs adds the adapter's configurations in the data of a ConfigMap. It skips other data.
func (i *Inventory) addMountedConfigs(data []byte) {
	var object corev1.ConfigMap
	if apijson.Unmarshal(data, &object) != nil {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(object.Data)) {
		source := "configmap/" + object.Name
		text, err := yaml.YAMLToJSON([]byte(object.Data[key]))
		switch {
		case err == nil:
			i.addAdapterConfig(source, text)
		case strings.Contains(object.Data[key], domain.AdapterConfigKind):
			i.AdapterConfigs = append(i.AdapterConfigs, AdapterConfig{Source: source, IsFaulty: true})
		}
	}
}
