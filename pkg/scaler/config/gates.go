package config

import (
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
)

// Gates returns the gates by name. A rule with onSuccess is the gate of its own name, for the holds of its own namespace.
func (c *Config) Gates() map[string]action.Gate {
	gates := map[string]action.Gate{}
	for i := range c.Events.Rules {
		r := &c.Events.Rules[i]
		if len(r.OnSuccess) == 0 {
			continue
		}
		g := action.Gate{Open: r.OnSuccess, Shut: r.OnRelease}
		for _, w := range r.Workloads {
			g.Namespaces = append(g.Namespaces, w.Workload.Namespace)
		}
		gates[r.Name] = g
	}
	return gates
}
