package monitoring

// newQuantileQueries returns the queries of the median and the 99th percentile of a histogram.
func newQuantileQueries(histogram string) []query {
	return []query{
		{`histogram_quantile(0.5, sum by (le) (rate(` + histogram + `_bucket{job=~"$job"}[$__rate_interval])))`, "p50"},
		{`histogram_quantile(0.99, sum by (le) (rate(` + histogram + `_bucket{job=~"$job"}[$__rate_interval])))`, "p99"},
	}
}

// newRateQuery returns the query of a counter's rate, by one of its labels.
func newRateQuery(counter, label string) query {
	return query{`sum by (` + label + `) (rate(` + counter + `{job=~"$job"}[$__rate_interval]))`, "{{" + label + "}}"}
}

// boards are the dashboards, by the names of their files.
var boards = map[string]board{
	"adapter.json": {
		uid: "tachometer-adapter", title: "Tachometer / Adapter",
		description: "Are values fresh, are reads answered, and what does it cost? The self-metrics are in docs/metrics.md.",
		variables:   []variable{{"job", `label_values(tachometer_scrape_targets, job)`}},
		rows: []row{
			{"Now", []panel{
				{title: "Reads", description: "Requests for metrics, by HPAs and all others.", unit: "reqps", stat: true, queries: []query{{`sum(rate(tachometer_provider_requests_total{job=~"$job"}[$__rate_interval]))`, ""}}},
				{title: "Reads without a value", description: "Share of reads that were answered with an error and its reason.", unit: "percentunit", stat: true, queries: []query{{`sum(rate(tachometer_provider_requests_total{job=~"$job",outcome!="success"}[$__rate_interval])) / sum(rate(tachometer_provider_requests_total{job=~"$job"}[$__rate_interval]))`, ""}}},
				{title: "Age of values, p99", description: "Time since the newest sample behind a served value.", unit: "s", stat: true, queries: newQuantileQueries("tachometer_provider_value_age_seconds")[1:]},
				{title: "Targets", description: "Pods that a replica scrapes.", unit: "short", stat: true, queries: []query{{`max(tachometer_scrape_targets{job=~"$job"})`, ""}}},
				{title: "Faults in the configuration", description: "Above 0 the previous configuration stays active.", unit: "short", stat: true, queries: []query{{`max(tachometer_config_faults{job=~"$job"})`, ""}}},
				{title: "Certificate expires in", description: "Renewed by the adapter itself, unless cert-manager issues it.", unit: "s", stat: true, queries: []query{{`min(tachometer_certificate_expiry_timestamp_seconds{job=~"$job"} > 0) - time()`, ""}}},
			}},
			{"Answers", []panel{
				{title: "Reads by outcome", description: "unavailable: the reason is in the answer and in the HPA's condition.", unit: "reqps", queries: []query{newRateQuery("tachometer_provider_requests_total", "outcome")}},
				{title: "Time to answer", description: "Without the API server's own work.", unit: "s", queries: newQuantileQueries("tachometer_provider_request_duration_seconds")},
				{title: "Age of served values", description: "A value is as old as the newest sample behind it.", unit: "s", queries: newQuantileQueries("tachometer_provider_value_age_seconds")},
				{title: "Objects left out, by reason", description: "Pods without a value in an answer.", unit: "ops", queries: []query{newRateQuery("tachometer_provider_omissions_total", "reason")}},
				{title: "Windows", description: "The longest window of an evaluation's values.", unit: "s", queries: newQuantileQueries("tachometer_query_window_seconds")},
				{title: "Fallbacks", description: "External metrics that are served with their rule's fallback.", unit: "short", queries: []query{{`max(tachometer_provider_active_fallbacks{job=~"$job"})`, "active"}}},
			}},
			{"Scraping", []panel{
				{title: "Scrapes by outcome", unit: "ops", queries: []query{newRateQuery("tachometer_scrape_requests_total", "outcome")}},
				{title: "Duration of a scrape", unit: "s", queries: newQuantileQueries("tachometer_scrape_duration_seconds")},
				{title: "Lateness and missed scrapes", description: "Late scrapes mean that the adapter lacks processor time.", unit: "s", queries: append(newQuantileQueries("tachometer_scrape_lateness_seconds"), query{`sum(rate(tachometer_scrape_missed_total{job=~"$job"}[$__rate_interval]))`, "missed per second"})},
				{title: "Pages rejected, by reason", unit: "ops", queries: []query{newRateQuery("tachometer_scrape_pages_rejected_total", "reason")}},
				{title: "Series and samples in memory", unit: "short", queries: []query{{`max(tachometer_store_series{job=~"$job"})`, "series"}, {`max(tachometer_store_samples{job=~"$job"})`, "samples"}}},
				{title: "Samples rejected by the store", unit: "ops", queries: []query{newRateQuery("tachometer_store_rejected_total", "reason")}},
			}},
			{"Backends", []panel{
				{title: "Backends that respond", description: "1 responds, 0 fails.", unit: "short", queries: []query{{`min by (backend) (tachometer_backend_up{job=~"$job"})`, "{{backend}}"}}},
				{title: "Duration of a query", unit: "s", queries: newQuantileQueries("tachometer_backend_request_duration_seconds")},
			}},
			{"Cost", []panel{
				{title: "Processor time", unit: "short", queries: []query{{`rate(process_cpu_seconds_total{job=~"$job"}[$__rate_interval])`, "{{instance}}"}}},
				{title: "Resident memory", unit: "bytes", queries: []query{{`process_resident_memory_bytes{job=~"$job"}`, "{{instance}}"}}},
				{title: "Requests rejected at the door, by reason", description: "Limits of the API server: too large, too many, unknown.", unit: "reqps", queries: []query{newRateQuery("tachometer_apiserver_rejected_requests_total", "reason")}},
				{title: "Certificate checks by outcome", unit: "ops", queries: []query{newRateQuery("tachometer_certificate_checks_total", "outcome")}},
			}},
		},
	},
	"hpa.json": {
		uid: "tachometer-hpa", title: "Tachometer / HPA",
		description: "One HorizontalPodAutoscaler: its values, what it asks for, and what is ready. Needs kube-state-metrics.",
		variables: []variable{
			{"namespace", `label_values(kube_horizontalpodautoscaler_info, namespace)`},
			{"hpa", `label_values(kube_horizontalpodautoscaler_info{namespace="$namespace"}, horizontalpodautoscaler)`},
		},
		rows: []row{{"Scaling", []panel{
			{title: "Replicas", description: "What the HPA asks for, what there is, and its limits.", unit: "short", queries: []query{
				{`kube_horizontalpodautoscaler_status_desired_replicas{namespace="$namespace",horizontalpodautoscaler="$hpa"}`, "desired"},
				{`kube_horizontalpodautoscaler_status_current_replicas{namespace="$namespace",horizontalpodautoscaler="$hpa"}`, "current"},
				{`kube_horizontalpodautoscaler_spec_min_replicas{namespace="$namespace",horizontalpodautoscaler="$hpa"}`, "min"},
				{`kube_horizontalpodautoscaler_spec_max_replicas{namespace="$namespace",horizontalpodautoscaler="$hpa"}`, "max"},
			}},
			{title: "Metric values", description: "The values that the HPA read last, per pod or of the object.", unit: "short", queries: []query{
				{`kube_horizontalpodautoscaler_status_target_metric{namespace="$namespace",horizontalpodautoscaler="$hpa"}`, "{{metric_name}} {{metric_target_type}}"},
				{`kube_horizontalpodautoscaler_spec_target_metric{namespace="$namespace",horizontalpodautoscaler="$hpa"}`, "{{metric_name}} target"},
			}},
			{title: "Conditions", description: "ScalingActive false: the HPA has no value, and `kubectl describe hpa` has the reason.", unit: "short", queries: []query{
				{`kube_horizontalpodautoscaler_status_condition{namespace="$namespace",horizontalpodautoscaler="$hpa",status="true"}`, "{{condition}}"},
			}},
			{title: "At the limit", description: "1 while the HPA wants more than its maximum allows.", unit: "short", queries: []query{
				{`kube_horizontalpodautoscaler_status_condition{namespace="$namespace",horizontalpodautoscaler="$hpa",condition="ScalingLimited",status="true"}`, "limited"},
			}},
		}}},
	},
}
