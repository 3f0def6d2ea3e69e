// This file makes targets of the Services and addresses that rules name.

package discovery

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// RuleTarget is a source of series that the configuration names: the pods behind a Service, or an address. Its pages are stored in a
// namespace of its own, so that no pod of a tenant can feed it, and so that a rule that reads a pod for itself counts it once.
type RuleTarget struct {
	// Source is the namespace of its series. It is no name that Kubernetes allows.
	Source string
	// Service is the Service; empty for an address.
	Service metric.Object
	// Port of the pods behind the Service; 0: each pod's own endpoint. Path is for this port, and may have a query.
	Port int
	Path string
	// Address is the URL of a page.
	Address string
}

// ruleTargetService returns the key of the Service of a target, and false for an address.
func (t RuleTarget) ruleTargetService() (objectKey, bool) {
	return objectKey{schema.GroupResource{Resource: "services"}, t.Service.Namespace, t.Service.Name}, t.Address == ""
}

// SetRuleTargets replaces the targets that rules name.
func (d *Discovery) SetRuleTargets(targets []RuleTarget) {
	d.ruleTargets.Store(&targets)
	d.requestDemandReplan()
}

// listRuleTargets returns the targets that rules name.
func (d *Discovery) listRuleTargets() []RuleTarget {
	if targets := d.ruleTargets.Load(); targets != nil {
		return *targets
	}
	return nil
}

// updateRuleTargets brings the table's pods of the sources up to date. A pod behind a Service is a pod of the source too.
func (c *targetPlanLoop) updateRuleTargets(now time.Time) {
	targets := c.listRuleTargets()
	if len(targets) == 0 && !c.hasRuleTargets {
		return
	}
	c.hasRuleTargets = len(targets) > 0
	var pods []*storedPod
	for _, t := range targets {
		pods = append(pods, c.listRuleTargetPods(t)...)
	}
	c.pods.replaceRuleTargetPods(pods, now)
}

// listRuleTargetPods returns the pods of a source. While they are not known, a pod without an endpoint stands for them: nothing is
// proved then.
func (c *targetPlanLoop) listRuleTargetPods(t RuleTarget) (pods []*storedPod) {
	key, isService := t.ruleTargetService()
	if !isService {
		return []*storedPod{c.endpoints.newAddressTarget(t)}
	}
	resolved := c.selectors.peekSelector(key)
	if resolved.selector == nil {
		return []*storedPod{newUnknownRuleTarget(t, cmp.Or(resolved.err, errServiceUnread))}
	}
	c.pods.visitStoredPods(podScope{namespace: t.Service.Namespace, selector: resolved.selector}, func(p *storedPod) {
		pods = append(pods, c.endpoints.newServiceTarget(t, p))
	})
	return pods
}

var errServiceUnread = metric.Errorf(metric.KindUnavailable, "the Service has not been read yet")

// newRuleTargetPod returns a live pod of a source.
func newRuleTargetPod(t RuleTarget, name string) *storedPod {
	return &storedPod{
		Pod:       Pod{Namespace: t.Source, Name: name, UID: t.Source + "/" + name, Live: true, Ready: true},
		annotated: true, ofRule: true,
	}
}

// newUnknownRuleTarget returns a pod in place of the pods behind a Service that is not known.
func newUnknownRuleTarget(t RuleTarget, err error) *storedPod {
	p := newRuleTargetPod(t, "unknown")
	p.skipReason = err.Error()
	return p
}

func (e endpointPolicy) newAddressTarget(t RuleTarget) *storedPod {
	p := newRuleTargetPod(t, "page")
	u, err := url.Parse(t.Address)
	if err == nil {
		p.Name = u.Host
		p.UID = t.Source
		err = e.validateRuleTargetAddress(u.Host)
	}
	if err != nil {
		p.skipReason = err.Error()
		return p
	}
	p.url = u.String()
	return p
}

// validateRuleTargetAddress returns an error for an address and port at which no page is scraped.
func (e endpointPolicy) validateRuleTargetAddress(host string) error {
	at, err := netip.ParseAddrPort(host)
	if err != nil {
		return fmt.Errorf("address %q is not IP:PORT", host)
	}
	if err := e.validatePodAddress(at.Addr().String()); err != nil {
		return err
	}
	return e.validateNodePort(int32(at.Port()))
}

// validateNodePort returns an error for a port of Kubernetes's own services on a node.
func (e endpointPolicy) validateNodePort(port int32) error {
	if slices.Contains(nodePorts, port) && !e.allowHostNetwork {
		return fmt.Errorf("port %d belongs to a service of the node: --allow-host-network permits it", port)
	}
	return nil
}

// newServiceTarget returns the pod of a source for a pod behind its Service.
func (e endpointPolicy) newServiceTarget(t RuleTarget, p *storedPod) *storedPod {
	q := &storedPod{Pod: p.Pod, url: p.url, skipReason: p.skipReason, hostNetwork: p.hostNetwork, annotated: true, ofRule: true}
	q.Namespace, q.Node, q.UID = t.Source, "", t.Source+"/"+p.UID
	if q.Omission.Reason != "" {
		q.Omission.Object = q.Object()
	}
	if t.Port == 0 {
		return q
	}
	q.url, q.skipReason = "", ""
	if p.ip == "" {
		return q
	}
	if err := e.validateServiceTarget(p); err != nil {
		q.skipReason = err.Error()
		return q
	}
	q.url = podpage.NewURL("http", p.ip, t.Port, t.Path).String()
	return q
}

// validateServiceTarget returns an error for a pod that is not scraped at the port of the target.
func (e endpointPolicy) validateServiceTarget(p *storedPod) error {
	if p.hostNetwork && !e.allowHostNetwork {
		return fmt.Errorf("it is on the node's network: remove targets.port and annotate %s, or permit it by --allow-host-network", podpage.AnnotationPort)
	}
	return e.validatePodAddress(p.ip)
}

// replaceRuleTargetPods makes pods the whole content of the sources.
func (t *watchedPodTable) replaceRuleTargetPods(pods []*storedPod, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keep := make(map[metric.Object]struct{}, len(pods))
	for _, p := range pods {
		keep[p.storedPodKey()] = struct{}{}
		t.insertStoredPod(p, now)
		t.ruleTargets[p.storedPodKey()] = struct{}{}
	}
	for key := range t.ruleTargets {
		if _, ok := keep[key]; !ok {
			t.removeStoredPod(key, now)
			delete(t.ruleTargets, key)
		}
	}
}
