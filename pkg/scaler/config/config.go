// Package config loads the scaler's configuration from the sections that other packages decode: strictly, and with every fault in the
// error.
package config

import (
	"maps"
	"net/http"
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Config is a configuration of the scaler. Load returns it complete and valid; only InheritFrom changes it.
type Config struct {
	// Namespaces are searched for held workloads: the namespaces of the file, and of all workloads in it.
	Namespaces []string
	// Notify holds the notifiers, by name.
	Notify map[string]notify.SenderConfig
	// Verifications holds the verifications of new pods, by name.
	Verifications map[string]verify.Spec
	// NamedGates holds the gates of the section gates, by name; Gates has the gates of rules too.
	NamedGates map[string]action.Gate
	Schedules  []schedule.Schedule
	Events     event.Config
	Surge      surge.Config
	// notified are the namespaces in which schedules, rules and the surge lane name a notifier, by notifier.
	notified map[string][]string
}

// Load reads a configuration. Its error is strict.Faults, with every fault.
func Load(data []byte) (*Config, error) {
	d := &sectionDecoder{strict.NewDecoder()}
	c := &Config{Notify: map[string]notify.SenderConfig{}, Verifications: map[string]verify.Spec{}}
	d.DecodeFile(data, domain.ScalerConfigKind, map[string]strict.FieldDecoder{
		"namespaces": func(path string, n *yaml.Node) { c.Namespaces = d.DecodeTexts(path, n) },
		"notify": func(path string, n *yaml.Node) {
			d.decodeNamedEntries(path, n, func(name, path string, n *yaml.Node) { d.decodeNotifier(c.Notify, name, path, n) })
		},
		"verifications": func(path string, n *yaml.Node) {
			d.decodeNamedEntries(path, n, func(name, path string, n *yaml.Node) { c.Verifications[name] = verify.Decode(d.Decoder, path, n) })
		},
		"gates":     func(path string, n *yaml.Node) { c.NamedGates = d.decodeGateSection(path, n) },
		"schedules": func(path string, n *yaml.Node) { c.Schedules = schedule.DecodeAll(d.Decoder, path, n) },
		"events":    func(path string, n *yaml.Node) { c.Events = event.Decode(d.Decoder, path, n) },
		"surge":     func(path string, n *yaml.Node) { c.Surge = surge.Decode(d.Decoder, path, n) },
	})
	d.validateReferences(c)
	d.validateGateSection(c)
	if d.Faults.Err() == nil {
		d.validateSharedPlaces(c)
	}
	if err := d.Faults.Err(); err != nil {
		return nil, err
	}
	c.addWorkloadNamespaces()
	c.notified = c.listNotifiedNamespaces()
	return c, nil
}

// sectionDecoder decodes the sections of a configuration.
type sectionDecoder struct{ *strict.Decoder }

// decodeNamedEntries calls each for every entry of a mapping with user-defined keys.
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

// validateReferences checks that schedules and rules name existing verifications and notifiers.
func (d *sectionDecoder) validateReferences(c *Config) {
	for i := range c.Schedules {
		s := &c.Schedules[i]
		path := strict.IndexPath("schedules", i)
		d.validateReferencedNames(path, c, s.Verify, s.Notify, nil)
		if n := len(s.Gates); n > hold.MaxGates {
			d.AddFault(path+".gates", "has %d elements; the maximum of a Hold is %d", n, hold.MaxGates)
		}
	}
	for i := range c.Events.Rules {
		r := &c.Events.Rules[i]
		if len(r.OnSuccess) > 0 && len(r.OnRelease) == 0 {
			d.AddFault(strict.IndexPath("events.rules", i)+".onSuccess", "needs onRelease: nothing would shut what it opens")
		}
		if n := r.CountGates(); n > hold.MaxGates {
			d.AddFault(strict.IndexPath("events.rules", i)+".gates", "makes Holds with %d gates, onSuccess included; the maximum is %d", n, hold.MaxGates)
		}
		d.validateReferencedNames(strict.IndexPath("events.rules", i), c, r.Verify, r.Notify, slices.Concat(r.OnSuccess, r.OnRelease))
	}
	d.validateReferencedNames("surge", c, "", c.Surge.Notify, nil)
}

// validateReferencedNames checks the names in a schedule or rule.
func (d *sectionDecoder) validateReferencedNames(path string, c *Config, verification string, notifiers []string, actions []action.Action) {
	if _, ok := c.Verifications[verification]; !ok && verification != "" {
		d.AddFault(path+".verify", "unknown verification %s; the file has %v", strict.Quote(verification), slices.Sorted(maps.Keys(c.Verifications)))
	}
	if len(notifiers) > hold.MaxNotifiers {
		d.AddFault(path+".notify", "has %d elements; the maximum of a Hold is %d", len(notifiers), hold.MaxNotifiers)
	}
	for _, name := range notifiers {
		if _, ok := c.Notify[name]; !ok {
			d.AddFault(path+".notify", "unknown notifier %s; the file has %v", strict.Quote(name), slices.Sorted(maps.Keys(c.Notify)))
		}
	}
	for _, a := range actions {
		if _, ok := c.Notify[a.Webhook]; a.Webhook != "" && !ok {
			d.AddFault(path, "webhook %s is not in notify; the file has %v", strict.Quote(a.Webhook), slices.Sorted(maps.Keys(c.Notify)))
		}
	}
}

// addWorkloadNamespaces adds the namespaces of all workloads in the configuration.
func (c *Config) addWorkloadNamespaces() {
	for _, t := range c.listNamedWorkloads() {
		c.Namespaces = append(c.Namespaces, t.Namespace)
	}
	for _, r := range c.Surge.Autoscalers {
		c.Namespaces = append(c.Namespaces, r.Namespace)
	}
	slices.Sort(c.Namespaces)
	c.Namespaces = slices.Compact(c.Namespaces)
}

// InheritFrom adds the namespaces of the previous configuration to the search for held workloads. The controller so finishes
// and releases holds on workloads that the new configuration no longer has, and tells their notifiers.
func (c *Config) InheritFrom(before *Config) {
	c.Namespaces = append(c.Namespaces, before.Namespaces...)
	c.addWorkloadNamespaces()
	for name, namespaces := range before.notified {
		c.notified[name] = append(c.notified[name], namespaces...)
	}
}

// listNamedWorkloads returns the workloads of all schedules and rules.
func (c *Config) listNamedWorkloads() (all []hold.Workload) {
	for i := range c.Schedules {
		all = append(all, c.Schedules[i].Workloads...)
	}
	for i := range c.Events.Rules {
		all = append(all, c.Events.Rules[i].ListWorkloads()...)
	}
	return all
}

// NewSenders returns a sender for each notifier, by name.
func (c *Config) NewSenders() map[string]notify.Sender {
	senders := map[string]notify.Sender{}
	for name, n := range c.Notify {
		senders[name] = n.NewSender(notify.SenderOptions{})
	}
	return senders
}

// WebhookClient returns a client for the webhooks of actions. It reaches the loopback and link-local addresses that a notifier allows, and no
// others.
func (c *Config) WebhookClient() *http.Client {
	var allowed []netip.Prefix
	for _, name := range slices.Sorted(maps.Keys(c.Notify)) {
		allowed = append(allowed, c.Notify[name].AllowedAddresses()...)
	}
	return webhook.NewGuardedClient(allowed)
}

// Notes returns warnings about a valid configuration.
func (c *Config) Notes() []string { return c.Events.Notes() }

// WebhookURLs returns a function for each notifier, by name, that reads the URL which an action may call.
func (c *Config) WebhookURLs() map[string]func() (string, error) {
	urls := map[string]func() (string, error){}
	for name, n := range c.Notify {
		urls[name] = n.ReadURL
	}
	return urls
}
