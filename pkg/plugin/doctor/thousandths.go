// A target in thousandths that was probably meant in whole numbers.

package doctor

import (
	"fmt"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// suspectRatio is the usage in targets from which a target in thousandths is probably a mistake: 50m in place of 50 gives a thousand times.
const suspectRatio = 100

// isTargetOfThousandths reports whether the i-th metric has a target such as 50m, and a hundred times as much usage. CPU has such targets.
func (v *autoscalerDiagnosis) isTargetOfThousandths(i int) bool {
	if i >= len(v.decisions) || v.decisions[i].Err != nil || isUsageMetric(v.hpa.Spec.Metrics[i]) {
		return false
	}
	d := &v.decisions[i]
	return d.Stage != hpa.StageFromZero && d.UsageRatio >= suspectRatio && strings.HasSuffix(reading.FormatTarget(reading.TargetOf(v.hpa.Spec.Metrics[i])), "m")
}

// addThousandthsCheck names the target of the i-th metric as a number, and gives the command for the target without the m.
func (v *autoscalerDiagnosis) addThousandthsCheck(i int) {
	spec, d := v.hpa.Spec.Metrics[i], &v.decisions[i]
	target, field := reading.TargetOf(spec), "averageValue"
	if target.Value != nil {
		field = "value"
	}
	text := reading.FormatTarget(target)
	v.addVisitCheck("metric", StatusWarning, fmt.Sprintf("%s: %s is %.0f times its target of %s, which is %s", v.answers[i].Metric,
		reading.FormatAmount("", d.Usage), d.UsageRatio, text, reading.FormatAmount("", d.Target)),
		v.formatVisitReadCommand(`patch hpa %s --type=json -p '[{"op":"replace","path":"/spec/metrics/%d/%s/target/%s","value":%q}]'`, v.hpa.Name, i,
			inventory.NameMetricField(spec), field, strings.TrimSuffix(text, "m")))
}
