package families

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func newListedFamily(name, kind, help string, targets int, metrics ...string) explainapi.Metric {
	m := explainapi.Metric{Type: kind, Help: help, Targets: targets}
	for _, metric := range metrics {
		m.Metrics = append(m.Metrics, explainapi.ServedMetric{Name: metric, Resource: "pods"})
	}
	m.Name = name
	return m
}

// listedFamilies is the adapter's list of a namespace with a service and a worker.
func listedFamilies() *explainapi.MetricList {
	list := &explainapi.MetricList{Items: []explainapi.Metric{
		newListedFamily("http_requests_in_flight", "gauge", "Requests that are being served.", 3, "http_requests_in_flight"),
		newListedFamily("http_requests_total", "counter", "Requests by code.", 3, "request_per_second", "http_requests_per_second"),
		newListedFamily("job_duration_seconds", "summary", "Time of a job.", 2, "job_duration_seconds_count_per_second"),
		newListedFamily("jobs_waiting", "gauge", "Jobs in the queue.", 2, "jobs_waiting"),
		newListedFamily("orders_lost", "", "", 0),
	}}
	list.Items[1].Demands = []explainapi.MetricDemand{{Metric: "request_per_second", Resource: "pods", Autoscaled: true}}
	list.Items[4].Demands = []explainapi.MetricDemand{{Metric: "orders_lost", External: true, Autoscaled: true}}
	return list
}

func TestPrintListed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := PrintListed(&out, listedFamilies(), output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "listed.golden")
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestListedReport: an autoscaler is suggested on the adapter's list as on a page, and never on what no rule serves for pods.
func TestListedReport(t *testing.T) {
	t.Parallel()
	list := listedFamilies()
	list.Items[3].Metrics = []explainapi.ServedMetric{{Name: "jobs_of_(.+)", Resource: "pods", Pattern: true}, {Name: "jobs_waiting", External: true}}
	report := NewListedReport("shop", list)
	if len(report.Families) != 4 || report.Families[3].Metrics != nil {
		t.Errorf("families %+v", report.Families)
	}
	hpa, err := report.Suggest("Deployment", "web", "")
	if err != nil || hpa.Namespace != "shop" || hpa.Spec.Metrics[0].Pods.Metric.Name != "request_per_second" {
		t.Errorf("suggested %+v, error %v", hpa, err)
	}
}

func TestListGaps(t *testing.T) {
	t.Parallel()
	list := &explainapi.MetricList{UnreadWorkloads: 1, Truncated: true, Pages: []explainapi.MetricPage{
		{Workload: "ReplicaSet/web", Pod: "web-1", Families: 9}, {Workload: "Pod/a", Pod: "a", Error: "HTTP 503"}, {Workload: "Pod/b", Pod: "b", Families: 560, Truncated: true},
	}}
	want := []string{
		"could not read the page of pod a for Pod/a: HTTP 503", "the page of pod b for Pod/b has more families than the 560 that are listed",
		"1 workload more not read: name one, as deployment/NAME", "the pages have more families than are listed: name a workload, as deployment/NAME",
	}
	if diff := cmp.Diff(want, ListGaps(list)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
