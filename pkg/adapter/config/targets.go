package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/reserved"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Targets are the targets of a rule: the pods behind a Service, or fixed addresses. They are scraped although no autoscaler is in front
// of them, and they alone feed the rule.
type Targets struct {
	// ServiceNamespace and ServiceName name the Service; empty for addresses.
	ServiceNamespace, ServiceName string
	// Port of the pods behind the Service; 0: each pod's own endpoint.
	Port int
	// Path of the pages at Port.
	Path string
	// Addresses are URLs of pages, sorted.
	Addresses []string
}

// Source is a source of a rule's series: a Service, or an address. Its pages have their own namespace in the store.
type Source struct {
	// Namespace is the value of the label namespace. It is no name that Kubernetes allows.
	Namespace string
	// Address is the URL of the page; empty for the pods behind the Service of the Targets.
	Address string
}

// ListSources returns the sources. Equal targets of several rules have equal sources, and are scraped once.
func (t *Targets) ListSources() []Source {
	if t.ServiceName != "" {
		endpoint := ""
		if t.Port != 0 {
			endpoint = fmt.Sprintf(":%d%s", t.Port, t.Path)
		}
		return []Source{{Namespace: "service:" + t.ServiceNamespace + "/" + t.ServiceName + endpoint}}
	}
	sources := make([]Source, len(t.Addresses))
	for i, address := range t.Addresses {
		sources[i] = Source{Namespace: "address:" + address, Address: address}
	}
	return sources
}

// listRuleSourceNamespaces returns the namespaces of the sources, sorted.
func (t *Targets) listRuleSourceNamespaces() []string {
	var namespaces []string
	for _, s := range t.ListSources() {
		namespaces = append(namespaces, s.Namespace)
	}
	return namespaces
}

// The bounds of targets.
const (
	maxTargetAddresses = 64
	defaultTargetPath  = "/metrics"
)

// decodeRuleTargets decodes the targets of a rule.
func (d *adapterConfigDecoder) decodeRuleTargets(path string, n *yaml.Node) *Targets {
	t, service := &Targets{}, ""
	before := len(d.Faults)
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"service":   d.Text(&service),
		"port":      d.Integer(&t.Port, 1, 65535),
		"path":      d.Text(&t.Path),
		"addresses": func(path string, n *yaml.Node) { t.Addresses = d.DecodeTexts(path, n) },
	})
	if len(d.Faults) > before {
		return t
	}
	hasService, hasAddresses := d.HasKey(path+".service"), d.HasKey(path+".addresses")
	switch {
	case hasService == hasAddresses:
		d.AddFaultAtLine(path, n.Line, "must have service: NAMESPACE/NAME, or addresses: a list of URLs; one of the two")
	case hasService:
		d.setRuleTargetService(path, t, service)
	default:
		d.validateTargetAddresses(path, t)
	}
	return t
}

func (d *adapterConfigDecoder) setRuleTargetService(path string, t *Targets, service string) {
	namespace, name, _ := strings.Cut(service, "/")
	if !namespaceNameRegexp.MatchString(namespace) || !namespaceNameRegexp.MatchString(name) {
		d.AddFault(path+".service", "%s is not the name of a Service; write NAMESPACE/NAME", strict.Quote(service))
		return
	}
	t.ServiceNamespace, t.ServiceName = namespace, name
	switch {
	case t.Path == "" && t.Port != 0:
		t.Path = defaultTargetPath
	case t.Path == "":
	case t.Port == 0:
		d.AddFault(path+".path", "needs port; without a port each pod's own endpoint is scraped, with its own path")
	case !isRuleTargetPath(t.Path):
		d.AddFault(path+".path", "%s is not a path; write /metrics, with a query behind ? if needed", strict.Quote(t.Path))
	}
}

// isRuleTargetPath reports whether a text is a path, with or without a query, and nothing else of a URL.
func isRuleTargetPath(text string) bool {
	u, err := url.ParseRequestURI(text)
	return err == nil && strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//") && u.Host == "" && !strings.Contains(text, "#")
}

// validateTargetAddresses checks and sorts the addresses of targets.
func (d *adapterConfigDecoder) validateTargetAddresses(path string, t *Targets) {
	if d.HasKey(path+".port") || d.HasKey(path+".path") {
		d.AddFault(path, "port and path belong to service; an address has its own, such as http://10.0.0.5:9419/metrics")
		return
	}
	if len(t.Addresses) == 0 || len(t.Addresses) > maxTargetAddresses {
		d.AddFault(path+".addresses", "must have 1 to %d URLs, not %d", maxTargetAddresses, len(t.Addresses))
		return
	}
	for i, address := range t.Addresses {
		at := fmt.Sprintf("%s.addresses[%d]", path, i)
		if fault := findTargetAddressFault(address); fault != "" {
			d.AddFault(at, "%s", fault)
		} else if slices.Contains(t.Addresses[:i], address) {
			d.AddFault(at, "is there twice; remove one of the two")
		}
	}
	slices.Sort(t.Addresses)
}

// findTargetAddressFault returns the fault of an address; empty: none. An address has an IP and a port, because a name could lead to
// another place at each scrape.
func findTargetAddressFault(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Fragment != "" || u.Path == "" || u.Opaque != "" {
		return "must be http://IP:PORT/PATH or https://IP:PORT/PATH"
	}
	if u.User != nil {
		return "must not contain credentials, because logs show it"
	}
	at, err := netip.ParseAddrPort(u.Host)
	if err != nil || at.Port() == 0 {
		return "must have an IP address and a port: http://IP:PORT/PATH; for a name write service: NAMESPACE/NAME"
	}
	if kind := reserved.Classify(at.Addr()); kind != "" {
		return fmt.Sprintf("%s is a %s address; such an address is never scraped", at.Addr(), kind)
	}
	return ""
}

// validateRuleTargets checks the targets of a rule against its other keys.
func (v *configValidator) validateRuleTargets(r *Rule, path string) {
	at := path + ".targets"
	switch {
	case r.Targets == nil:
	case r.Backend != ScrapeBackend:
		v.AddFault(at, "has no effect with backend %s, which scrapes by itself; remove targets or backend", strict.Quote(r.Backend))
	case !r.External && (r.Resource == "pods" || r.Resource == "namespaces" || r.Resource == "nodes"):
		v.AddFault(at, "needs external: true, or a resource of objects such as services; a metric of %s comes from their own pods", r.Resource)
	case !r.External:
		v.validateTargetObjects(r, path)
	}
	switch {
	case r.Targets == nil:
	case v.HasKey(path + ".from"):
		v.AddFault(at, "has its own source, so that from has no effect; remove from or targets")
	case r.Namespaced != nil && *r.Namespaced:
		v.AddFault(path+".namespaced", "targets are in no namespace of a request; remove namespaced or targets")
	}
}

// validateTargetObjects checks the labels by which a rule with targets finds the series of an object.
func (v *configValidator) validateTargetObjects(r *Rule, path string) {
	at, scraped := path+".labels", DefaultLabels()
	if !v.HasKey(at+".object") || !v.HasKey(at+".namespace") {
		v.AddFault(at, "targets of a metric of %s need {object: LABEL, namespace: LABEL}, the labels of the page's series that name an object and its namespace", r.Resource)
		return
	}
	for key, label := range map[string]string{".object": r.Labels.Object, ".namespace": r.Labels.Namespace} {
		if label == scraped.Namespace || label == scraped.Pod || label == scraped.Node {
			v.AddFault(at+key, "%s names the target itself; write exported_%s for the page's own label", label, label)
		}
	}
	if v.HasKey(at+".pod") || v.HasKey(at+".node") {
		v.AddFault(at, "pod and node have no effect with targets; remove them")
	}
}
