package rule

import "testing"

// TestRulesOfPractice: rules as people write them for autoscalers are no faults at load, however they filter and fall back.
func TestRulesOfPractice(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		`sum by (namespace, pod) (rate(http_requests_total{code!~"5.."}[2m]))`,
		`100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])))`,
		`sum by (pod) (rate(errors_total[5m])) / (sum by (pod) (rate(requests_total[5m])) > 0)`,
		`sum(rate(errors_total[5m])) / sum(rate(requests_total[5m])) > 0.05 or on () vector(0)`,
		`sum(rabbitmq_queue_messages_ready) - sum(rabbitmq_queue_messages_unacked) > 0 or vector(0)`,
		`sum(kafka_consumergroup_lag) / clamp_min(count(kube_pod_info), 1)`,
		`sum(kafka_consumergroup_lag) / scalar(count(kube_pod_info))`,
		`(histogram_quantile(0.9, sum by (le) (rate(d_bucket[5m]))) >= 0) or vector(0)`,
		`1 - sum(rate(d_bucket{le="0.5"}[5m])) / sum(rate(d_bucket{le="+Inf"}[5m]))`,
		`histogram_fraction(0, 0.2, rate(h[5m])) < 0.99`,
		`queue_depth * on (pod) group_left () (kube_pod_status_ready{condition="true"} == 1)`,
		`avg_over_time(queue_depth[5m]) and on (pod) kube_pod_status_ready{condition="true"} == 1`,
		`queue_depth unless on (pod) (kube_pod_deletion_timestamp > 0)`,
		`(hour() >= bool 8) * (hour() < bool 18) * 10`,
		`(vector(10) and on () hour() >= 8 and on () hour() < 18) or vector(2)`,
		`(day_of_week() > 0 < 6) * 0 + 5 or vector(1)`,
		`max(jobs_pending) - (max(jobs_running) or vector(0)) > 0 or vector(0)`,
		`clamp_max(sum(rate(x_total[1m])), 1000) < 1000 or vector(1000)`,
		`absent(queue) * 0 or queue`,
		`(sum(queue) > 0) or (absent(queue) * 0)`,
		`predict_linear(queue[10m], 300) > 0`,
		`count(kube_pod_info{phase="Running"} == 1) or vector(0)`,
		`sum(up == bool 0)`,
		`time() - max(last_success_timestamp) > 300`,
		`sum(rate(x_total[1m])) > sum(rate(x_total[1m] offset 1h)) * 2 or vector(0)`,
		`rate(x_total[1m]) > 0 unless rate(x_total[1m]) > 1000`,
		`x and timestamp(x) > time() - 60`,
		`max_over_time((sum by (pod) (rate(x_total[1m])) > 0)[5m:15s])`,
		`topk(3, sum by (pod) (rate(x_total[1m]))) > 1`,
		`label_replace(sum(x) > 0, "pod", "a", "", "")`,
		`sum by (pod) (x{a="1"} > 0 or x{a="2"} < 0)`,
		`y / on () (sum(x) == 0) or y / on () sum(x)`,
		`(a > b) or b`,
		`abs(sum(x{a="1"}) - sum(x{a="2"})) > 5`,
	} {
		tree, err := parseRuleExpr(query)
		if err == nil {
			err = tree.findNeverWorking()
		}
		if err == nil {
			err = tree.findNoNumberReason(false)
		}
		if err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}
