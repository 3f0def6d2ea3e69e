package dashboard

// This file reads the targets that the adapter scrapes in vain.

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
)

// maxShownTargets bounds the failing targets on the page.
const maxShownTargets = 200

// targetList has the failing targets, or the cause for which targets could not be read.
type targetList struct {
	Items   []targetView `json:"items"`
	Failing int          `json:"failing"` // of All, with those beyond the bound of Items
	All     int          `json:"all"`
	Replica string       `json:"replica,omitempty"` // of the adapter, which scrapes them
	Error   string       `json:"error,omitempty"`
	Command string       `json:"command,omitempty"` // empty: the adapter serves no targets
	read    time.Time
}

// targetView is a pod's metrics endpoint that gives no samples.
type targetView struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	URL       string `json:"url"`
	Reason    string `json:"reason"`
}

// readTargetList returns the targets of the last read, or reads a replica's targets. An older adapter serves none.
func (s *PageServer) readTargetList(ctx context.Context, reader reading.Reader, last targetList, now time.Time) targetList {
	if !last.read.IsZero() && now.Sub(last.read) < slowInterval {
		return last
	}
	list := targetList{Items: []targetView{}, read: now}
	targets, err := records.ListTargets(ctx, reader, s.opts.Namespace)
	if errors.Is(err, records.ErrNotServed) {
		return list
	}
	if list.Command = s.newCommandWriter("").writeTargetsCommand(); err != nil {
		list.Error = err.Error()
		return list
	}
	list.All, list.Replica = len(targets.Items), targets.Source.Replica
	for _, t := range targets.Items {
		if t.State == explainapi.TargetUp || t.State == explainapi.TargetWarmingUp { // the next scrape is due
			continue
		}
		list.Failing++
		reason := explain.DescribeOmission(explainapi.Omission{Reason: t.State, Detail: t.Error})
		list.Items = append(list.Items, targetView{Namespace: t.Namespace, Pod: t.Name, URL: t.URL, Reason: reason})
	}
	slices.SortFunc(list.Items, func(a, b targetView) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod))
	})
	list.Items = list.Items[:min(len(list.Items), maxShownTargets)]
	return list
}
