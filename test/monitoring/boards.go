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

// oneAutoscaler are the matchers of the chosen HPA in kube-state-metrics. Its queries take the maximum: two replicas of kube-state-metrics, or one before
// and after its restart, have each series twice.
const oneAutoscaler = `namespace="$namespace",horizontalpodautoscaler="$hpa"`

// newAutoscalerQuery returns the query of a number of the HPA.
func newAutoscalerQuery(number, legend string) query {
	return query{`max(kube_horizontalpodautoscaler_` + number + `{` + oneAutoscaler + `})`, legend}
}

// newConditionQuery returns the query of a condition of the HPA: 1 while it is true.
func newConditionQuery(condition, legend string) query {
	return query{`max(kube_horizontalpodautoscaler_status_condition{` + oneAutoscaler + `,condition="` + condition + `",status="true"})`, legend}
}

// readyReplicas is the number of ready pods of what the HPA scales.
var readyReplicas = `max(` + newReadyExpression("deployment", "Deployment") + ` or ` + newReadyExpression("statefulset", "StatefulSet") + `)`

func newReadyExpression(label, kind string) string {
	return `kube_` + label + `_status_replicas_ready{namespace="$namespace"} and on (` + label +
		`) label_replace(kube_horizontalpodautoscaler_info{` + oneAutoscaler + `,scaletargetref_kind="` + kind + `"}, "` + label + `", "$1", "scaletargetref_name", "(.+)")`
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
		description: "One HorizontalPodAutoscaler: its values, what it asks for, what is ready, and how fast it reacts. Needs kube-state-metrics.",
		variables: []variable{
			{"namespace", `label_values(kube_horizontalpodautoscaler_info, namespace)`},
			{"hpa", `label_values(kube_horizontalpodautoscaler_info{namespace="$namespace"}, horizontalpodautoscaler)`},
			{"rule", `label_values(tachometer_reaction_seconds_count, rule)`},
		},
		rows: []row{
			{"Now", []panel{
				{title: "Replicas wanted", description: "What the HPA asks for.", unit: "short", stat: true, queries: []query{newAutoscalerQuery("status_desired_replicas", "")}},
				{title: "Replicas ready", description: "Of the Deployment or StatefulSet that the HPA scales.", unit: "short", stat: true, queries: []query{{readyReplicas, ""}}},
				{title: "Has a value", description: "1 if the HPA has a value, 0 if it keeps its replicas: `kubectl describe hpa` has the reason.", unit: "short", stat: true, queries: []query{newConditionQuery("ScalingActive", "")}},
			}},
			{"Scaling", []panel{
				{title: "Replicas", description: "What the HPA asks for, what there is, what is ready, and its limits.", unit: "short", queries: []query{
					newAutoscalerQuery("status_desired_replicas", "wanted"), newAutoscalerQuery("status_current_replicas", "current"), {readyReplicas, "ready"},
					newAutoscalerQuery("spec_min_replicas", "min"), newAutoscalerQuery("spec_max_replicas", "max"),
				}},
				{title: "Metric values", description: "The values that the HPA read last, per pod or of the object.", unit: "short", queries: []query{
					{`max by (metric_name, metric_target_type) (kube_horizontalpodautoscaler_status_target_metric{` + oneAutoscaler + `})`, "{{metric_name}} {{metric_target_type}}"},
					{`max by (metric_name, metric_target_type) (kube_horizontalpodautoscaler_spec_target_metric{` + oneAutoscaler + `})`, "{{metric_name}} {{metric_target_type}} target"},
				}},
				{title: "Conditions", description: "ScalingActive 0: the HPA has no value, and `kubectl describe hpa` has the reason.", unit: "short", queries: []query{
					{`max by (condition) (kube_horizontalpodautoscaler_status_condition{` + oneAutoscaler + `,status="true"})`, "{{condition}}"},
				}},
				{title: "At the limit", description: "1 while the HPA wants more than its maximum allows.", unit: "short", queries: []query{newConditionQuery("ScalingLimited", "limited")}},
			}},
			{"Reaction", []panel{
				{title: "Stages, p95", description: "Of all HPAs with this rule: age of the oldest sample of a read, time between two looks, first read to scaled status, creation of a pod to its readiness.", unit: "s", queries: []query{
					{`histogram_quantile(0.95, sum by (stage, le) (rate(tachometer_reaction_seconds_bucket{rule="$rule"}[10m])))`, "{{stage}}"},
				}},
				{title: "Observations of each stage", description: "Over ten minutes; decisions and starts are rare.", unit: "short", queries: []query{
					{`sum by (stage) (increase(tachometer_reaction_seconds_count{rule="$rule"}[10m]))`, "{{stage}}"},
				}},
			}},
		},
	},
}
