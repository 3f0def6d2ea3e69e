package rule

import (
	"strings"
	"testing"
	"time"
)

// TestTargetsAreApart: a rule with targets reads their series alone, and rules over all namespaces read none of them.
func TestTargetsAreApart(t *testing.T) {
	t.Parallel()
	const file = `
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
rules:
- {metric: everywhere, external: true, from: all, query: sum(messages)}
- {metric: here, external: true, query: sum(messages)}
- {metric: load, resource: nodes, query: sum by (node) (messages)}
`
	const withTargets = file + `- {metric: queue, external: true, query: sum(messages), targets: {service: mail/queue, port: 9419}}
- {metric: gateway, resource: services, query: sum(messages), targets: {service: mail/gateway}, labels: {object: service, namespace: exported_namespace}}
- {metric: fixed, external: true, query: sum(messages), targets: {addresses: ["http://10.0.0.5:1/m", "http://10.0.0.6:1/m"]}}
`
	const without = `namespace!~"(service|address):.+"`
	for name, tc := range map[string]struct{ file, metric, want string }{
		"no rule has targets": {file, "everywhere", `sum(messages)`},
		"all namespaces":      {withTargets, "everywhere", `sum(messages{` + without + `})`},
		"the request's":       {withTargets, "here", `sum(messages{namespace="shop"})`},
		"nodes":               {withTargets, "load", `sum by (node) (messages{` + without + `,node="n1"})`},
		"a Service":           {withTargets, "queue", `sum(messages{namespace="service:mail/queue:9419/metrics"})`},
		"addresses, escaped":  {withTargets, "fixed", `sum(messages{namespace=~"address:http://10\\.0\\.0\\.5:1/m|address:http://10\\.0\\.0\\.6:1/m"})`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, set, err := Load([]byte(tc.file))
			if err != nil {
				t.Fatal(err)
			}
			r, err := set.External(tc.metric)
			q := Query{Rule: r, Namespace: "shop"}
			if tc.metric == "load" {
				r, err = set.Lookup("nodes", tc.metric)
				q = Query{Rule: r, Objects: []string{"n1"}}
			}
			if err != nil {
				t.Fatal(err)
			}
			if q.Rule = r; !r.Namespaced {
				q.Namespace = ""
			}
			if got := strings.Join(strings.Fields(q.Expr(time.Minute, q.Objects)), " "); got != tc.want {
				t.Errorf("expression %s, want %s", got, tc.want)
			}
		})
	}
}

// TestTargetsOfObjects: the rule of a metric of objects reads the series of its targets, as an external rule does, and the provider adds
// the object's labels.
func TestTargetsOfObjects(t *testing.T) {
	t.Parallel()
	_, set, err := Load([]byte(`
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
rules:
- metric: gateway
  resource: services
  query: sum(rate(requests_total[$window]))
  targets: {service: mail/gateway}
  labels: {object: service, namespace: exported_namespace}
`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := set.Lookup("services", "gateway")
	if err != nil {
		t.Fatal(err)
	}
	if r.External || r.PerPod() || r.Resource != "services" || r.TargetLabels.Object != "service" || r.TargetLabels.Namespace != "exported_namespace" {
		t.Errorf("%+v", r)
	}
	got := Query{Rule: r.Series}.Expr(time.Minute, nil)
	if want := `sum(rate(requests_total{namespace="service:mail/gateway"}[1m]))`; got != want || !r.Series.External {
		t.Errorf("expression %s, want %s", got, want)
	}
	if infos := set.Metrics(); len(infos) != 1 || infos[0].External || infos[0].Resource != "services" {
		t.Errorf("metrics %+v", infos)
	}
	if _, err := set.External("gateway"); err == nil {
		t.Error("it is an external metric too")
	}
}
