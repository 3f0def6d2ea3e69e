package dashboard

// This file reads the metric families that the namespace's pods expose.

import (
	"context"
	"errors"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/families"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
)

// maxShownFamilies bounds the families on the page.
const maxShownFamilies = 500

// familyList has the families, or the cause for which they could not be listed.
type familyList struct {
	Items   []familyView `json:"items"`
	All     int          `json:"all"` // with those beyond the bound of Items
	Gaps    []string     `json:"gaps,omitempty"`
	Replica string       `json:"replica,omitempty"` // of the adapter, which read the pages
	Error   string       `json:"error,omitempty"`
	Command string       `json:"command,omitempty"` // empty: the page is of all namespaces, or the adapter lists none
	read    time.Time
}

// familyView is a family with the metrics that serve it.
type familyView struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Help     string `json:"help,omitempty"`
	Targets  int    `json:"targets"`
	Metrics  string `json:"metrics"`
	Demanded string `json:"demanded"`
}

// readFamilyList returns the families of the last read, or lists those of the page's namespace.
func (s *PageServer) readFamilyList(ctx context.Context, reader reading.Reader, last familyList, now time.Time) familyList {
	if s.opts.Namespace == "" || !last.read.IsZero() && now.Sub(last.read) < slowInterval {
		return last
	}
	list := familyList{Items: []familyView{}, read: now}
	listed, err := records.ListMetrics(ctx, reader, s.opts.Namespace, "")
	if errors.Is(err, records.ErrNotServed) {
		return list
	}
	if list.Command = s.newCommandWriter("").writeMetricsCommand(); err != nil {
		list.Error = err.Error()
		return list
	}
	list.Replica, list.Gaps = listed.Source.Replica, families.ListGaps(listed)
	for i := range listed.Items {
		m := &listed.Items[i]
		if !m.IsFamily() {
			continue
		}
		if list.All++; list.All <= maxShownFamilies {
			list.Items = append(list.Items, familyView{
				Name: m.Name, Type: m.Type, Help: m.Help, Targets: m.Targets, Metrics: m.DescribeMetrics(), Demanded: m.DescribeDemands(),
			})
		}
	}
	return list
}
