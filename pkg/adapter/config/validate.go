package config

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// configValidator checks values against each other. It skips values with a fault of their own.
type configValidator struct {
	*adapterConfigDecoder
	config *Config
}

func (v *configValidator) validateConfig() {
	s := v.config.Scrape
	if s.Timeout > s.Interval {
		v.AddFault("scrape.timeout", "%s is longer than scrape.interval %s; scrapes of a target must not overlap",
			strict.FormatDuration(s.Timeout), strict.FormatDuration(s.Interval))
	}
	if v.config.MaxAge < s.Interval {
		v.AddFault("maxAge", "%s is shorter than scrape.interval %s; values would expire between scrapes",
			strict.FormatDuration(v.config.MaxAge), strict.FormatDuration(s.Interval))
	}
	if minimum := minAutoIntervals * s.Interval; v.config.MaxWindow < minimum {
		v.AddFault("maxWindow", "%s is shorter than %d scrape intervals (%s), the minimum for window: auto",
			strict.FormatDuration(v.config.MaxWindow), minAutoIntervals, strict.FormatDuration(minimum))
	}
	for i := range v.config.Backends {
		v.validateBackendConfig(i)
	}
	for i := range v.config.Rules {
		v.validateRuleConfig(i)
	}
	v.rejectDuplicateRules()
}

const (
	// minAutoIntervals is the minimum of maxWindow, in scrape intervals. The shortest window of auto has about two.
	minAutoIntervals = 3
	// minRateIntervals is the minimum of a window, in scrape intervals. A shorter window has too few samples for a rate.
	minRateIntervals = 2
)

var backendNameRegexp = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (v *configValidator) validateBackendConfig(i int) {
	b, path := v.config.Backends[i], fmt.Sprintf("backends[%d]", i)
	switch {
	case b.Name == "":
		v.requireConfigKey(path+".name", "")
	case b.Name == ScrapeBackend:
		v.AddFault(path+".name", "%s is the name of the embedded backend; choose another name", ScrapeBackend)
	case !backendNameRegexp.MatchString(b.Name):
		v.AddFault(path+".name", "%s is not a backend name; use at most 63 lower-case letters, digits and -", strict.Quote(b.Name))
	}
	for j, other := range v.config.Backends[:i] {
		if b.Name != "" && other.Name == b.Name {
			v.AddFault(path+".name", "backends[%[2]d] already has the name %[1]s; choose another name", b.Name, j)
			break
		}
	}
	if b.URL == "" {
		v.requireConfigKey(path+".url", "")
	} else {
		v.validateBackendURL(path+".url", b.URL)
	}
	for j, address := range b.Failover {
		v.validateBackendURL(fmt.Sprintf("%s.failover[%d]", path, j), address)
	}
	if b.MaxAge < b.Refresh {
		v.AddFault(path+".maxAge", "%s is shorter than refresh %s; values would expire between refreshes",
			strict.FormatDuration(b.MaxAge), strict.FormatDuration(b.Refresh))
	}
}

var apiPathRegexp = regexp.MustCompile(`/api/v1(/.*)?$`)

// FindAPIPath returns the end of a server's address that belongs to a request of Prometheus's API, such as /api/v1/query; empty if the
// address is a base address.
func FindAPIPath(u *url.URL) string { return apiPathRegexp.FindString(u.Path) }

func (v *configValidator) validateBackendURL(path, address string) {
	switch u, err := url.Parse(address); {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		v.AddFault(path, "must be http://HOST:PORT/PATH or https://HOST:PORT/PATH")
	case u.Port() != "" && strict.ParsePort(u.Port()) == 0:
		v.AddFault(path, "has the port %s; a port is a number from 1 to 65535", strict.ShortenPlain(u.Port()))
	case u.User != nil:
		v.AddFault(path, "must not contain credentials, because logs show it; use http.basic_auth")
	case u.Fragment != "":
		v.AddFault(path, "must not have a fragment; remove the part from # on")
	case FindAPIPath(u) != "":
		v.AddFault(path, "must be the base address; remove %s, which each request adds", FindAPIPath(u))
	}
}

func (v *configValidator) requireConfigKey(path, hint string) {
	if !v.HasFault(path) && !v.HasFault(strict.ParentPath(path)) {
		v.AddFault(path, "required%s", hint)
	}
}

func (v *configValidator) validateRuleConfig(i int) {
	r, path := &v.config.Rules[i], RulePath(i)
	if v.HasFault(path) {
		return // not a mapping: every key would be missing
	}
	v.validateRuleName(r, path)
	v.validateRuleResource(r, path)
	if r.Query == "" {
		v.requireConfigKey(path+".query", ": a PromQL expression")
	}
	switch r.Aggregate {
	case AggregateSum, AggregateAvg, AggregateMax:
	default:
		v.AddFault(path+".aggregate", "must be sum, avg or max, not %q", strict.Shorten(string(r.Aggregate)))
	}
	v.validateRuleSubstitutes(r, path)
	v.validateRuleBackend(r, path)
}

// validateRuleSubstitutes checks the substitutes for a missing value.
func (v *configValidator) validateRuleSubstitutes(r *Rule, path string) {
	if r.OnMissing != nil && *r.OnMissing < 0 && !r.AllowNegative {
		v.AddFault(path+".onMissing", "a negative value needs allowNegative: true")
	}
	switch at := path + ".whenNoPods"; {
	case r.WhenNoPods == nil:
	case r.External || r.Labels.Object != "" || r.Backend != ScrapeBackend || r.Resource == "nodes" || r.Resource == "namespaces":
		v.AddFault(at, "has no effect; it is for objects whose values come from their pods, on the backend %s", ScrapeBackend)
	case *r.WhenNoPods < 0 && !r.AllowNegative:
		v.AddFault(at, "a negative value needs allowNegative: true")
	}
	if r.Fallback == nil {
		return
	}
	at := path + ".fallback"
	switch {
	case !r.External && r.Labels.Object == "":
		v.AddFault(at, "needs external: true or labels.object; if the values of pods are missing, the HPA keeps the replicas")
	case r.OnMissing != nil:
		v.AddFault(at, "has no effect, because onMissing applies at once; remove fallback or onMissing")
	case r.Fallback.Value < 0 && !r.AllowNegative:
		v.AddFault(at+".value", "a negative value needs allowNegative: true")
	}
}

// metricNameRegexp matches names for a path segment of the API. A slash would end the segment, and the API server rejects
// a percent sign.
var metricNameRegexp = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:.-]*$`)

const maxMetricNameLength = 253

func (v *configValidator) validateRuleName(r *Rule, path string) {
	switch {
	case v.HasFault(path+".metric") || v.HasFault(path+".match"):
	case r.Metric == "" && r.Match == "":
		v.requireConfigKey(path+".metric", ": the metric name that HPAs use (or match, a pattern of names)")
	case r.Metric != "" && r.Match != "":
		v.AddFault(path+".match", "a rule has either metric or match; remove metric or match")
	case r.Match != "":
	case !metricNameRegexp.MatchString(r.Metric):
		v.AddFault(path+".metric", "%q is not a metric name; use letters, digits and _ : . -, and begin with a letter, _ or :",
			strict.Shorten(r.Metric))
	case len(r.Metric) > maxMetricNameLength:
		v.AddFault(path+".metric", "has %d characters; the limit is %d", len(r.Metric), maxMetricNameLength)
	}
	if r.Except != "" && r.Match == "" {
		v.AddFault(path+".except", "has no effect without match; add match or remove except")
	}
}

func (v *configValidator) validateRuleBackend(r *Rule, path string) {
	switch remote := v.config.findNamedBackend(r.Backend); {
	case r.Backend == ScrapeBackend:
		v.validateEmbeddedRule(r, path)
	case remote == nil:
		v.AddFault(path+".backend", "no backend has the name %s; known: %s", strict.Quote(r.Backend), strings.Join(v.listBackendNames(), ", "))
	case v.HasKey(path+".maxAge") && r.MaxAge < remote.Refresh:
		v.AddFault(path+".maxAge", "%s is shorter than the backend's refresh %s; values would expire between refreshes",
			strict.FormatDuration(r.MaxAge), strict.FormatDuration(remote.Refresh))
	}
}

func (v *configValidator) listBackendNames() []string {
	names := []string{ScrapeBackend}
	for _, b := range v.config.Backends {
		if b.Name != "" && !slices.Contains(names, b.Name) {
			names = append(names, b.Name)
		}
	}
	return names
}

// validateEmbeddedRule rejects settings without a meaning on the embedded backend.
func (v *configValidator) validateEmbeddedRule(r *Rule, path string) {
	interval := v.config.Scrape.Interval
	if v.HasKey(path+".labels") && (r.Targets == nil || r.External) {
		v.AddFault(path+".labels", "the backend %s always uses the labels namespace, pod and node; remove labels", ScrapeBackend)
	}
	if v.HasKey(path+".maxAge") && r.MaxAge < interval {
		v.AddFault(path+".maxAge", "%s is shorter than scrape.interval %s; values would expire between scrapes",
			strict.FormatDuration(r.MaxAge), strict.FormatDuration(interval))
	}
	if r.Window.Auto {
		return
	}
	if w := r.Window.Duration; w < minRateIntervals*interval {
		v.AddFault(path+".window", "%s is shorter than %d scrape intervals (%s), the minimum for a rate",
			strict.FormatDuration(w), minRateIntervals, strict.FormatDuration(minRateIntervals*interval))
	} else if w > v.config.MaxWindow {
		v.AddFault(path+".window", "%s is longer than maxWindow %s; raise maxWindow or shorten the window", strict.FormatDuration(w), strict.FormatDuration(v.config.MaxWindow))
	}
}

var resourceNameRegexp = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// knownResources maps the plurals, singulars and short names of resources that every cluster has to the resource.
var knownResources = func() map[string]string {
	out := map[string]string{}
	for _, names := range [][]string{
		{"pods", "pod", "po"}, {"namespaces", "namespace", "ns"}, {"nodes", "node", "no"}, {"services", "service", "svc"},
		{"persistentvolumeclaims", "persistentvolumeclaim", "pvc"}, {"persistentvolumes", "persistentvolume", "pv"},
		{"replicationcontrollers", "replicationcontroller", "rc"},
		{"deployments.apps", "deployments", "deployment", "deploy"}, {"statefulsets.apps", "statefulsets", "statefulset", "sts"},
		{"daemonsets.apps", "daemonsets", "daemonset", "ds"}, {"replicasets.apps", "replicasets", "replicaset", "rs"},
		{"jobs.batch", "jobs", "job"}, {"cronjobs.batch", "cronjobs", "cronjob", "cj"},
		{"ingresses.networking.k8s.io", "ingresses", "ingress", "ing"},
	} {
		for _, name := range names {
			out[name] = names[0]
		}
	}
	return out
}()

// wrongGroupRegexp matches groups that no custom resource has: without a dot, or with a version.
var wrongGroupRegexp = regexp.MustCompile(`^([-a-z0-9]*|v[0-9]+((alpha|beta)[0-9]+)?\..*)$`)

// correctResourceName returns the resource that a name means which is none: a singular, a short name, or a resource of every cluster in
// a group that does not have it. It is empty for any other name.
func correctResourceName(name string) string {
	lower := strings.ToLower(name)
	plural, group, _ := strings.Cut(lower, ".")
	known := knownResources[plural]
	if known == name || !wrongGroupRegexp.MatchString(group) {
		return ""
	}
	return known
}

func (v *configValidator) validateRuleResource(r *Rule, path string) {
	at := path + ".resource"
	v.validateFromNamespaces(r, path)
	v.validateRuleTargets(r, path)
	if r.External {
		if v.HasKey(at) {
			v.AddFault(at, "an external metric has no resource; remove the key")
		}
		if v.HasKey(path + ".aggregate") {
			v.AddFault(path+".aggregate", "an external metric has no pods to aggregate, and the HPA adds up its series; remove the key")
		}
		if v.HasKey(path + ".labels.object") {
			v.AddFault(path+".labels.object", "an external metric has no object; remove the key")
		}
		return
	}
	v.validateObjectLabel(r, path)
	cluster := r.Resource == "namespaces" || r.Resource == "nodes"
	object := cmp.Or(r.Labels.Object, r.Labels.Pod)
	if !cluster && object == r.Labels.Namespace && r.Targets == nil && (r.Namespaced == nil || *r.Namespaced) {
		v.AddFault(path+".labels", "%s cannot name both an object and its namespace; write labels: {namespace: LABEL, pod: LABEL} with two labels", object)
	}
	if correction := correctResourceName(r.Resource); correction != "" {
		v.AddFault(at, "%q is not a resource; write %s", r.Resource, correction)
	} else if !resourceNameRegexp.MatchString(r.Resource) {
		v.AddFault(at, "%q is not a resource; write the plural and the group, such as pods or deployments.apps", strict.Shorten(r.Resource))
	}
	if cluster && v.HasKey(path+".aggregate") {
		v.AddFault(path+".aggregate", "has no effect for %s, because the query gives the value of the object itself; remove aggregate", r.Resource)
	}
	if cluster && r.Namespaced != nil && *r.Namespaced {
		v.AddFault(path+".namespaced", "%s have no namespace; write none or remove the key", r.Resource)
	} else if !cluster && !r.HasFrom() && r.Namespaced != nil && !*r.Namespaced && r.Labels.Object == "" {
		v.AddFault(path+".namespaced", "none would mix pods with the same name in several namespaces; write request or remove the key "+
			"(labels.namespace names the label of a server)")
	}
}

// validateFromNamespaces checks the namespaces that may feed a rule.
func (v *configValidator) validateFromNamespaces(r *Rule, path string) {
	at := path + ".from"
	switch {
	case !r.HasFrom(), r.Targets != nil:
	case !r.External && (r.Labels.Object == "" || r.Resource == "namespaces" || r.Resource == "nodes"):
		v.AddFault(at, "only external: true, or labels.object, makes a rule that reads other pods than its object's; remove from")
	case r.Namespaced != nil && *r.Namespaced:
		v.AddFault(at, "has no effect with namespaced: request, which reads the namespace of the request; remove from or namespaced")
	}
}

// validateObjectLabel checks labels.object, the label of a rule with results for the objects themselves.
func (v *configValidator) validateObjectLabel(r *Rule, path string) {
	at := path + ".labels.object"
	switch {
	case r.Labels.Object == "":
	case r.Resource == "pods":
		v.AddFault(at, "has no effect for pods; use labels.pod")
	case r.Resource == "namespaces":
		v.AddFault(at, "has no effect for namespaces; use labels.namespace")
	case v.HasKey(path + ".aggregate"):
		v.AddFault(path+".aggregate", "has no effect with labels.object, because the query gives the value of the object itself; remove aggregate")
	}
}

// rejectDuplicateRules adds a fault for a second rule for the same metric, because the second rule would never be used.
func (v *configValidator) rejectDuplicateRules() {
	type key struct {
		external               bool
		resource, name, except string
	}
	first := map[key]int{}
	for i, r := range v.config.Rules {
		if r.Name() == "" {
			continue
		}
		k := key{r.External, r.Resource, r.Name(), r.Except}
		j, again := first[k]
		if !again {
			first[k] = i
			continue
		}
		at := RulePath(i) + ".metric"
		if r.Match != "" {
			at = RulePath(i) + ".match"
		}
		v.AddFault(at, "%s already serves %s of %s; remove one of the two rules", RulePath(j), r.Name(), describeRuleKind(&r))
	}
}

func describeRuleKind(r *Rule) string {
	if r.External {
		return "external metrics"
	}
	return r.Resource
}
