// The logs of other replicas, before they are merged.

package explain

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/peer"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// alignReplicaClock moves the times of a replica's log to this replica's clock, by the time of the answer: that lies between the request and its
// end if the clocks agree.
func alignReplicaClock(log *explainapi.DecisionLog, sent, received time.Time) {
	if log == nil || log.Source.Time.IsZero() {
		return
	}
	shift := time.Duration(0)
	if early := sent.Sub(log.Source.Time); early > 0 {
		shift = early
	} else if late := received.Sub(log.Source.Time); late < 0 {
		shift = late
	}
	if shift == 0 {
		return
	}
	log.Source.UnknownBefore = log.Source.UnknownBefore.Add(shift)
	for i := range log.Source.Gaps {
		g := &log.Source.Gaps[i]
		g.From, g.Until = g.From.Add(shift), g.Until.Add(shift)
	}
	for i := range log.Specs {
		log.Specs[i].From = log.Specs[i].From.Add(shift)
	}
	for i := range log.Decisions {
		d := &log.Decisions[i]
		d.Time = d.Time.Add(shift)
		for j := range d.Reads {
			d.Reads[j].Time = d.Reads[j].Time.Add(shift)
		}
	}
}

// findNewestHPAUID returns the UID of the newest autoscaler of a name, if one was deleted and made again: each version of it is above all
// versions of the one before. It is empty where no log tells.
func findNewestHPAUID(answers []peer.Answer) types.UID {
	var newest types.UID
	version := ""
	for _, a := range answers {
		if a.Log == nil || a.Log.UID == "" || len(a.Log.Specs) == 0 {
			continue
		}
		v := a.Log.Specs[len(a.Log.Specs)-1].ResourceVersion
		if newest == "" || compareResourceVersions(v, version) > 0 {
			newest, version = a.Log.UID, v
		}
	}
	return newest
}
