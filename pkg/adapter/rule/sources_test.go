package rule

import (
	"slices"
	"strings"
	"testing"
)

// TestSources: a rule is fed by the namespace of the request, by those that its author names, or it is a fault.
func TestSources(t *testing.T) {
	t.Parallel()
	const rejected = "from: required with namespaced: none"
	for name, tc := range map[string]struct {
		rule []string
		want string // the source namespaces of a request in shop, or a part of the fault
	}{
		"default":                     {[]string{"external: true", "query: sum(a)"}, "shop"},
		"none, unsaid":                {[]string{"external: true", "query: sum(a)", "namespaced: none"}, rejected},
		"none, of one selector alone": {[]string{"external: true", `query: sum(a{namespace="mail"}) / sum(b)`, "namespaced: none"}, rejected},
		"none, by exclusion":          {[]string{"external: true", `query: sum(a{namespace!="evil"})`, "namespaced: none"}, rejected},
		"none, by any":                {[]string{"external: true", `query: sum(a{namespace=~".+"})`, "namespaced: none"}, rejected},
		"none, another label":         {[]string{"external: true", `query: sum(a{exported_namespace="mail"})`, "namespaced: none"}, rejected},
		"none, pattern":               {[]string{"metric: ''", "match: ^queue_(.+)$", "external: true", `query: sum(a{q="${1}"})`, "namespaced: none"}, rejected},
		"none, on a server":           {[]string{"external: true", "query: sum(a)", "namespaced: none", "backend: prometheus"}, rejected},
		"none, of objects on a server": {[]string{
			"resource: services", "query: sum by (service) (a)", "namespaced: none", "labels: {object: service}", "backend: prometheus",
		}, rejected},
		"in the query":                    {[]string{"external: true", `query: sum(a{namespace="mail"})`, "namespaced: none"}, "mail"},
		"several in the query":            {[]string{"external: true", `query: sum(a{namespace=~"mail|bank"})`, "namespaced: none"}, "bank mail"},
		"a pattern in the query":          {[]string{"external: true", `query: sum(a{namespace=~"team-.+"})`, "namespaced: none"}, "*"},
		"list":                            {[]string{"external: true", "query: sum(a)", "from: [mail, bank]"}, "bank mail"},
		"list with none":                  {[]string{"external: true", "query: sum(a)", "from: [mail]", "namespaced: none"}, "mail"},
		"all":                             {[]string{"external: true", "query: sum(a)", "from: all"}, "*"},
		"all, though the query names one": {[]string{"external: true", `query: sum(a{namespace="mail"})`, "from: all"}, "*"},
		"nodes":                           {[]string{"resource: nodes", "query: sum by (node) (a)"}, "*"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := tc.rule
			if lines[0] == "metric: ''" {
				lines = lines[1:]
			} else {
				lines = append([]string{"metric: m"}, lines...)
			}
			_, s, err := Load([]byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nbackends: [{name: prometheus, url: \"http://p\"}]\nrules:\n- " +
				strings.Join(lines, "\n  ") + "\n"))
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = strings.ReplaceAll(strings.Join(s.rules[0].rule.SourceNamespaces("shop"), " ")+"$", "$", "")
				if got == "" {
					got = "*"
				}
			}
			if tc.want == rejected && !strings.Contains(got, rejected) || tc.want != rejected && got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestSourcesInQuery: only series of the named namespaces are read, whatever the request's namespace.
func TestSourcesInQuery(t *testing.T) {
	t.Parallel()
	s := loadTestSet(t, "rules:\n- {metric: m, external: true, query: sum(a), from: [mail, bank]}\n")
	r, err := s.External("m")
	if err != nil {
		t.Fatal(err)
	}
	q := Query{Rule: r, Namespace: "evil"}
	if got, want := q.Expr(0, nil), `sum(a{namespace=~"bank|mail"})`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !slices.Equal(r.Namespaces, []string{"bank", "mail"}) {
		t.Errorf("namespaces %q", r.Namespaces)
	}
}
