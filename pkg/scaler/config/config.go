// Package config is the scaler's configuration: a strict load that reports every fault at once.
package config

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Config is one whole configuration. Load returns it complete; it is not changed after that.
type Config struct {
	// Namespaces are where holds are taken on: those of the file, and those of all targets that it names.
	Namespaces []string
	// Notify are whom to tell, by name.
	Notify map[string]notify.Config
	// Verifications are what new pods are asked, by name.
	Verifications map[string]verify.Spec
	Schedules     []schedule.Schedule
	Events        event.Config

	previousKinds []schema.GroupVersionKind // kinds of the targets of the configurations before this one
}

// Load reads a configuration. The error is strict.Faults with all that is wrong.
func Load(data []byte) (*Config, error) {
	d := &sectionDecoder{strict.NewDecoder()}
	c := &Config{Notify: map[string]notify.Config{}, Verifications: map[string]verify.Spec{}}
	d.DecodeFile(data, domain.ScalerConfigKind, map[string]strict.FieldDecoder{
		"namespaces": func(path string, n *yaml.Node) { c.Namespaces = d.DecodeTexts(path, n) },
		"notify": func(path string, n *yaml.Node) {
			d.decodeNamedEntries(path, n, func(name, path string, n *yaml.Node) { c.Notify[name] = notify.Decode(d.Decoder, path, n) })
		},
		"verifications": func(path string, n *yaml.Node) {
			d.decodeNamedEntries(path, n, func(name, path string, n *yaml.Node) { c.Verifications[name] = verify.Decode(d.Decoder, path, n) })
		},
		"schedules": func(path string, n *yaml.Node) { c.Schedules = schedule.DecodeAll(d.Decoder, path, n) },
		"events":    func(path string, n *yaml.Node) { c.Events = event.Decode(d.Decoder, path, n) },
	})
	d.validateNamedReferences(c)
	if err := d.Faults.Err(); err != nil {
		return nil, err
	}
	c.addWorkloadNamespaces()
	return c, nil
}

// sectionDecoder reads the sections.
type sectionDecoder struct{ *strict.Decoder }

// decodeNamedEntries calls each for each key of a mapping whose keys are names of the user's own.
func (d *sectionDecoder) decodeNamedEntries(path string, n *yaml.Node, each func(name, path string, n *yaml.Node)) {
	fields := map[string]strict.FieldDecoder{}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			fields[name] = func(path string, n *yaml.Node) { each(name, path, n) }
		}
	}
	d.DecodeMapping(path, n, fields)
}

// validateNamedReferences checks that what is named is there.
func (d *sectionDecoder) validateNamedReferences(c *Config) {
	for i := range c.Schedules {
		s := &c.Schedules[i]
		d.validateNamesAt(strict.IndexPath("schedules", i), c, s.Verify, s.Notify, nil)
	}
	for i := range c.Events.Rules {
		r := &c.Events.Rules[i]
		d.validateNamesAt(strict.IndexPath("events.rules", i), c, r.Verify, r.Notify, slices.Concat(r.OnSuccess, r.OnRelease))
	}
}

func (d *sectionDecoder) validateNamesAt(path string, c *Config, verification string, told []string, actions []action.Action) {
	if _, ok := c.Verifications[verification]; !ok && verification != "" {
		d.AddFault(path+".verify", "no verification %q; there are %v", verification, slices.Sorted(maps.Keys(c.Verifications)))
	}
	for _, name := range told {
		if _, ok := c.Notify[name]; !ok {
			d.AddFault(path+".notify", "nobody is called %q in notify; there are %v", name, slices.Sorted(maps.Keys(c.Notify)))
		}
	}
	for _, a := range actions {
		if _, ok := c.Notify[a.Webhook]; a.Webhook != "" && !ok {
			d.AddFault(path, "webhook %q is not in notify; there are %v", a.Webhook, slices.Sorted(maps.Keys(c.Notify)))
		}
	}
}

// addWorkloadNamespaces adds the namespaces of all targets that are named.
func (c *Config) addWorkloadNamespaces() {
	for _, t := range c.listWorkloads() {
		c.Namespaces = append(c.Namespaces, t.Namespace)
	}
	slices.Sort(c.Namespaces)
	c.Namespaces = slices.Compact(c.Namespaces)
}

// InheritFrom makes the configuration look for holds where the one before it did, too: what that one's schedules and events left on
// targets that this one does not name is finished, and given back.
func (c *Config) InheritFrom(before *Config) {
	c.Namespaces = append(c.Namespaces, before.Namespaces...)
	c.previousKinds = before.WorkloadKinds()
	c.addWorkloadNamespaces()
}

func (c *Config) listWorkloads() (all []hold.Workload) {
	for i := range c.Schedules {
		all = append(all, c.Schedules[i].Workloads...)
	}
	for i := range c.Events.Rules {
		for _, w := range c.Events.Rules[i].Workloads {
			all = append(all, w.Workload)
		}
	}
	return all
}

// WorkloadKinds are those of targets to look for: the usual ones, and those of all that are named.
func (c *Config) WorkloadKinds() []schema.GroupVersionKind {
	kinds := rollout.DefaultKinds()
	named := slices.Clone(c.previousKinds)
	for _, t := range c.listWorkloads() {
		named = append(named, t.GroupVersionKind())
	}
	for _, kind := range named {
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// NewSenders are whom to tell, by name.
func (c *Config) NewSenders() map[string]notify.Sender {
	senders := map[string]notify.Sender{}
	for name, n := range c.Notify {
		senders[name] = n.NewSender(notify.SenderOptions{})
	}
	return senders
}

// WebhookURLs are the URLs of those that a gate may call, by name.
func (c *Config) WebhookURLs() map[string]func() (string, error) {
	urls := map[string]func() (string, error){}
	for name, n := range c.Notify {
		urls[name] = n.ReadURL
	}
	return urls
}
