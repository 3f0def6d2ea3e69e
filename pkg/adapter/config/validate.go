package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// validator checks what no single value shows. It says nothing about values that were at fault already.
type validator struct {
	*decoder
	c *Config
}

func (v *validator) config() {
	s := v.c.Scrape
	if s.Timeout > s.Interval {
		v.Wrong("scrape.timeout", "%s is longer than scrape.interval %s: scrapes of a target do not overlap",
			strict.FormatDuration(s.Timeout), strict.FormatDuration(s.Interval))
	}
	if v.c.MaxAge < s.Interval {
		v.Wrong("maxAge", "%s is shorter than scrape.interval %s: values would come and go",
			strict.FormatDuration(v.c.MaxAge), strict.FormatDuration(s.Interval))
	}
	if least := leastChoice * s.Interval; v.c.MaxWindow < least {
		v.Wrong("maxWindow", "%s is shorter than %d scrape intervals (%s): window: auto would have nothing to choose from",
			strict.FormatDuration(v.c.MaxWindow), leastChoice, strict.FormatDuration(least))
	}
	for i := range v.c.Backends {
		v.backend(i)
	}
	for i := range v.c.Rules {
		v.rule(i)
	}
	v.duplicates()
}

const (
	// leastChoice is the least of maxWindow, in scrape intervals: auto's shortest window is about two.
	leastChoice = 3
	// rateIntervals: with fewer samples than this gives, there is no rate.
	rateIntervals = 2
)

var backendName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (v *validator) backend(i int) {
	b, path := v.c.Backends[i], fmt.Sprintf("backends[%d]", i)
	switch {
	case b.Name == "":
		v.required(path+".name", "")
	case b.Name == ScrapeBackend:
		v.Wrong(path+".name", "%s is the embedded backend's name", ScrapeBackend)
	case !backendName.MatchString(b.Name):
		v.Wrong(path+".name", "%q: use lower-case letters, digits and -, at most 63", strict.Shorten(b.Name))
	}
	for j, other := range v.c.Backends[:i] {
		if b.Name != "" && other.Name == b.Name {
			v.Wrong(path+".name", "%s is already the name of backends[%d]", b.Name, j)
			break
		}
	}
	if b.URL == "" {
		v.required(path+".url", "")
	} else {
		v.address(path+".url", b.URL)
	}
	for j, address := range b.Failover {
		v.address(fmt.Sprintf("%s.failover[%d]", path, j), address)
	}
	if b.MaxAge < b.Refresh {
		v.Wrong(path+".maxAge", "%s is shorter than refresh %s: values would come and go",
			strict.FormatDuration(b.MaxAge), strict.FormatDuration(b.Refresh))
	}
}

func (v *validator) address(path, address string) {
	switch u, err := url.Parse(address); {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		v.Wrong(path, "must be http://HOST:PORT/PATH or https://HOST:PORT/PATH")
	case u.User != nil:
		v.Wrong(path, "must not hold credentials, since it is shown in logs: they belong to http.basic_auth")
	case u.Fragment != "":
		v.Wrong(path, "must not have a fragment (#)")
	}
}

func (v *validator) required(path, hint string) {
	if !v.Failed(path) && !v.Failed(strict.ParentPath(path)) {
		v.Wrong(path, "required%s", hint)
	}
}

func (v *validator) rule(i int) {
	r, path := &v.c.Rules[i], RulePath(i)
	if v.Failed(path) {
		return // not even a mapping
	}
	v.name(r, path)
	v.resource(r, path)
	if r.Query == "" {
		v.required(path+".query", ": a PromQL expression")
	}
	switch r.Aggregate {
	case AggregateSum, AggregateAvg, AggregateMax:
	default:
		v.Wrong(path+".aggregate", "must be sum, avg or max, not %q", strict.Shorten(string(r.Aggregate)))
	}
	v.missing(r, path)
	v.ruleBackend(r, path)
}

// missing checks what stands for a value that there is not.
func (v *validator) missing(r *Rule, path string) {
	if r.OnMissing != nil && *r.OnMissing < 0 && !r.AllowNegative {
		v.Wrong(path+".onMissing", "a negative value needs allowNegative: true")
	}
	if r.Fallback == nil {
		return
	}
	at := path + ".fallback"
	switch {
	case !r.External:
		v.Wrong(at, "needs external: true; without a value for its pods the HPA keeps the replicas that there are")
	case r.OnMissing != nil:
		v.Wrong(at, "onMissing answers at once; leave one of them out")
	case r.Fallback.Value < 0 && !r.AllowNegative:
		v.Wrong(at+".value", "a negative value needs allowNegative: true")
	}
}

// metricName is what a path segment of the API and PromQL-minded people agree on; a slash would end the
// segment, and a percent sign is refused by the API server.
var metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:.-]*$`)

const maxMetricName = 253

func (v *validator) name(r *Rule, path string) {
	switch {
	case v.Failed(path+".metric") || v.Failed(path+".match"):
	case r.Metric == "" && r.Match == "":
		v.required(path+".metric", ": the name that an HPA asks for (or match, a pattern of names)")
	case r.Metric != "" && r.Match != "":
		v.Wrong(path+".match", "a rule has either metric or match")
	case r.Match != "":
	case !metricName.MatchString(r.Metric):
		v.Wrong(path+".metric", "%q is no metric name: use letters, digits and _ : . -, not beginning with a digit, . or -",
			strict.Shorten(r.Metric))
	case len(r.Metric) > maxMetricName:
		v.Wrong(path+".metric", "has %d characters; at most %d are possible", len(r.Metric), maxMetricName)
	}
	if r.Except != "" && r.Match == "" {
		v.Wrong(path+".except", "needs match: it excludes names from it")
	}
}

func (v *validator) ruleBackend(r *Rule, path string) {
	switch remote := v.c.backend(r.Backend); {
	case r.Backend == ScrapeBackend:
		v.embedded(r, path)
	case remote == nil:
		v.Wrong(path+".backend", "no backend is named %q; there are: %s", strict.Shorten(r.Backend), strings.Join(v.backendNames(), ", "))
	case v.Given(path+".maxAge") && r.MaxAge < remote.Refresh:
		v.Wrong(path+".maxAge", "%s is shorter than the backend's refresh %s: values would come and go",
			strict.FormatDuration(r.MaxAge), strict.FormatDuration(remote.Refresh))
	}
}

func (v *validator) backendNames() []string {
	names := []string{ScrapeBackend}
	for _, b := range v.c.Backends {
		if b.Name != "" && !slices.Contains(names, b.Name) {
			names = append(names, b.Name)
		}
	}
	return names
}

// embedded checks what the embedded backend cannot do.
func (v *validator) embedded(r *Rule, path string) {
	interval := v.c.Scrape.Interval
	if v.Given(path + ".labels") {
		v.Wrong(path+".labels", "the backend %s calls its labels namespace, pod and node, whatever a page has", ScrapeBackend)
	}
	if v.Given(path+".maxAge") && r.MaxAge < interval {
		v.Wrong(path+".maxAge", "%s is shorter than scrape.interval %s: values would come and go",
			strict.FormatDuration(r.MaxAge), strict.FormatDuration(interval))
	}
	if r.Window.Auto {
		return
	}
	if w := r.Window.Duration; w < rateIntervals*interval {
		v.Wrong(path+".window", "%s is shorter than two scrape intervals of %s: too few samples for a rate",
			strict.FormatDuration(w), strict.FormatDuration(interval))
	} else if w > v.c.MaxWindow {
		v.Wrong(path+".window", "%s is longer than maxWindow %s", strict.FormatDuration(w), strict.FormatDuration(v.c.MaxWindow))
	}
}

var resourceName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// wellKnown maps what people write to what they mean: resources of groups other than the core one, and singulars.
var wellKnown = map[string]string{
	"pod": "pods", "namespace": "namespaces", "node": "nodes", "service": "services",
	"deployment": "deployments.apps", "deployments": "deployments.apps",
	"statefulset": "statefulsets.apps", "statefulsets": "statefulsets.apps",
	"daemonset": "daemonsets.apps", "daemonsets": "daemonsets.apps",
	"replicaset": "replicasets.apps", "replicasets": "replicasets.apps",
	"job": "jobs.batch", "jobs": "jobs.batch",
	"ingress": "ingresses.networking.k8s.io", "ingresses": "ingresses.networking.k8s.io",
}

func (v *validator) resource(r *Rule, path string) {
	at := path + ".resource"
	if r.External {
		if v.Given(at) {
			v.Wrong(at, "an external metric has no resource")
		}
		if v.Given(path + ".aggregate") {
			v.Wrong(path+".aggregate", "an external metric has no pods to aggregate; the HPA adds its series up")
		}
		if v.Given(path + ".labels.object") {
			v.Wrong(path+".labels.object", "an external metric has no object")
		}
		return
	}
	if r.Namespace != "" {
		v.Wrong(path+".namespaced", "only an external metric may read one namespace for all; write request or none")
	}
	v.object(r, path)
	if meant := wellKnown[strings.ToLower(r.Resource)]; meant != "" {
		v.Wrong(at, "%q is not a resource; write %s", r.Resource, meant)
	} else if !resourceName.MatchString(r.Resource) {
		v.Wrong(at, "%q is not a resource: write the plural and the group, such as pods or deployments.apps", strict.Shorten(r.Resource))
	}
	if cluster := r.Resource == "namespaces" || r.Resource == "nodes"; cluster && r.Namespaced != nil && *r.Namespaced {
		v.Wrong(path+".namespaced", "%s are not in a namespace", r.Resource)
	}
}

// object checks the label of a rule whose results name the objects themselves.
func (v *validator) object(r *Rule, path string) {
	at := path + ".labels.object"
	switch {
	case r.Labels.Object == "":
	case r.Resource == "pods":
		v.Wrong(at, "the label that names pods is labels.pod")
	case r.Resource == "namespaces":
		v.Wrong(at, "the label that names namespaces is labels.namespace")
	case v.Given(path + ".aggregate"):
		v.Wrong(path+".aggregate", "has no effect: with labels.object the result is the object's value, not that of its pods")
	}
}

// duplicates: of two rules for one metric, only one could ever answer.
func (v *validator) duplicates() {
	type key struct {
		external               bool
		resource, name, except string
	}
	first := map[key]int{}
	for i, r := range v.c.Rules {
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
		v.Wrong(at, "%s already serves %s of %s", RulePath(j), r.Name(), kindOf(&r))
	}
}

func kindOf(r *Rule) string {
	if r.External {
		return "external metrics"
	}
	return r.Resource
}
