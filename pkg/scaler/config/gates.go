package config

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// decodeGateSection decodes the section gates.
func (d *sectionDecoder) decodeGateSection(path string, n *yaml.Node) map[string]action.Gate {
	all := map[string]action.Gate{}
	d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
		name, g := action.DecodeGate(d.Decoder, path, n)
		if _, again := all[name]; again {
			d.AddFault(path+".name", "%s is the name of another gate", name)
		}
		all[name] = g
	})
	return all
}

// validateGateSection checks the names in gates, and the gates of schedules and rules.
func (d *sectionDecoder) validateGateSection(c *Config) {
	for _, name := range slices.Sorted(maps.Keys(c.NamedGates)) {
		g := c.NamedGates[name]
		d.validateReferencedNames("gates."+name, c, "", nil, slices.Concat(g.Open, g.Shut))
	}
	for i := range c.Schedules {
		s, path := &c.Schedules[i], strict.IndexPath("schedules", i)
		d.validateGateNames(path+".gates", c, s.Gates, s.Workloads)
		for j := range s.Windows {
			if len(s.Gates) > 0 && s.Windows[j].Ramp.Steps > 0 {
				d.AddFault(strict.IndexPath(path+".windows", j)+".ramp", "would open gates after its first step: name them in a schedule without a ramp")
			}
		}
	}
	for i := range c.Events.Rules {
		r, path := &c.Events.Rules[i], strict.IndexPath("events.rules", i)
		if _, taken := c.NamedGates[r.Name]; taken && len(r.OnSuccess) > 0 {
			d.AddFault(path+".onSuccess", "makes a gate of the rule's name, and gates has another of that name")
		}
		d.validateGateNames(path+".gates", c, r.Gates, r.ListWorkloads())
	}
}

// validateGateNames checks that the gates of a schedule or rule exist, for the namespaces of its workloads.
func (d *sectionDecoder) validateGateNames(path string, c *Config, gates []string, workloads []hold.Workload) {
	for _, name := range gates {
		g, ok := c.NamedGates[name]
		if !ok {
			d.AddFault(path, "unknown gate %q; the file has %v", name, slices.Sorted(maps.Keys(c.NamedGates)))
			continue
		}
		for _, w := range workloads {
			if !slices.Contains(g.Namespaces, w.Namespace) {
				d.AddFault(path, "gate %s is not for namespace %s", name, w.Namespace)
			}
		}
	}
}

// validateSharedPlaces checks that no two gates change one place in different ways: each would shut it for the other.
func (d *sectionDecoder) validateSharedPlaces(c *Config) {
	paths := map[string]string{}
	for name := range c.NamedGates {
		paths[name] = "gates." + name
	}
	for i := range c.Events.Rules {
		if r := &c.Events.Rules[i]; len(r.OnSuccess) > 0 {
			paths[r.Name] = strict.IndexPath("events.rules", i) + ".onSuccess"
		}
	}
	for _, x := range action.FindConflicts(c.Gates()) {
		if x.Gate == x.Earlier {
			d.AddFault(paths[x.Gate], "changes %s for the holds of several namespaces, which would shut it for each other: write a gate for each", x.Place)
			continue
		}
		d.AddFault(paths[x.Gate], "changes %s, as %s does in another way or for another namespace: each would shut it for the other; "+
			"give both the same actions, or write one gate in the section gates and name it in both", x.Place, paths[x.Earlier])
	}
	addresses := map[string]string{}
	for name, n := range c.Notify {
		addresses[name] = n.URLFile()
	}
	for _, x := range action.FindWebhookConflicts(c.Gates(), addresses) {
		if x.Gate == x.Earlier {
			d.AddFault(paths[x.Gate], "calls %s for the holds of several namespaces, which would shut it for each other: "+
				"write a gate for each, with a notifier and a urlFile of its own", x.Place)
			continue
		}
		d.AddFault(paths[x.Gate], "calls %s, as %s does in another way or for another namespace: each would shut it for the other; "+
			"give both the same actions, or each a notifier and a urlFile of its own", x.Place, paths[x.Earlier])
	}
}

// Gates returns the gates by name: the section gates, and each rule with onSuccess for the Holds of its own namespace.
func (c *Config) Gates() map[string]action.Gate {
	gates := maps.Clone(c.NamedGates)
	if gates == nil {
		gates = map[string]action.Gate{}
	}
	for i := range c.Events.Rules {
		r := &c.Events.Rules[i]
		if len(r.OnSuccess) == 0 {
			continue
		}
		g := action.Gate{Open: r.OnSuccess, Shut: r.OnRelease, Plan: action.Plan{After: r.After}}
		for _, w := range r.Workloads {
			g.Namespaces = append(g.Namespaces, w.Workload.Namespace)
		}
		gates[r.Name] = g
	}
	return gates
}
