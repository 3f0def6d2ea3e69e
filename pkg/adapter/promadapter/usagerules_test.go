package promadapter

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/import/resource.yaml")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var kube fakeCluster
		kube.setResources(errors.New("connection refused"))
		c := startCatalog(t, loadConfig(t, string(data)), newSeriesList(t), &kube)
		if c.UsageRules() != nil {
			t.Error("usage without the cluster's resources")
		}
		if notes := strings.Join(c.Rules().Notes(), "\n"); !strings.Contains(notes, `resourceRules: resourceRules.cpu: look up the resource of label "namespace": connection refused`) {
			t.Errorf("notes: %s", notes)
		}
		kube.setResources(nil)
		<-time.After(usageRetryInterval)
		synctest.Wait()
		u := c.UsageRules()
		if u == nil {
			t.Fatalf("no usage: %q", c.Rules().Notes())
		}
		if notes := c.Rules().Notes(); len(notes) > 0 {
			t.Errorf("notes: %q", notes)
		}
		got := map[string]string{"window": u.Window.String()}
		for name, r := range map[string]rule.UsageRules{"cpu": u.CPU, "memory": u.Memory} {
			got[name+" labels"] = strings.Join([]string{r.NamespaceLabel, r.PodLabel, r.ContainerLabel, r.NodeLabel}, " ")
			got[name+" of containers"] = ruleQueryText(t, r.Containers, "default", []string{"a", "b.c"}, nil)
			got[name+" of nodes"] = ruleQueryText(t, r.Nodes, "", []string{"n"}, nil)
		}
		want := map[string]string{
			"window":               "5m0s",
			"cpu labels":           "namespace pod container node",
			"cpu of containers":    `sum by (pod, container) (irate(container_cpu_usage_seconds_total{container!="",namespace="default",pod!="",pod=~"a|b[.]c"}[4m]))`,
			"cpu of nodes":         `sum by (node) (irate(node_cpu_usage_seconds_total{node="n"}[4m]))`,
			"memory labels":        "namespace pod container node",
			"memory of containers": `sum by (pod, container) (container_memory_working_set_bytes{container!="",namespace="default",pod!="",pod=~"a|b[.]c"})`,
			"memory of nodes":      `sum by (node) (node_memory_working_set_bytes{node="n"})`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestUsageWithoutLabels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := startCatalog(t, loadConfig(t, "resourceRules: {cpu: {containerQuery: 'sum(x{<<.LabelMatchers>>})'}}"), newSeriesList(t), &fakeCluster{})
		u := c.UsageRules()
		if u == nil || u.CPU.Nodes != nil || u.Memory.Containers != nil {
			t.Fatalf("usage %+v", u)
		}
		if _, err := (rule.Query{Rule: u.CPU.Containers, Objects: []string{"a"}}).BuildRemoteQuery(nil); err == nil {
			t.Error("a query without a label for pods")
		}
		if notes := c.Rules().Notes(); len(notes) != 4 {
			t.Errorf("notes: %q", notes)
		}
	})
}
