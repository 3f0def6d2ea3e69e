package promadapter

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/domain"
)

// importURL stands for the server's address where that is not given.
const importURL = "http://prometheus.example:9090"

// Import returns the configuration in the native format that means the same, with url (empty: a placeholder) as the
// server's address. The notes, which also stand in it as comments, say what has no counterpart, and why; nothing is
// guessed. The error is that nothing at all could be translated.
func Import(cfg *Config, url string) (native []byte, notes []string, err error) {
	if url == "" {
		url = importURL
	}
	im := importer{url: url}
	for i := range cfg.Rules {
		im.rule(&cfg.Rules[i])
	}
	for i := range cfg.ExternalRules {
		im.rule(&cfg.ExternalRules[i])
	}
	im.refuseAmbiguous()
	im.refuseRepeated()
	im.refuseInvalid()
	if cfg.ResourceRules != nil {
		im.add("resourceRules", "metrics.k8s.io is not served by native rules: keep this part in a configuration of prometheus-adapter, "+
			"or have it served from the kubelets")
	}
	native, notes = im.print()
	if !slices.ContainsFunc(im.items, func(i *item) bool { return i.why == "" }) {
		return native, notes, errors.New("no rule has a counterpart in the native format")
	}
	return native, notes, nil
}

// item is a native rule, or why there is none.
type item struct {
	path      string
	why       string
	ambiguous bool // a rule for a single metric would do
	nativeRule
}

// refuse takes the item out. The first reason stays.
func (i *item) refuse(why string, args ...any) {
	if i.why == "" {
		i.why = fmt.Sprintf(why, args...)
	}
}

// nativeRule is a rule as the native format has it.
type nativeRule struct {
	names      names
	resource   string // empty where external
	labels     [][2]string
	namespaced string // empty: the default
	query      string
}

type importer struct {
	url   string
	items []*item
}

func (im *importer) add(path, why string, args ...any) {
	im.items = append(im.items, &item{path: path, why: fmt.Sprintf(why, args...)})
}

// target is a resource that a rule has metrics of, and the labels that name its objects.
type target struct {
	Resource
	label, namespaceLabel string
	namespaced            bool // the request's namespace is a matcher
}

func (im *importer) rule(r *Rule) {
	names, err := namesOf(r)
	if err != nil {
		im.add(r.path, "%v", err)
		return
	}
	for _, t := range im.targets(r) {
		query, err := translate(r, names, t)
		if err != nil {
			im.add(r.path+targetText(t), "%v", err)
			continue
		}
		n := nativeRule{names: names, resource: t.Name, query: query, labels: nativeLabels(t)}
		if !t.namespaced && (t.Name == "" || t.Name != namespaces && t.Name != "nodes") {
			n.namespaced = "none"
		}
		im.items = append(im.items, &item{path: r.path + targetText(t), nativeRule: n})
	}
}

func targetText(t target) string {
	if t.Name == "" {
		return ""
	}
	return " for " + t.Name
}

// targets are the resources of a rule, as far as they can be told without the cluster.
func (im *importer) targets(r *Rule) []target {
	namespaced := r.Resources.Namespaced == nil || *r.Resources.Namespaced
	known := mapping{template: r.compiled.labels, cluster: wellKnown{}}
	for _, o := range r.Resources.Overrides {
		res, err := known.cluster.Resource(o.name())
		if err != nil {
			im.add(r.path, "label %s: %v: write a rule with resource: PLURAL.GROUP and labels: {object: %s}", o.Label, err, o.Label)
			continue
		}
		known.overrides, known.resources = append(known.overrides, o), append(known.resources, res)
	}
	namespaceLabel, err := known.labelOf(namespaces, r.compiled.selector.asserts)
	if err != nil {
		im.add(r.path, "%v", err)
		return nil
	}
	if r.external {
		return []target{{namespaceLabel: namespaceLabel, namespaced: namespaced}}
	}
	var out []target
	for _, res := range im.resources(r, known) {
		label, err := known.labelOf(res.Name, r.compiled.selector.asserts)
		if err != nil {
			im.add(r.path, "%v", err)
			continue
		}
		out = append(out, target{res, label, namespaceLabel, namespaced && res.Namespaced})
	}
	return out
}

// resources are those of the overrides, and with a template those that the native format has words for.
func (im *importer) resources(r *Rule, known mapping) []Resource {
	all := known.resources[:len(known.resources):len(known.resources)]
	if r.compiled.labels != nil {
		im.add(r.path, "resources.template also finds resources other than pods, namespaces and nodes: "+
			"for each that you use write a rule with resource and labels: {object: LABEL}")
		for _, name := range []string{"pods", namespaces, "nodes"} {
			res, _ := wellKnown{}.Resource(name)
			all = append(all, res)
		}
	}
	if len(all) == 0 && len(r.Resources.Overrides) == 0 {
		im.add(r.path, "serves nothing: neither resources.overrides nor resources.template names a label")
	}
	var out []Resource
	for _, res := range all {
		if !slices.Contains(out, res) {
			out = append(out, res)
		}
	}
	return out
}

// nativeLabels are those that are not what the native format takes them for anyway.
func nativeLabels(t target) [][2]string {
	var out [][2]string
	add := func(key, label, usual string) {
		if label != usual {
			out = append(out, [2]string{key, label})
		}
	}
	if t.namespaced {
		add("namespace", t.namespaceLabel, "namespace")
	}
	switch t.Name {
	case "":
	case "pods":
		add("pod", t.label, "pod")
	case namespaces:
		add("namespace", t.label, "namespace")
	case "nodes":
		add("node", t.label, "node")
	default:
		add("object", t.label, "")
	}
	return out
}

// refuseAmbiguous takes out patterns that serve the same names from other series: which of them a name is from only the
// series that there are can tell, and the native format does not ask for these.
func (im *importer) refuseAmbiguous() {
	for i, a := range im.items {
		for _, b := range im.items[:i] {
			if a.names.pattern == nil || b.names.pattern == nil || a.resource != b.resource || !a.names.pattern.meets(*b.names.pattern) {
				continue
			}
			const why = "serves the same names as %s from other series: write a rule for each metric that your HPAs name"
			a.refuse(why, b.path)
			b.refuse(why, a.path)
			a.ambiguous, b.ambiguous = true, true
		}
	}
}

// refuseRepeated keeps the last of several rules for one metric, as prometheus-adapter does where both have series.
func (im *importer) refuseRepeated() {
	for i, a := range im.items {
		for _, b := range im.items[i+1:] {
			if a.why == "" && b.why == "" && a.resource == b.resource && a.names.metric != "" && a.names.metric == b.names.metric {
				a.refuse("%s comes later and has the same metric; if that has no series, take this rule in its place", b.path)
			}
		}
	}
}

// refuseInvalid takes out what the native format itself refuses.
func (im *importer) refuseInvalid() {
	for _, i := range im.items {
		if i.why != "" {
			continue
		}
		_, _, err := rule.Load([]byte(im.head() + "rules:\n" + i.print()))
		if err != nil {
			i.refuse("the native format refuses it: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
}

func (im *importer) head() string {
	return "apiVersion: " + domain.ConfigAPIVersion + "\nkind: " + domain.AdapterConfigKind + "\nbackends:\n- name: prometheus\n  url: " + quoteYAML(im.url) + "\n"
}

func (im *importer) print() (native []byte, notes []string) {
	var b strings.Builder
	b.WriteString("# Made from a configuration of prometheus-adapter.\n" + im.head() + "rules:\n")
	for _, i := range im.items {
		if i.why != "" {
			notes = append(notes, i.path+": "+i.why)
			b.WriteString("# " + oneLine(i.path+": "+i.why) + "\n")
			if i.ambiguous {
				b.WriteString(comment(i.single().print()))
			}
			continue
		}
		b.WriteString("# " + i.path + "\n" + i.print())
	}
	return []byte(b.String()), notes
}

// single is the rule for one metric of a pattern, for a person to fill in.
func (n nativeRule) single() nativeRule {
	n.names = names{metric: n.names.template}
	n.query = strings.ReplaceAll(n.query, "${1}", placeholder)
	return n
}

func comment(lines string) string {
	return "#   " + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n#   ") + "\n"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// print is the rule as an element of a YAML list.
func (n nativeRule) print() string {
	var lines []string
	add := func(key, value string) {
		if value != "" {
			lines = append(lines, key+": "+quoteYAML(value))
		}
	}
	add("metric", n.names.metric)
	add("match", n.names.match)
	add("except", n.names.except)
	if n.resource == "" {
		lines = append(lines, "external: true")
	}
	add("resource", n.resource)
	add("namespaced", n.namespaced)
	if len(n.labels) > 0 {
		var pairs []string
		for _, l := range n.labels {
			pairs = append(pairs, l[0]+": "+quoteYAML(l[1]))
		}
		lines = append(lines, "labels: {"+strings.Join(pairs, ", ")+"}")
	}
	add("backend", "prometheus")
	add("query", n.query)
	return "- " + strings.Join(lines, "\n  ") + "\n"
}

var (
	plainYAML = regexp.MustCompile(`^[a-zA-Z^][-a-zA-Z0-9_.:/+()*^$|]*$`)
	// notText are plain words that YAML takes for something else, or that end like a key.
	notText = regexp.MustCompile(`(?i)^(y|yes|n|no|on|off|true|false|null)$|:$`)
)

// quoteYAML is text as YAML takes it, in quotes only where it must be.
func quoteYAML(s string) string {
	if plainYAML.MatchString(s) && !notText.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// wellKnown are the resources that every cluster has and metrics are made of.
type wellKnown struct{}

var _ Resources = wellKnown{}

// Resource implements Resources.
func (wellKnown) Resource(name string) (Resource, error) {
	for _, r := range []Resource{
		{"pods", "pod", "", true},
		{namespaces, "namespace", "", false},
		{"nodes", "node", "", false},
		{"services", "service", "", true},
		{"persistentvolumes", "persistentvolume", "", false},
		{"persistentvolumeclaims", "persistentvolumeclaim", "", true},
		{"replicationcontrollers", "replicationcontroller", "", true},
		{"deployments.apps", "deployment", "apps", true},
		{"statefulsets.apps", "statefulset", "apps", true},
		{"daemonsets.apps", "daemonset", "apps", true},
		{"replicasets.apps", "replicaset", "apps", true},
		{"jobs.batch", "job", "batch", true},
		{"cronjobs.batch", "cronjob", "batch", true},
		{"ingresses.networking.k8s.io", "ingress", "networking.k8s.io", true},
		{"horizontalpodautoscalers.autoscaling", "horizontalpodautoscaler", "autoscaling", true},
	} {
		plural, _, _ := strings.Cut(r.Name, ".")
		resource, group, _ := strings.Cut(name, ".")
		if (resource == plural || resource == r.Singular) && (group == "" || group == r.Group) {
			return r, nil
		}
	}
	return Resource{}, metric.Errorf(metric.KindNotFound, "%s is no resource that every cluster has", name)
}
