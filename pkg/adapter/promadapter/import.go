// The translation of a configuration into the native format.

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

// placeholderURL is the server's address if the caller gives none.
const placeholderURL = "http://prometheus.example:9090"

// Import translates a configuration to the native format, with url (empty: a placeholder) as the server's address. It guesses
// nothing: the notes name each rule without a counterpart, with the reason, and also appear as comments in native. The error
// means that no rule has a counterpart.
func Import(cfg *Config, url string) (native []byte, notes []string, err error) {
	if url == "" {
		url = placeholderURL
	}
	im := ruleImporter{url: url}
	for i := range cfg.Rules {
		im.importSeriesRule(&cfg.Rules[i])
	}
	for i := range cfg.ExternalRules {
		im.importSeriesRule(&cfg.ExternalRules[i])
	}
	im.rejectAmbiguousPatterns()
	im.rejectRepeatedImports()
	im.rejectInvalidImports()
	if cfg.ResourceRules != nil {
		im.addRejectedImport("resourceRules", "native rules cannot serve metrics.k8s.io; keep this part in a configuration of prometheus-adapter, "+
			"or serve it from the kubelets")
	}
	native, notes = im.formatNativeConfig()
	if !slices.ContainsFunc(im.rules, func(i *importedRule) bool { return i.reason == "" }) {
		return native, notes, errors.New("no rule has a counterpart in the native format")
	}
	return native, notes, nil
}

// importedRule is a native rule, or the reason why the rule has no counterpart.
type importedRule struct {
	path      string
	reason    string
	ambiguous bool // a native rule for a single metric is possible
	nativeRule
}

// rejectImportedRule sets the reason why the rule has no counterpart. The first reason stays.
func (i *importedRule) rejectImportedRule(reason string, args ...any) {
	if i.reason == "" {
		i.reason = fmt.Sprintf(reason, args...)
	}
}

// nativeRule is a rule in the native format.
type nativeRule struct {
	names    nativeNames
	resource string // empty if external
	labels   [][2]string
	from     string // empty: the default
	query    string
}

type ruleImporter struct {
	url   string
	rules []*importedRule
}

func (im *ruleImporter) addRejectedImport(path, reason string, args ...any) {
	im.rules = append(im.rules, &importedRule{path: path, reason: fmt.Sprintf(reason, args...)})
}

// mappedResource is a resource of a rule's metrics, with the labels that identify its objects.
type mappedResource struct {
	Resource
	objectLabel, namespaceLabel string
	namespaced                  bool // queries match the namespace of the request
}

func (im *ruleImporter) importSeriesRule(r *SeriesRule) {
	if !r.compiled.selectsSeries() {
		im.addRejectedImport(r.path, "seriesQuery: %s", r.compiled.report.Faults[0].Message)
		return
	}
	names, err := invertNameMapping(r)
	if err != nil {
		im.addRejectedImport(r.path, "%v", err)
		return
	}
	for _, t := range im.mapSeriesRuleResources(r) {
		query, err := translateQueryTemplate(r, names, t)
		if err != nil {
			im.addRejectedImport(r.path+formatResourceSuffix(t), "%v", err)
			continue
		}
		n := nativeRule{names: names, resource: t.Name, query: query, labels: listNonDefaultSeriesLabels(t)}
		if !t.namespaced && (t.Name == "" || t.Name != namespacesResource && t.Name != "nodes") {
			n.from = "all" // as the queries of prometheus-adapter
		}
		im.rules = append(im.rules, &importedRule{path: r.path + formatResourceSuffix(t), nativeRule: n})
	}
}

func formatResourceSuffix(t mappedResource) string {
	if t.Name == "" {
		return ""
	}
	return " for " + t.Name
}

// mapSeriesRuleResources returns the resources of a rule that are known without a cluster, and rejects the others.
func (im *ruleImporter) mapSeriesRuleResources(r *SeriesRule) []mappedResource {
	known := resolvedMapping{template: r.compiled.labelTemplate, cluster: commonResources{}}
	for _, o := range r.Resources.Overrides {
		res, err := known.cluster.LookupResource(o.overriddenResource())
		if err != nil {
			im.addRejectedImport(r.path, "label %s: %v; write a rule with resource: PLURAL.GROUP and labels: {object: %s}", o.Label, err, o.Label)
			continue
		}
		known.overrides, known.resources = append(known.overrides, o), append(known.resources, res)
	}
	namespaceLabel, err := known.findResourceLabel(namespacesResource, r.compiled.selector.assertsSeriesLabel)
	if err != nil {
		im.addRejectedImport(r.path, "%v", err)
		return nil
	}
	if r.external {
		return []mappedResource{{namespaceLabel: namespaceLabel, namespaced: r.isNamespacedSeriesRule(Resource{})}}
	}
	var out []mappedResource
	for _, res := range im.collectMappedResources(r, known) {
		label, err := known.findResourceLabel(res.Name, r.compiled.selector.assertsSeriesLabel)
		if err != nil {
			im.addRejectedImport(r.path, "%v", err)
			continue
		}
		out = append(out, mappedResource{res, label, namespaceLabel, r.isNamespacedSeriesRule(res)})
	}
	return out
}

// collectMappedResources returns the resources of the overrides. A template adds pods, namespaces and nodes, which have labels of their
// own in the native format.
func (im *ruleImporter) collectMappedResources(r *SeriesRule, known resolvedMapping) []Resource {
	all := known.resources[:len(known.resources):len(known.resources)]
	if r.compiled.labelTemplate != nil {
		im.addRejectedImport(r.path, "resources.template also finds resources other than pods, namespaces and nodes; "+
			"write a rule with resource and labels: {object: LABEL} for each that you use")
		for _, name := range []string{"pods", namespacesResource, "nodes"} {
			res, _ := commonResources{}.LookupResource(name)
			all = append(all, res)
		}
	}
	if len(all) == 0 && len(r.Resources.Overrides) == 0 {
		im.addRejectedImport(r.path, "serves no metric: neither resources.overrides nor resources.template names a label")
	}
	var out []Resource
	for _, res := range all {
		if !slices.Contains(out, res) {
			out = append(out, res)
		}
	}
	return out
}

// listNonDefaultSeriesLabels returns the keys and values of labels that differ from the native defaults.
func listNonDefaultSeriesLabels(t mappedResource) [][2]string {
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
		add("pod", t.objectLabel, "pod")
	case namespacesResource:
		add("namespace", t.objectLabel, "namespace")
	case "nodes":
		add("node", t.objectLabel, "node")
	default:
		add("object", t.objectLabel, "")
	}
	return out
}

// rejectAmbiguousPatterns rejects patterns that serve the same metric names from different series. Only the series on the server tell
// which pattern a name belongs to, and the native format does not list series.
func (im *ruleImporter) rejectAmbiguousPatterns() {
	for i, a := range im.rules {
		for _, b := range im.rules[:i] {
			if a.names.pattern == nil || b.names.pattern == nil || a.resource != b.resource || !a.names.pattern.canOverlapAffix(*b.names.pattern) {
				continue
			}
			const reason = "serves the same names as %s from other series; write a rule for each metric that your HPAs use"
			a.rejectImportedRule(reason, b.path)
			b.rejectImportedRule(reason, a.path)
			a.ambiguous, b.ambiguous = true, true
		}
	}
}

// rejectRepeatedImports keeps the last of several rules for a metric, like prometheus-adapter if all of them have series.
func (im *ruleImporter) rejectRepeatedImports() {
	for i, a := range im.rules {
		for _, b := range im.rules[i+1:] {
			if a.reason == "" && b.reason == "" && a.resource == b.resource && a.names.metric != "" && a.names.metric == b.names.metric {
				a.rejectImportedRule("%s comes later and serves the same metric; if it has no series, use this rule instead", b.path)
			}
		}
	}
}

// rejectInvalidImports rejects rules that package rule rejects.
func (im *ruleImporter) rejectInvalidImports() {
	for _, i := range im.rules {
		if i.reason != "" {
			continue
		}
		_, _, err := rule.Load([]byte(im.formatImportHeader() + "rules:\n" + i.formatNativeRule()))
		if err != nil {
			i.rejectImportedRule("the native format rejects it: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
}

func (im *ruleImporter) formatImportHeader() string {
	return "apiVersion: " + domain.ConfigAPIVersion + "\nkind: " + domain.AdapterConfigKind + "\nbackends:\n- name: prometheus\n  url: " + quoteImportedYAML(im.url) + "\n"
}

func (im *ruleImporter) formatNativeConfig() (native []byte, notes []string) {
	var b strings.Builder
	b.WriteString("# Made from a configuration of prometheus-adapter.\n" + im.formatImportHeader() + "rules:\n")
	for _, i := range im.rules {
		if i.reason != "" {
			notes = append(notes, i.path+": "+i.reason)
			b.WriteString("# " + joinYAMLLines(i.path+": "+i.reason) + "\n")
			if i.ambiguous {
				b.WriteString(commentOutImportedYAML(i.narrowToSingleMetric().formatNativeRule()))
			}
			continue
		}
		b.WriteString("# " + i.path + "\n" + i.formatNativeRule())
	}
	return []byte(b.String()), notes
}

// narrowToSingleMetric returns the rule for a single metric of a pattern, with a placeholder for a person to fill in.
func (n nativeRule) narrowToSingleMetric() nativeRule {
	n.names = nativeNames{metric: n.names.template}
	n.query = strings.ReplaceAll(n.query, "${1}", namePlaceholder)
	return n
}

func commentOutImportedYAML(lines string) string {
	return "#   " + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n#   ") + "\n"
}

func joinYAMLLines(s string) string { return strings.Join(strings.Fields(s), " ") }

// formatNativeRule returns the rule as an element of a YAML list.
func (n nativeRule) formatNativeRule() string {
	var lines []string
	add := func(key, value string) {
		if value != "" {
			lines = append(lines, key+": "+quoteImportedYAML(value))
		}
	}
	add("metric", n.names.metric)
	add("match", n.names.match)
	add("except", n.names.except)
	if n.resource == "" {
		lines = append(lines, "external: true")
	}
	add("resource", n.resource)
	add("from", n.from)
	if len(n.labels) > 0 {
		var pairs []string
		for _, l := range n.labels {
			pairs = append(pairs, l[0]+": "+quoteImportedYAML(l[1]))
		}
		lines = append(lines, "labels: {"+strings.Join(pairs, ", ")+"}")
	}
	add("backend", "prometheus")
	add("query", n.query)
	if n.resource == "pods" && rule.NeedsAggregate(n.query) {
		add("aggregate", "max") // prometheus-adapter serves such a rule to pods alone
	}
	return "- " + strings.Join(lines, "\n  ") + "\n"
}

var (
	plainYAMLRegexp = regexp.MustCompile(`^[a-zA-Z^][-a-zA-Z0-9_.:/+()*^$|]*$`)
	// nonTextRegexp matches plain words that YAML does not read as text, or that end like a key.
	nonTextRegexp = regexp.MustCompile(`(?i)^(y|yes|n|no|on|off|true|false|null)$|:$`)
)

// quoteImportedYAML returns text as YAML, quoted only if necessary.
func quoteImportedYAML(s string) string {
	if plainYAMLRegexp.MatchString(s) && !nonTextRegexp.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// commonResources looks up resources that every cluster has. An import knows no others.
type commonResources struct{}

var _ ResourceLookup = commonResources{}

// LookupResource implements ResourceLookup.
func (commonResources) LookupResource(name string) (Resource, error) {
	resource, group, _ := strings.Cut(strings.ToLower(name), ".") // as the lookup of a cluster
	for _, r := range wellKnownResources {
		plural, _, _ := strings.Cut(r.Name, ".")
		if (resource == plural || resource == r.Singular) && (group == "" || group == r.Group) {
			return r, nil
		}
	}
	return Resource{}, metric.Errorf(metric.KindNotFound, "%s is not a resource of every cluster", name)
}

// wellKnownResources are the resources of every cluster that metrics are about.
var wellKnownResources = []Resource{
	{"pods", "pod", "", true},
	{namespacesResource, "namespace", "", false},
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
}
