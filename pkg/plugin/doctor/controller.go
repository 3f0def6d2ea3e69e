// The HPA controller: whether it reads, and how often; and this machine's clock.

package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/budget"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
)

const (
	// controllerPeriod is the time between two looks of the HPA controller that is worth a warning: the default is 15 s.
	controllerPeriod = 30 * time.Second
	// controllerSilence is the time without a look after which the HPA controller has stopped: a slow one looks more often.
	controllerSilence = 3 * time.Minute
	// controllerSpan is how far back the period is measured.
	controllerSpan = 10 * time.Minute
	// maxReadRecords bounds the records that are read for a period: one with two looks is enough.
	maxReadRecords = 3
)

// checkHPAController measures how often the HPA controller looks, from the adapter's record of an autoscaler. Without a record it says
// nothing: the APIService of the records has a check of its own.
func (d *doctor) checkHPAController(ctx context.Context) {
	var silent *autoscalingv2.HorizontalPodAutoscaler // of which the record has no late read
	var last time.Time
	for i, hpa := range d.hpas {
		if i == maxReadRecords {
			break
		}
		log, err := records.ReadLog(ctx, d.Metrics.Reader, hpa.Namespace, hpa.Name, controllerSpan)
		if errors.Is(err, records.ErrNotServed) {
			return
		}
		if err != nil {
			continue
		}
		if d.ahead == 0 {
			d.checkAdapterClock(log.Source.Time)
		}
		read := findLastControllerRead(log)
		if d.expectsControllerReads(hpa, log) && log.Source.Time.Sub(read) > controllerSilence {
			if silent == nil || read.After(last) {
				silent, last = hpa, read
			}
			continue
		}
		if period, ok := measureControllerPeriod(log); ok {
			d.addControllerCheck(hpa, period)
			return
		}
	}
	if silent != nil {
		d.addSilentControllerCheck(silent, last)
	}
}

// addSilentControllerCheck says since when the HPA controller has not read; last is zero where the record has no read at all.
func (d *doctor) addSilentControllerCheck(hpa *autoscalingv2.HorizontalPodAutoscaler, last time.Time) {
	subject := hpa.Namespace + "/" + hpa.Name
	if last.IsZero() {
		d.addDoctorCheck("controller", subject, StatusWarning, fmt.Sprintf("the record of the last %s has no read by the HPA controller: "+
			"it does not run, or the adapter's --autoscaler-users lacks its user", output.Duration(controllerSpan)), formatDescribeHPACommand(hpa))
		return
	}
	d.addDoctorCheck("controller", subject, StatusFail, fmt.Sprintf("the HPA controller has read nothing since %s: kube-controller-manager does not run, has no leader, has a token that kube-apiserver rejects (401), or is far behind",
		last.UTC().Format(time.RFC3339)), "kubectl -n kube-system get lease kube-controller-manager -o yaml")
}

// findLastControllerRead returns the time of the last look with a read; zero without one.
func findLastControllerRead(log *explainapi.DecisionLog) time.Time {
	var last time.Time
	for _, l := range log.Decisions {
		if len(l.Reads) > 0 && l.Time.After(last) {
			last = l.Time
		}
	}
	return last
}

// measureControllerPeriod returns the time between two looks, if the record has two.
func measureControllerPeriod(log *explainapi.DecisionLog) (time.Duration, bool) {
	for _, stage := range budget.Measure(log).Stages {
		if stage.Name == budget.Period && stage.Count > 0 {
			return stage.P50.Round(time.Second), true
		}
	}
	return 0, false
}

func (d *doctor) addControllerCheck(hpa *autoscalingv2.HorizontalPodAutoscaler, period time.Duration) {
	subject, text := hpa.Namespace+"/"+hpa.Name, fmt.Sprintf("the HPA controller looks every %s", period)
	if period < controllerPeriod {
		d.addDoctorCheck("controller", subject, StatusOK, text, "")
		return
	}
	d.addDoctorCheck("controller", subject, StatusWarning, text+": raise --concurrent-horizontal-pod-autoscaler-syncs of kube-controller-manager, "+
		"or lower its --horizontal-pod-autoscaler-sync-period", fmt.Sprintf("kubectl tachometer budget hpa/%s -n %s", hpa.Name, hpa.Namespace))
}

// expectsControllerReads reports whether a whole record that is old enough must have reads: the adapter serves custom metrics, and the
// controller reads one at this number of replicas.
func (d *doctor) expectsControllerReads(hpa *autoscalingv2.HorizontalPodAutoscaler, log *explainapi.DecisionLog) bool {
	readsPods := slices.ContainsFunc(hpa.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool { return m.Pods != nil })
	isServed := len(d.services) > 0 && d.isAdapterAPIService(d.services[0])
	now, begin := log.Source.Time, log.Source.UnknownBefore
	isActive := !slices.ContainsFunc(hpa.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool { // else a check of its own says why not
		return c.Status == corev1.ConditionFalse && (c.Type == autoscalingv2.ScalingActive || c.Type == autoscalingv2.AbleToScale)
	})
	isWhole := !slices.ContainsFunc(log.Source.Replicas, func(r explainapi.ReplicaRecord) bool { return r.Error != "" })
	return readsPods && isServed && isActive && isWhole && hpa.Status.CurrentReplicas >= inventory.MinReplicasOf(hpa) && hpa.Status.CurrentReplicas > 0 &&
		hpa.Status.CurrentReplicas <= hpa.Spec.MaxReplicas && !begin.IsZero() && now.Sub(begin) > controllerSilence
}

// checkAdapterClock compares this machine's clock with the adapter's time of an answer. Ages of values are by the adapter's clock.
func (d *doctor) checkAdapterClock(answered time.Time) {
	if d.ahead = reading.MeasureClockAhead(answered, d.Now()); d.ahead != 0 {
		d.addDoctorCheck("clock", "", StatusWarning, reading.DescribeClock(d.ahead, "the adapter's"), "date -u")
	}
}
