package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/budget"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
)

const (
	// controllerPeriod is the time between two looks of the HPA controller that is worth a warning: the default is 15 s.
	controllerPeriod = 30 * time.Second
	// controllerSpan is how far back the period is measured.
	controllerSpan = 10 * time.Minute
	// maxReadRecords bounds the records that are read for a period: one with two looks is enough.
	maxReadRecords = 3
)

// checkDoctorController measures how often the HPA controller looks, from the adapter's record of an autoscaler. Without a record it says
// nothing: the APIService of the records has a check of its own.
func (d *doctor) checkDoctorController(ctx context.Context) {
	for i, hpa := range d.hpas {
		if i == maxReadRecords {
			return
		}
		log, err := records.ReadLog(ctx, d.Metrics.Reader, hpa.Namespace, hpa.Name, controllerSpan)
		if errors.Is(err, records.ErrNotServed) {
			return
		}
		if err != nil {
			continue
		}
		if i == 0 {
			d.checkDoctorClock(log.Source.Time)
		}
		subject := hpa.Namespace + "/" + hpa.Name
		for _, stage := range budget.Measure(log).Stages {
			switch text := fmt.Sprintf("the HPA controller looks every %s", stage.P50.Round(time.Second)); {
			case stage.Name != budget.Period, stage.Count == 0:
				continue
			case stage.P50 >= controllerPeriod:
				d.addDoctorCheck("controller", subject, StatusWarning, text+": raise --concurrent-horizontal-pod-autoscaler-syncs of kube-controller-manager, "+
					"or lower its --horizontal-pod-autoscaler-sync-period", fmt.Sprintf("kubectl tachometer budget hpa/%s -n %s", hpa.Name, hpa.Namespace))
			default:
				d.addDoctorCheck("controller", subject, StatusOK, text, "")
			}
			return
		}
	}
}

// checkDoctorClock compares this machine's clock with the adapter's time of an answer. Ages of values are those by the adapter's clock.
func (d *doctor) checkDoctorClock(answered time.Time) {
	ahead := answered.Sub(d.Now()).Round(time.Second)
	if answered.IsZero() || ahead.Abs() < clockSkew {
		return
	}
	d.ahead = ahead
	word := "behind"
	if ahead < 0 {
		word = "ahead of"
	}
	d.addDoctorCheck("clock", "", StatusWarning, fmt.Sprintf("this machine's clock is %s %s the adapter's", ahead.Abs(), word), "date -u")
}
