// Command upstream prints the metrics and queries that prometheus-adapter 0.12 itself makes of ../queries.yaml:
//
//	go run . <../queries.yaml >../queries.golden.yaml
package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	pmodel "github.com/prometheus/common/model"
	yaml "gopkg.in/yaml.v2"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	prom "sigs.k8s.io/prometheus-adapter/pkg/client"
	"sigs.k8s.io/prometheus-adapter/pkg/config"
	"sigs.k8s.io/prometheus-adapter/pkg/naming"
)

type request struct {
	External                              bool
	Resource, Metric, Namespace, Selector string
	Objects                               []string
}

type testCase struct {
	Name     string
	Config   string
	Series   []map[string]string
	Requests []request
}

type answer struct {
	Name    string
	Metrics []string
	Queries []string
}

// series is what is known of a metric on a resource.
type series struct {
	name  string
	namer naming.MetricNamer
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	var cases []testCase
	if err := yaml.Unmarshal(data, &cases); err != nil {
		return err
	}
	answers := make([]answer, len(cases))
	for i, c := range cases {
		if answers[i], err = ask(c); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	text, err := yaml.Marshal(answers)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

// ask answers one case. Its configuration has one rule, and all of the series match its seriesQuery.
func ask(c testCase) (answer, error) {
	cfg, err := config.FromYAML([]byte(c.Config))
	if err != nil {
		return answer{}, err
	}
	known := map[string]series{}
	for external, rules := range map[bool][]config.DiscoveryRule{false: cfg.Rules, true: cfg.ExternalRules} {
		namers, err := naming.NamersFromConfig(rules, mapper())
		if err != nil {
			return answer{}, err
		}
		for _, n := range namers {
			if err := list(known, n, external, c.Series); err != nil {
				return answer{}, err
			}
		}
	}
	a := answer{Name: c.Name, Metrics: []string{}}
	for k := range known {
		a.Metrics = append(a.Metrics, k)
	}
	slices.Sort(a.Metrics)
	for _, r := range c.Requests {
		a.Queries = append(a.Queries, query(known, r))
	}
	return a, nil
}

// list does what the registries of the two providers, which cannot be imported, do with the series of a rule.
func list(known map[string]series, n naming.MetricNamer, external bool, texts []map[string]string) error {
	var all []prom.Series
	for _, labels := range texts {
		s := prom.Series{Labels: pmodel.LabelSet{}}
		for k, v := range labels {
			if k == pmodel.MetricNameLabel {
				s.Name = v
			} else {
				s.Labels[pmodel.LabelName(k)] = pmodel.LabelValue(v)
			}
		}
		all = append(all, s)
	}
	for _, s := range n.FilterSeries(all) {
		name, err := n.MetricNameForSeries(s)
		if err != nil {
			return err
		}
		if external {
			known["external "+name] = series{s.Name, n}
			continue
		}
		resources, _ := n.ResourcesForSeries(s)
		for _, r := range resources {
			known[r.String()+" "+name] = series{s.Name, n}
		}
	}
	return nil
}

func query(known map[string]series, r request) string {
	selector, err := labels.Parse(r.Selector)
	if err != nil {
		return "error: " + err.Error()
	}
	key := r.Resource + " " + r.Metric
	if r.External {
		key = "external " + r.Metric
	}
	s, ok := known[key]
	if !ok {
		return "error: not found"
	}
	var q prom.Selector
	if r.External {
		q, err = s.namer.QueryForExternalSeries(s.name, r.Namespace, selector)
	} else {
		q, err = s.namer.QueryForSeries(s.name, schema.ParseGroupResource(r.Resource), r.Namespace, selector, r.Objects...)
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return string(q)
}

func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"Pod", "Service"} {
		m.Add(schema.GroupVersionKind{Version: "v1", Kind: kind}, meta.RESTScopeNamespace)
	}
	for _, kind := range []string{"Namespace", "Node", "PersistentVolume"} {
		m.Add(schema.GroupVersionKind{Version: "v1", Kind: kind}, meta.RESTScopeRoot)
	}
	m.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Group: "cheese.io", Version: "v1", Kind: "Brand"}, meta.RESTScopeRoot)
	return m
}
