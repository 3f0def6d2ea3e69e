package promadapter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

func TestIsConfig(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want bool
	}{
		"empty":                 {"", false},
		"rules":                 {"rules:\n- seriesQuery: up\n", true},
		"a rule without series": {"rules:\n- metricsQuery: up\n", true},
		"JSON":                  {`{"rules":[{"seriesQuery":"up"}]}`, true},
		"external only":         {"externalRules: []\n", true},
		"resources only":        {"resourceRules: {}\n", true},
		"no rules":              {"rules: []\n", true},
		"null rules":            {"rules:\n", true},
		"native":                {"apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules:\n- metric: a\n  query: b\n", false},
		"native without kind":   {"rules:\n- metric: a\n  query: b\n", false},
		"native, no rules":      {"apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules:\n", false},
		"something else":        {"a: b\n", false},
		"values of the chart":   {"rules: {default: false, custom: []}\n", true},
		"native, rules wrong":   {"apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules: {default: false}\n", false},
		"misspelt keys":         {"rules:\n- {seriesquery: up, resources: {}, metricsquery: up}\n", true},
		"native, resources":     {"apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules:\n- {metric: a, query: b, resources: pods}\n", false},
		"native, no version":    {"rules:\n- {metric: a, query: b, resource: pods}\n", false},
		"not YAML":              {"rules: [\n- seriesQuery", false},
		"text":                  {"seriesQuery", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := IsConfig([]byte(tc.text)); got != tc.want {
				t.Errorf("IsConfig = %v", got)
			}
		})
	}
}

// TestLoadAcceptsLenientYAML: Load accepts all YAML that prometheus-adapter's decoder accepts.
func TestLoadAcceptsLenientYAML(t *testing.T) {
	t.Parallel()
	c := loadConfig(t, `rules:
- &first
  seriesQuery: up{pod!=""}
  seriesFilters: []
  name: {matches: "", as: 5xx}
  resources: &r {overrides: {pod: {resource: pod, group: ""}}, namespaced: no}
  metricsQuery: sum(up)
- <<: *first
  resources: {<<: *r, namespaced: Yes, template: }
  name:
externalRules:
resourceRules: {window: 5m, cpu: {containerLabel: 7}}
---
`)
	no, yes := false, true
	got := slices.Clone(c.Rules)
	for i := range got {
		got[i] = SeriesRule{
			SeriesQuery: got[i].SeriesQuery, Name: got[i].Name, Resources: got[i].Resources, MetricsQuery: got[i].MetricsQuery,
		}
	}
	pod := []LabelOverride{{Label: "pod", Resource: "pod"}}
	want := []SeriesRule{
		{
			SeriesQuery: `up{pod!=""}`, Name: NameMapping{As: "5xx"}, MetricsQuery: "sum(up)",
			Resources: ResourceMapping{Overrides: pod, Namespaced: &no},
		},
		{SeriesQuery: `up{pod!=""}`, MetricsQuery: "sum(up)", Resources: ResourceMapping{Overrides: pod, Namespaced: &yes}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(SeriesRule{}, compiledSeriesRule{}, seriesQuerySelector{})); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if c.ResourceRules.Window != 5*time.Minute || c.ResourceRules.CPU.ContainerLabel != "7" || c.ExternalRules != nil {
		t.Errorf("resourceRules %+v, externalRules %v", c.ResourceRules, c.ExternalRules)
	}
}

func TestLoadRejects(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"unknown and duplicate keys": {
			`
rules:
- seriesQuery: up
  seriesquery: up
  seriesQuery: down
  resources: {overrides: {pod: {resource: pod, kind: Pod}, pod: {resource: pod}}}
ruels: []
`,
			`line 3: rules[0].seriesquery: unknown key; did you mean seriesQuery?
line 4: rules[0].seriesQuery: duplicate key; first on line 2
line 5: rules[0].resources.overrides.pod: duplicate key; first on line 5
line 5: rules[0].resources.overrides.pod.kind: unknown key; known: group, resource
line 6: ruels: unknown key; did you mean rules?`,
		},
		"names and filters": {
			`
externalRules:
- seriesQuery: up
  name: {matches: "(a)(b)"}
- seriesQuery: up
  name: {matches: "(a"}
- seriesQuery: up
  seriesFilters: [{is: a, isNot: b}, {}, {is: "["}, {isNot: "*"}]
`,
			`line 3: externalRules[0].name.as: required, because name.matches has 2 groups
line 5: externalRules[1].name.matches: is not a regular expression: missing closing ): ` + "`(a`" + `
line 7: externalRules[2].seriesFilters[0]: has both is and isNot; write two filters
line 7: externalRules[2].seriesFilters[1]: has neither is nor isNot; set is or isNot
line 7: externalRules[2].seriesFilters[2].is: is not a regular expression: missing closing ]: ` + "`[`" + `
line 7: externalRules[2].seriesFilters[3].isNot: is not a regular expression: missing argument to repetition operator: ` + "`*`",
		},
		"templates": {
			`
rules:
- seriesQuery: up
  metricsQuery: 'sum(<<.Series)'
  resources: {template: "kube_<<.Group>>", overrides: {pod: {group: apps}, "": {resource: pod}}}
- seriesQuery: up
  resources: {template: "<<.Kind>>"}
- seriesQuery: up
  resources: {template: "(<<.Resource>>"}
resourceRules:
  cpu: {containerQuery: "<<end>>"}
  window: 5
`,
			`line 3: rules[0].metricsQuery: is not a template: unexpected right paren; close each << with >>
line 4: rules[0].resources.overrides: has a label with an empty name
line 4: rules[0].resources.overrides.pod.resource: required: the resource of the label's objects
line 4: rules[0].resources.template: must use <<.Resource>>
line 6: rules[1].resources.template: .Kind does not exist; known: .Resource, .Group
line 8: rules[2].resources.template: does not give a regular expression for labels: missing closing ): ` + "`^((?P<resource>.+?)$`" + `
line 10: resourceRules.cpu.containerQuery: is not a template: unexpected {{end}}
line 11: resourceRules.window: must be a duration such as 5m, not "5"`,
		},
		"kinds of values": {
			`
rules:
- up
- seriesQuery: [up]
  name: up
  seriesFilters: {is: a}
  resources: {namespaced: "false"}
resourceRules: []
`,
			`line 2: rules[0]: must be a mapping of keys to values, not "up"
line 3: rules[1].seriesQuery: must be text, not a list; put quotes around text that begins with { or [
line 4: rules[1].name: must be a mapping of keys to values, not "up"
line 5: rules[1].seriesFilters: must be a list, not a mapping
line 6: rules[1].resources.namespaced: must be true or false, not "false"; remove the quotes
line 7: resourceRules: must be a mapping of keys to values, not a list`,
		},
		"slips": {
			`
rules:
- seriesQuery: up
  name: {matches: "^(?!go_).*$"}
  resources: {overrides: {deployment: {group: apps/v1, resource: deployment}}}
  metricsQuery: sum(<<Series>>)
`,
			"line 3: rules[0].name.matches: is not a regular expression: invalid or unsupported Perl syntax: `(?!`; exclude series by seriesFilters with isNot\n" +
				`line 4: rules[0].resources.overrides.deployment.group: "apps/v1" is a group with a version, which no resource has; write apps
line 5: rules[0].metricsQuery: is not a template: function "Series" not defined; write <<.Series>>`,
		},
		"values of the chart": {
			"prometheus: {url: http://p}\nrules:\n  default: false\n  custom: [{seriesQuery: up}]\n",
			`line 3: rules: these are values of prometheus-adapter's Helm chart, not its configuration; take config.yaml of the ConfigMap that the chart makes: helm template, or kubectl get configmap`,
		},
		"values of an umbrella chart": {
			"global: {}\nprometheus-adapter:\n  rules: {custom: [{seriesQuery: up}]}\n",
			`line 1: prometheus-adapter: are values of prometheus-adapter's Helm chart, not its configuration; take config.yaml of the ConfigMap that the chart makes: helm template, or kubectl get configmap`,
		},
		"a part of the values": {
			"default: false\ncustom: [{seriesQuery: up}]\n",
			`line 1: custom: is a part of values of prometheus-adapter's Helm chart, not its configuration; take config.yaml of the ConfigMap that the chart makes: helm template, or kubectl get configmap`,
		},
		"a list of rules": {
			"- seriesQuery: up\n", "line 1: [0]: is a rule of prometheus-adapter without the key above it; write rules: or externalRules: above the list",
		},
		"two formats": {
			"apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules:\n- {metric: a, query: a}\n- {seriesQuery: up}\n",
			"line 1: apiVersion: belongs to Tachometer's own format, but the file also has keys of prometheus-adapter's (seriesQuery, externalRules, resourceRules); " +
				"a file has one format: remove apiVersion and kind, or translate these rules by tachometer-adapter import",
		},
		"faults of either kind": {
			"rules:\n- {seriesQuery: 'up{', name: {matches: '('}, metricsQuery: up}\n- {seriesQuery: up, metricsQuery: up}\n",
			`line 2: rules[0].name.matches: is not a regular expression: missing closing ): ` + "`(`" + `
line 2: rules[0].seriesQuery: is not a series selector: unexpected end of input inside braces
line 3: rules[1].resources: serves no metric: neither overrides nor template names a label of objects`,
		},
		"not YAML": {"rules: [", `line 1: not valid YAML: did not find expected node content; close each [ and {`},
		"a loop":   {"rules: &a\n- <<: *a\n", `line 1: rules[0]: merge keys are nested more than 8 deep`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Load([]byte(strings.TrimPrefix(tc.text, "\n")))
			if c != nil || err == nil {
				t.Fatalf("Load = %+v, %v", c, err)
			}
			if diff := cmp.Diff(strings.Split(tc.want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAliasesAreBounded(t *testing.T) {
	t.Parallel()
	var overrides strings.Builder
	for i := range 500 {
		fmt.Fprintf(&overrides, "x%d: {resource: pod},", i)
	}
	text := "rules:\n- &a {seriesQuery: up, resources: {overrides: {" + overrides.String() + "}}}\n" + strings.Repeat("- *a\n", 300)
	_, err := Load([]byte(text))
	if err == nil || !strings.Contains(err.Error(), "aliases multiply") {
		t.Errorf("Load: %.200v", err)
	}
}

// addSeedConfigs adds all configurations of the tests as seeds for fuzzing.
func addSeedConfigs(f *testing.F) {
	paths, err := filepath.Glob("testdata/import/*.yaml")
	if err != nil || len(paths) == 0 {
		f.Fatal(err, paths)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	var cases []queryCase
	decodeYAMLFile(f, "testdata/queries.yaml", &cases)
	for _, c := range cases {
		f.Add([]byte(c.Config))
	}
	f.Add([]byte(sampleConfig))
}

// FuzzLoad: for any file, Load returns complete rules, or faults in order.
func FuzzLoad(f *testing.F) {
	addSeedConfigs(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Load(data)
		if err != nil {
			checkAdapterFaults(t, err)
			return
		}
		for _, r := range append(c.Rules[:len(c.Rules):len(c.Rules)], c.ExternalRules...) {
			if r.compiled.matches == nil || r.compiled.metricAs == "" || !r.compiled.selectsSeries() && len(r.compiled.report.Faults) == 0 {
				t.Errorf("%s is incomplete: %+v", r.path, r.compiled)
			}
			_ = r.compiled.expandMetricNameAs(r.compiled.selector.onlyName)
		}
	})
}

func checkAdapterFaults(t *testing.T, err error) {
	var faults config.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("error is %T: %v", err, err)
	}
	line := 0
	for _, f := range faults {
		if f.Message == "" || f.Line < line {
			t.Errorf("fault %+v after line %d", f, line)
		}
		line = f.Line
	}
}

// FuzzRender: no name or value of a request escapes from its matcher.
func FuzzRender(f *testing.F) {
	f.Add("default", "a", "b.c", "code", "200")
	f.Add("default", `a"} or x{b="`, "b|c", "app.kubernetes.io/name", `\`)
	f.Add("", "a", "", "a", "\n")
	f.Fuzz(func(t *testing.T, namespace, one, other, key, value string) {
		if key == "" {
			return
		}
		q := queryRequest{
			series: "up", namespaceLabel: "namespace", namespace: namespace, objectLabel: "pod", objects: []string{one, other},
			selector: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, key, value)},
		}
		args, err := q.buildQueryArguments()
		if err != nil {
			return // not UTF-8
		}
		s, err := parseSeriesQuery("up{" + args.LabelMatchers + "}")
		if err != nil {
			return // an invalid label name, or text outside UTF-8
		}
		want := 3
		if namespace != "" {
			want++
		}
		if len(s.matchers) != want {
			t.Fatalf("%d matchers, want %d: %s", len(s.matchers), want, args.LabelMatchers)
		}
		for _, m := range s.matchers {
			if m.Name == "pod" && m.Type == labels.MatchRegexp && (!m.Matches(one) || !m.Matches(other)) {
				t.Errorf("%s does not match %q and %q", m, one, other)
			}
		}
	})
}
