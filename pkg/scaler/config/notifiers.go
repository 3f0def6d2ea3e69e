package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// decodeNotifier adds a notifier to all. It rejects a name that no Hold can have.
func (d *sectionDecoder) decodeNotifier(all map[string]notify.SenderConfig, name, path string, n *yaml.Node) {
	if !hold.IsNotifierName(name) { // a path with the name would show a URL
		d.AddFaultAtLine("notify", n.Line, "%s is no name of a notifier: a Hold names it, with 1 to %d characters without / and :", strict.Quote(name), hold.MaxNotifierName)
		return
	}
	all[name] = notify.Decode(d.Decoder, path, n)
}

// NotifierFault returns why no Hold of a namespace may use a notifier; empty: Holds may use it. A notifier is for its own namespaces, and for those
// in which a schedule, a rule or the surge lane names it.
func (c *Config) NotifierFault(namespace, notifier string) string {
	n, ok := c.Notify[notifier]
	switch {
	case !ok:
		return fmt.Sprintf("notifier %s is not in the scaler's configuration", notifier)
	case !slices.Contains(n.Namespaces(), namespace) && !slices.Contains(c.notified[notifier], namespace):
		return fmt.Sprintf("notifier %s is not allowed for namespace %s in the scaler's configuration", notifier, namespace)
	}
	return ""
}

// listNotifiedNamespaces returns the namespaces in which the configuration itself names a notifier, by notifier.
func (c *Config) listNotifiedNamespaces() map[string][]string {
	all := map[string][]string{}
	add := func(notifiers []string, namespace string) {
		for _, name := range notifiers {
			all[name] = append(all[name], namespace)
		}
	}
	for i := range c.Schedules {
		for _, w := range c.Schedules[i].Workloads {
			add(c.Schedules[i].Notify, w.Namespace)
		}
	}
	for i := range c.Events.Rules {
		for _, w := range c.Events.Rules[i].Workloads {
			add(c.Events.Rules[i].Notify, w.Workload.Namespace)
		}
	}
	for _, namespace := range c.Namespaces { // an annotation of an autoscaler puts it into the surge lane
		add(c.Surge.Notify, namespace)
	}
	return all
}
