package rule

import "testing"

func TestConserves(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		`sum by (namespace, pod) (rate(a_total[$window]))`:                                            true,
		`60 * sum by (namespace, pod) (rate(a_total[$window]))`:                                       true,
		`sum by (namespace, pod) (increase(a_total{code="500"}[30s])) / 2`:                            true,
		`sum by (namespace, pod) (rate(a_total[30s])) - sum by (namespace, pod) (rate(b_total[30s]))`: true,
		`-(sum without (code) (rate(a_total[30s]) * (1 + 1)))`:                                        true,
		`rate(a_total[30s])`:                               true,
		`sum by (namespace, pod) (a)`:                      false,
		`sum by (namespace, pod) (irate(a_total[30s]))`:    false,
		`sum by (namespace, pod) (rate(a_total[30s])) + 1`: false,
		`1 / rate(a_total[30s])`:                           false,
		`max by (namespace, pod) (rate(a_total[30s]))`:     false,
		`sum by (namespace, pod) (rate(a_sum[30s])) / sum by (namespace, pod) (rate(a_count[30s]))`:              false,
		`sum by (namespace, pod) (rate(a_total[30s])) > 5`:                                                       false,
		`sum by (namespace, pod) (rate(a_total[30s])) or sum by (namespace, pod) (rate(b_total[30s]))`:           false,
		`max_over_time(sum by (namespace, pod) (rate(a_total[20s]))[30s:2s])`:                                    false,
		`histogram_quantile(0.9, sum by (namespace, pod, le) (rate(a_bucket[30s])))`:                             false,
		`sum by (namespace, pod) (increase(a_total[30s])) * on (namespace, pod) sum by (namespace, pod) (scale)`: false,
	} {
		if got := compileQuery(t, query).Conserves(); got != want {
			t.Errorf("%s: Conserves = %v, want %v", query, got, want)
		}
	}
}

// TestAdditiveRulesNeedNoAggregate: the default, a sum, stands where the values of pods add up.
func TestAdditiveRulesNeedNoAggregate(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		`sum by (namespace, pod) (rate(a_total[$window]))`,
		`sum by (namespace, pod) (rate(a_total[$window])) / 60`,
		`sum by (namespace, pod) (a) + sum by (namespace, pod) (b)`,
		`count by (namespace, pod) (a > 3)`,
		`clamp_min(queue - on (namespace, pod) done, 0)`,
		`sum by (namespace, pod) (rate(a_total[$window])) * on (namespace, pod) group_left () up`,
		`sum_over_time(a[30s])`,
		`avg_over_time(a[30s])`,
		`sum by (namespace, pod) (max_over_time(a[30s]))`,
		`sum by (namespace, pod) (queue / on (namespace, queue) group_left () consumers)`,
		`sum by (namespace, pod) (rate(a_total[$window]) / 60)`,
		`label_replace(queue, "pod", "$1-0", "owner", "(.*)")`,
	} {
		loadTestSet(t, "rules:\n- metric: m\n  query: '"+query+"'\n")
	}
}

// TestSumsOfQuantilesNeedAnAggregate: an inner sum that only removes labels leaves what it sums up.
func TestSumsOfQuantilesNeedAnAggregate(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		`sum by (namespace, pod) (histogram_quantile(0.95, rate(a_bucket[$window])))`:                           true,
		`1000 * sum by (namespace, pod) (1 * (histogram_quantile(0.95, sum without (x) (rate(a_bucket[1m])))))`: true,
		`sum by (namespace, pod) (sum by (namespace, pod, x) (quantile_over_time(0.9, a[30s])))`:                true,
		`sum by (namespace, pod) (rate(a_sum[$window]) / rate(a_count[$window]))`:                               true,
		`sum by (namespace, pod) (100 * (sum without (code) (rate(a_total[30s])) / (increase(b_total[30s]))))`:  true,
		`sum by (namespace, pod) (irate(a_seconds_total[30s]))`:                                                 false,
		`sum by (namespace, pod) (a / b)`:                                                                       false,
		`sum by (namespace, pod) (rate(a_total[30s]) / on (namespace, pod) group_left () share)`:                false,
		`sum by (namespace, pod) (rate(a_sum[30s])) / scalar(b)`:                                                true,
		`count by (namespace, pod) (histogram_quantile(0.95, rate(a_bucket[$window])) > 1)`:                     false,
	} {
		if got := NeedsAggregate(query); got != want {
			t.Errorf("%s: needs an aggregate = %v, want %v", query, got, want)
		}
	}
}

func TestEndsNonAdditive(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"worker_utilization_ratio": true, "cpu_percent": true, "queue_age_seconds": true, "request_latency_p99": true,
		"cpu.utilization": true, "build_info": true, "ratio": true,
		"queue_wait_ms": true, "request_latency": true, "last_run_duration": true, "oldest_message_age": true, "worker_uptime": true, "lag_minutes": true,
		"queue_length": false, "memory_bytes": false, "connections": false, "messages": false, "storage": false, "vms": false, "jobs_per_second": false, "configuration": false,
	} {
		if got := endsLikeNonAdditiveGauge(name); got != want {
			t.Errorf("endsLikeNonAdditiveGauge(%q) = %v, want %v", name, got, want)
		}
	}
}
