package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// configValidator checks what no single value shows. It says nothing about values that were at fault already.
type configValidator struct {
	*adapterConfigDecoder
	config *Config
}

func (v *configValidator) validateConfig() {
	s := v.config.Scrape
	if s.Timeout > s.Interval {
		v.AddFault("scrape.timeout", "%s is longer than scrape.interval %s: scrapes of a target do not overlap",
			strict.FormatDuration(s.Timeout), strict.FormatDuration(s.Interval))
	}
	if v.config.MaxAge < s.Interval {
		v.AddFault("maxAge", "%s is shorter than scrape.interval %s: values would come and go",
			strict.FormatDuration(v.config.MaxAge), strict.FormatDuration(s.Interval))
	}
	if least := minAutoIntervals * s.Interval; v.config.MaxWindow < least {
		v.AddFault("maxWindow", "%s is shorter than %d scrape intervals (%s): window: auto would have nothing to choose from",
			strict.FormatDuration(v.config.MaxWindow), minAutoIntervals, strict.FormatDuration(least))
	}
	for i := range v.config.Backends {
		v.validateBackend(i)
	}
	for i := range v.config.Rules {
		v.validateConfigRule(i)
	}
	v.rejectDuplicateRules()
}

const (
	// minAutoIntervals is the least of maxWindow, in scrape intervals: auto's shortest window is about two.
	minAutoIntervals = 3
	// minRateIntervals: with fewer samples than this gives, there is no rate.
	minRateIntervals = 2
)

var backendNameRegexp = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (v *configValidator) validateBackend(i int) {
	b, path := v.config.Backends[i], fmt.Sprintf("backends[%d]", i)
	switch {
	case b.Name == "":
		v.requireKey(path+".name", "")
	case b.Name == ScrapeBackend:
		v.AddFault(path+".name", "%s is the embedded backend's name", ScrapeBackend)
	case !backendNameRegexp.MatchString(b.Name):
		v.AddFault(path+".name", "%q: use lower-case letters, digits and -, at most 63", strict.Shorten(b.Name))
	}
	for j, other := range v.config.Backends[:i] {
		if b.Name != "" && other.Name == b.Name {
			v.AddFault(path+".name", "%s is already the name of backends[%d]", b.Name, j)
			break
		}
	}
	if b.URL == "" {
		v.requireKey(path+".url", "")
	} else {
		v.validateBackendURL(path+".url", b.URL)
	}
	for j, address := range b.Failover {
		v.validateBackendURL(fmt.Sprintf("%s.failover[%d]", path, j), address)
	}
	if b.MaxAge < b.Refresh {
		v.AddFault(path+".maxAge", "%s is shorter than refresh %s: values would come and go",
			strict.FormatDuration(b.MaxAge), strict.FormatDuration(b.Refresh))
	}
}

func (v *configValidator) validateBackendURL(path, address string) {
	switch u, err := url.Parse(address); {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		v.AddFault(path, "must be http://HOST:PORT/PATH or https://HOST:PORT/PATH")
	case u.User != nil:
		v.AddFault(path, "must not hold credentials, since it is shown in logs: they belong to http.basic_auth")
	case u.Fragment != "":
		v.AddFault(path, "must not have a fragment (#)")
	}
}

func (v *configValidator) requireKey(path, hint string) {
	if !v.HasFault(path) && !v.HasFault(strict.ParentPath(path)) {
		v.AddFault(path, "required%s", hint)
	}
}

func (v *configValidator) validateConfigRule(i int) {
	r, path := &v.config.Rules[i], RulePath(i)
	if v.HasFault(path) {
		return // not even a mapping
	}
	v.validateRuleName(r, path)
	v.validateRuleResource(r, path)
	if r.Query == "" {
		v.requireKey(path+".query", ": a PromQL expression")
	}
	switch r.Aggregate {
	case AggregateSum, AggregateAvg, AggregateMax:
	default:
		v.AddFault(path+".aggregate", "must be sum, avg or max, not %q", strict.Shorten(string(r.Aggregate)))
	}
	v.validateMissingValue(r, path)
	v.validateRuleBackend(r, path)
}

// validateMissingValue checks what stands for a value that there is not.
func (v *configValidator) validateMissingValue(r *Rule, path string) {
	if r.OnMissing != nil && *r.OnMissing < 0 && !r.AllowNegative {
		v.AddFault(path+".onMissing", "a negative value needs allowNegative: true")
	}
	if r.Fallback == nil {
		return
	}
	at := path + ".fallback"
	switch {
	case !r.External:
		v.AddFault(at, "needs external: true; without a value for its pods the HPA keeps the replicas that there are")
	case r.OnMissing != nil:
		v.AddFault(at, "onMissing answers at once; leave one of them out")
	case r.Fallback.Value < 0 && !r.AllowNegative:
		v.AddFault(at+".value", "a negative value needs allowNegative: true")
	}
}

// metricNameRegexp is what a path segment of the API and PromQL-minded people agree on; a slash would end the
// segment, and a percent sign is refused by the API server.
var metricNameRegexp = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:.-]*$`)

const maxMetricNameLength = 253

func (v *configValidator) validateRuleName(r *Rule, path string) {
	switch {
	case v.HasFault(path+".metric") || v.HasFault(path+".match"):
	case r.Metric == "" && r.Match == "":
		v.requireKey(path+".metric", ": the name that an HPA asks for (or match, a pattern of names)")
	case r.Metric != "" && r.Match != "":
		v.AddFault(path+".match", "a rule has either metric or match")
	case r.Match != "":
	case !metricNameRegexp.MatchString(r.Metric):
		v.AddFault(path+".metric", "%q is no metric name: use letters, digits and _ : . -, not beginning with a digit, . or -",
			strict.Shorten(r.Metric))
	case len(r.Metric) > maxMetricNameLength:
		v.AddFault(path+".metric", "has %d characters; at most %d are possible", len(r.Metric), maxMetricNameLength)
	}
	if r.Except != "" && r.Match == "" {
		v.AddFault(path+".except", "needs match: it excludes names from it")
	}
}

func (v *configValidator) validateRuleBackend(r *Rule, path string) {
	switch remote := v.config.findBackend(r.Backend); {
	case r.Backend == ScrapeBackend:
		v.validateEmbeddedRule(r, path)
	case remote == nil:
		v.AddFault(path+".backend", "no backend is named %q; there are: %s", strict.Shorten(r.Backend), strings.Join(v.backendNames(), ", "))
	case v.HasKey(path+".maxAge") && r.MaxAge < remote.Refresh:
		v.AddFault(path+".maxAge", "%s is shorter than the backend's refresh %s: values would come and go",
			strict.FormatDuration(r.MaxAge), strict.FormatDuration(remote.Refresh))
	}
}

func (v *configValidator) backendNames() []string {
	names := []string{ScrapeBackend}
	for _, b := range v.config.Backends {
		if b.Name != "" && !slices.Contains(names, b.Name) {
			names = append(names, b.Name)
		}
	}
	return names
}

// validateEmbeddedRule checks what the embedded backend cannot do.
func (v *configValidator) validateEmbeddedRule(r *Rule, path string) {
	interval := v.config.Scrape.Interval
	if v.HasKey(path + ".labels") {
		v.AddFault(path+".labels", "the backend %s calls its labels namespace, pod and node, whatever a page has", ScrapeBackend)
	}
	if v.HasKey(path+".maxAge") && r.MaxAge < interval {
		v.AddFault(path+".maxAge", "%s is shorter than scrape.interval %s: values would come and go",
			strict.FormatDuration(r.MaxAge), strict.FormatDuration(interval))
	}
	if r.Window.Auto {
		return
	}
	if w := r.Window.Duration; w < minRateIntervals*interval {
		v.AddFault(path+".window", "%s is shorter than two scrape intervals of %s: too few samples for a rate",
			strict.FormatDuration(w), strict.FormatDuration(interval))
	} else if w > v.config.MaxWindow {
		v.AddFault(path+".window", "%s is longer than maxWindow %s", strict.FormatDuration(w), strict.FormatDuration(v.config.MaxWindow))
	}
}

var resourceNameRegexp = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// resourceCorrections maps what people write to what they mean: resources of groups other than the core one, and singulars.
var resourceCorrections = map[string]string{
	"pod": "pods", "namespace": "namespaces", "node": "nodes", "service": "services",
	"deployment": "deployments.apps", "deployments": "deployments.apps",
	"statefulset": "statefulsets.apps", "statefulsets": "statefulsets.apps",
	"daemonset": "daemonsets.apps", "daemonsets": "daemonsets.apps",
	"replicaset": "replicasets.apps", "replicasets": "replicasets.apps",
	"job": "jobs.batch", "jobs": "jobs.batch",
	"ingress": "ingresses.networking.k8s.io", "ingresses": "ingresses.networking.k8s.io",
}

func (v *configValidator) validateRuleResource(r *Rule, path string) {
	at := path + ".resource"
	if r.External {
		if v.HasKey(at) {
			v.AddFault(at, "an external metric has no resource")
		}
		if v.HasKey(path + ".aggregate") {
			v.AddFault(path+".aggregate", "an external metric has no pods to aggregate; the HPA adds its series up")
		}
		if v.HasKey(path + ".labels.object") {
			v.AddFault(path+".labels.object", "an external metric has no object")
		}
		return
	}
	if r.Namespace != "" {
		v.AddFault(path+".namespaced", "only an external metric may read one namespace for all; write request or none")
	}
	v.validateObjectLabel(r, path)
	if meant := resourceCorrections[strings.ToLower(r.Resource)]; meant != "" {
		v.AddFault(at, "%q is not a resource; write %s", r.Resource, meant)
	} else if !resourceNameRegexp.MatchString(r.Resource) {
		v.AddFault(at, "%q is not a resource: write the plural and the group, such as pods or deployments.apps", strict.Shorten(r.Resource))
	}
	if cluster := r.Resource == "namespaces" || r.Resource == "nodes"; cluster && r.Namespaced != nil && *r.Namespaced {
		v.AddFault(path+".namespaced", "%s are not in a namespace", r.Resource)
	}
}

// validateObjectLabel checks the label of a rule whose results name the objects themselves.
func (v *configValidator) validateObjectLabel(r *Rule, path string) {
	at := path + ".labels.object"
	switch {
	case r.Labels.Object == "":
	case r.Resource == "pods":
		v.AddFault(at, "the label that names pods is labels.pod")
	case r.Resource == "namespaces":
		v.AddFault(at, "the label that names namespaces is labels.namespace")
	case v.HasKey(path + ".aggregate"):
		v.AddFault(path+".aggregate", "has no effect: with labels.object the result is the object's value, not that of its pods")
	}
}

// rejectDuplicateRules: of two rules for one metric, only one could ever answer.
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
		v.AddFault(at, "%s already serves %s of %s", RulePath(j), r.Name(), describeRuleKind(&r))
	}
}

func describeRuleKind(r *Rule) string {
	if r.External {
		return "external metrics"
	}
	return r.Resource
}
