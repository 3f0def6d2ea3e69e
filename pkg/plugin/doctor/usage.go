// The API of CPU and memory, which another server than the adapter serves in most clusters.

package doctor

import (
	"context"
	"fmt"
	"slices"

	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// usageAPIService is the APIService of CPU and memory.
const usageAPIService = "v1beta1." + reading.ResourceGroup

// readUsageAPI reads the APIService of CPU and memory where a read of them failed. Its condition has the cause.
func (v *autoscalerDiagnosis) readUsageAPI(ctx context.Context) {
	isBroken := false
	for i, a := range v.answers {
		isBroken = isBroken || isUsageMetric(v.hpa.Spec.Metrics[i]) && a.Path != "" && a.Err != nil && !reading.IsOwnFailure(a.Err)
	}
	if !isBroken {
		return
	}
	if service, err := v.readAPIService(ctx, usageAPIService); err == nil { // else the answer says enough
		v.usageAPI = service
	}
}

// checkUsageAPI says why kube-apiserver does not reach the server of CPU and memory, once for all autoscalers.
func (v *autoscalerDiagnosis) checkUsageAPI() {
	if v.usageAPI == nil || slices.ContainsFunc(v.report.Checks, func(c Check) bool { return c.Name == "available" && c.Subject == usageAPIService }) {
		return
	}
	condition, fix := findAvailableCondition(v.usageAPI), "kubectl describe apiservice "+usageAPIService
	if condition == nil || condition.Status == apiregistration.ConditionTrue {
		return
	}
	if at := v.usageAPI.Spec.Service; at != nil {
		fix = fmt.Sprintf("kubectl -n %s logs service/%s --tail=50", at.Namespace, at.Name)
	}
	v.addDoctorCheck("available", usageAPIService, StatusFail, condition.Reason+": "+condition.Message, fix)
}
