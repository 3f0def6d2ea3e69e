package promadapter

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const rivalUsageRules = `
resourceRules:
  cpu:
    containerLabel: container
    containerQuery: sum(rate(cpu_total{<<.LabelMatchers>>,container!=""}[3m])) by (<<.GroupBy>>)
    nodeQuery: sum(rate(cpu_total{<<.LabelMatchers>>, id='/'}[3m])) by (<<.GroupBy>>)
    resources: {overrides: {instance: {resource: node}, namespace: {resource: namespace}, node: {resource: node}, pod: {resource: pod}}}
`

// TestRivalLabelsOfUsageRules: of several labels for nodes, the label with names of nodes is used.
func TestRivalLabelsOfUsageRules(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ series, want string }{
		"an address and a name":     {`cpu_total{id="/",instance="10.0.0.1:10250",node="n1"}`, "node"},
		"an IP address and a name":  {`cpu_total{id="/",instance="10.0.0.1",node="n1"}`, "node"},
		"only a name":               {`cpu_total{id="/",node="n1"}`, "node"},
		"an instance that is named": {`cpu_total{id="/",instance="n1"}`, "instance"},
		"both are names":            {`cpu_total{id="/",instance="n1",node="n1"}`, "instance"},
		"only an address":           {`cpu_total{id="/",instance="10.0.0.1:10250"}`, "instance"},
		"series of other rules":     {`memory{id="/",node="n1"}`, "instance"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := startCatalog(t, loadConfig(t, rivalUsageRules), newSeriesList(t, tc.series), &fakeCluster{})
				if got := c.UsageRules().CPU.NodeLabel; got != tc.want {
					t.Errorf("label %s, want %s: %q", got, tc.want, c.Rules().Notes())
				}
			})
		})
	}
}

// TestRivalLabelsAreSettledLater: without series the first label is used and said to be a guess, until there are series.
func TestRivalLabelsAreSettledLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		series := newSeriesList(t)
		c := startCatalog(t, loadConfig(t, rivalUsageRules), series, &fakeCluster{})
		const guess = "resourceRules.cpu: no series seen yet; of the labels instance, node for nodes it takes instance"
		if notes := c.Rules().Notes(); c.UsageRules().CPU.NodeLabel != "instance" || len(notes) == 0 || notes[0] != guess {
			t.Errorf("label %s, notes %q", c.UsageRules().CPU.NodeLabel, notes)
		}
		series.setSeries(t, `cpu_total{id="/",instance="10.0.0.1:10250",node="n1"}`)
		<-time.After(2 * usageRetryInterval)
		synctest.Wait()
		want := []string{"resourceRules.memory.containerQuery: missing: its part of metrics.k8s.io is not served", "resourceRules.memory.nodeQuery: missing: its part of metrics.k8s.io is not served"}
		if diff := cmp.Diff(want, c.Rules().Notes()); c.UsageRules().CPU.NodeLabel != "node" || diff != "" {
			t.Errorf("label %s, notes (-want +got):\n%s", c.UsageRules().CPU.NodeLabel, diff)
		}
	})
}

// TestRivalLabelsWithoutServer: while the server is down there are no usage rules, instead of rules by a wrong label.
func TestRivalLabelsWithoutServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		series := newSeriesList(t, `cpu_total{id="/",instance="10.0.0.1:10250",node="n1"}`)
		series.setListError("*", errors.New("down"))
		c := startCatalog(t, loadConfig(t, rivalUsageRules), series, &fakeCluster{})
		if c.UsageRules() != nil {
			t.Errorf("label %s", c.UsageRules().CPU.NodeLabel)
		}
		series.setListError("", nil)
		<-time.After(2 * usageRetryInterval)
		synctest.Wait()
		if u := c.UsageRules(); u == nil || u.CPU.NodeLabel != "node" {
			t.Errorf("rules %+v, notes %q", u, c.Rules().Notes())
		}
	})
}

// TestRivalLabelsOfRules: the same holds for rules, also for rules that name all their labels.
func TestRivalLabelsOfRules(t *testing.T) {
	t.Parallel()
	for name, seriesQuery := range map[string]string{
		"fixed": `cpu_total{instance!="",node!=""}`, "one name": `cpu_total`, "many names": `{__name__=~"^cpu_.*"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := startCatalog(t, loadConfig(t, `
rules:
- seriesQuery: '`+seriesQuery+`'
  resources: {overrides: {instance: {resource: node}, node: {resource: nodes}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
`), newSeriesList(t, `cpu_total{instance="10.0.0.1:10250",node="n1"}`), &fakeCluster{})
				r, err := c.Rules().Lookup("nodes", "cpu_total")
				if err != nil || r.ObjectLabel != "node" {
					t.Errorf("%+v, %v", r, err)
				}
			})
		})
	}
}
