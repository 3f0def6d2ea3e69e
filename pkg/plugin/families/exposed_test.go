package families

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

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
		newListedFamily("orders_lost", "", "", 0), newListedFamily("orders_lost", "", "", 0),
	}}
	list.Pages = []explainapi.MetricPage{{Workload: "ReplicaSet/web", Pod: "web-1", Targets: 3, Families: 2}, {Workload: "ReplicaSet/worker", Pod: "worker-1", Targets: 2, Families: 2}}
	list.Items[1].Demands = []explainapi.MetricDemand{{Metric: "request_per_second", Resource: "pods", Autoscaled: true}}
	list.Items[4].Demands = []explainapi.MetricDemand{{Metric: "orders_lost", External: true, Autoscaled: true}}
	list.Items[5].Demands = list.Items[4].Demands
	return list
}

func TestPrintListed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := PrintListed(&out, listedFamilies(), output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/listed.golden", out.String())
}

// TestReportWithList: values are those of the page, types and metrics those of the list; an autoscaler is suggested on what the rules in
// force serve for pods alone.
func TestReportWithList(t *testing.T) {
	t.Parallel()
	report, err := ReadPod(t.Context(), pageReader{"/api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics": page}, newPod(nil))
	if err != nil {
		t.Fatal(err)
	}
	list := &explainapi.MetricList{Source: explainapi.Source{Replica: "adapter-1"}, Items: []explainapi.Metric{
		newListedFamily("http_requests_total", "counter", "Cut.", 3, "web_per_second"), newListedFamily("legacy", "unknown", "Jobs.", 3, "jobs"),
		newListedFamily("orders_total", "counter", "", 3), newListedFamily("elsewhere", "gauge", "Elsewhere.", 3, "elsewhere"), newListedFamily("lost", "", "", 0),
	}}
	list.Items[2].Metrics = []explainapi.ServedMetric{{Name: "orders_of_(.+)", Resource: "pods", Pattern: true}, {Name: "orders", External: true}}
	report.AddListed(list)
	var out bytes.Buffer
	if err := report.Print(&out, output.TableOptions{Wide: true}); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/report.golden", out.String())
	hpa, err := report.Suggest("Deployment", "web", "")
	if err != nil || hpa.Namespace != "shop" || hpa.Spec.Metrics[0].Pods.Metric.Name != "web_per_second" {
		t.Errorf("suggested %+v, error %v", hpa, err)
	}
	unread := &PageReport{Namespace: "shop"}
	unread.AddListed(&explainapi.MetricList{Pages: []explainapi.MetricPage{{Pod: "web-2"}}, Items: list.Items[2:]})
	if len(unread.Families) != 2 || unread.Pod != "web-2" {
		t.Errorf("without a page: %+v", unread)
	}
	if hpa, err := unread.Suggest("Deployment", "web", ""); err != nil || hpa.Spec.Metrics[0].Pods.Metric.Name != "elsewhere" {
		t.Errorf("without a page: suggested %+v, error %v", hpa, err)
	}
}

// TestSuggestLoad: of the metrics of a service, that of its load is suggested, and never a fact, a time or the process itself.
func TestSuggestLoad(t *testing.T) {
	t.Parallel()
	for want, metrics := range map[string][]string{
		"request_per_second":        {"a_per_second", "request_per_second"},
		"took_count_per_second":     {"took_sum_per_second", "took_count_per_second", "took_p50", "took_p90"},
		"waiting":                   {"took_p50", "took_p90", "took_p95", "waiting", "took_p99"},
		"took_p50":                  {"build_info", "took_p50", "took_p90"},
		"orders_created_per_second": {"http_requests_created", "last_backup_timestamp_seconds", "orders_created_per_second"},
		"":                          {"build_info", "go_goroutines", "process_cpu_seconds_per_second"},
	} {
		hpa, err := (&PageReport{Families: []Family{{Metrics: metrics}}}).Suggest("Deployment", "web", "")
		if got := ""; err == nil {
			if got = hpa.Spec.Metrics[0].Pods.Metric.Name; got != want {
				t.Errorf("of %v: %s, want %s", metrics, got, want)
			}
		} else if want != "" {
			t.Errorf("of %v: %v", metrics, err)
		}
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
