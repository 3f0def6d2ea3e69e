// This file has the entries of a record, and the walk through their fields.

package recorder

import (
	"encoding/binary"
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// entry is a read or a change of the status.
type entry struct {
	at     int64 // Unix time in milliseconds
	read   *explainapi.Read
	pods   []podEntry // of the scale target at the read; nil: unknown
	status *explainapi.Status
}

// podEntry is a pod of the scale target.
type podEntry struct {
	name             string
	state            int64
	created, readied int64 // Unix time in seconds; 0: unknown
}

// podStates are the states of podEntry by number.
var podStates = []string{explainapi.PodReady, explainapi.PodUnready, explainapi.PodPending, explainapi.PodDeparted}

const (
	stateReady = iota
	stateUnready
	statePending
	stateDeparted
)

// deltaBase is the newest coded entry of each kind: the next one is coded by its difference. Writer and reader of a block keep the
// same.
type deltaBase struct {
	at     int64
	values map[int][]explainapi.Value // by metric
	spare  []explainapi.Value         // memory for the values of the next read, while writing
	pods   []podEntry
	status explainapi.Status
}

// codeRecordEntry codes an entry.
func (c *coder) codeRecordEntry(e *entry, base *deltaBase) {
	c.codeRecordDelta(&e.at, base.at)
	base.at = e.at
	isStatus := e.status != nil
	c.codeRecordFlag(&isStatus)
	if isStatus {
		if c.reading {
			e.status = &explainapi.Status{}
		}
		c.codeRecordedStatus(e.status, base)
		return
	}
	if c.reading {
		e.read = &explainapi.Read{}
	}
	c.codeRecordedRead(e.read, base)
	c.codeRecordedPods(&e.pods, base)
}

func (c *coder) codeRecordedRead(r *explainapi.Read, base *deltaBase) {
	metric := int64(r.Metric)
	c.codeRecordNumber(&metric)
	r.Metric = int(metric)
	c.codeRecordFlag(&r.Shared)
	c.codeRecordText(&r.Error)
	c.codeRecordFlag(&r.Truncated)
	c.codeRecordedValues(r, base)
	n := c.codeRecordCount(len(r.Omitted))
	if c.reading && n > 0 {
		r.Omitted = make([]explainapi.Omission, n)
	}
	for i := range r.Omitted {
		o := &r.Omitted[i]
		c.codeRecordText(&o.Pod)
		c.codeRecordText(&o.Reason)
		c.codeRecordText(&o.Detail)
	}
}

// codeRecordedValues codes each value by the one in its place in the metric's read before: pods and rates change little.
func (c *coder) codeRecordedValues(r *explainapi.Read, base *deltaBase) {
	before := base.values[r.Metric]
	n := c.codeRecordCount(len(r.Values))
	if !c.reading {
		c.writeRecordedValues(r.Values, before)
		if n > 0 {
			base.keepRecordedValues(r.Metric, r.Values)
		}
		return
	}
	if n > 0 {
		r.Values = make([]explainapi.Value, n)
	}
	window := int64(0)
	for i := range r.Values {
		v, b := &r.Values[i], explainapi.Value{}
		if i < len(before) {
			b = before[i]
		}
		c.codeRecordTextAfter(&v.Pod, b.Pod)
		c.codeRecordDelta(&v.Milli, b.Milli)
		c.codeRecordNumber(&v.AgeMillis)
		c.codeRecordDelta(&v.WindowSeconds, window)
		window = v.WindowSeconds
	}
	if n > 0 {
		base.keepRecordedValues(r.Metric, r.Values)
	}
}

// writeRecordedValues is the writing half of codeRecordedValues, in a loop of its own: it runs for each pod of each read.
func (c *coder) writeRecordedValues(values, before []explainapi.Value) {
	data, window := c.data, int64(0)
	for i := range values {
		v, milli, pod := &values[i], int64(0), ""
		if i < len(before) {
			milli, pod = before[i].Milli, before[i].Pod
		}
		id := int64(-1)
		if v.Pod != pod {
			id = c.indexRecordedText(v.Pod)
		}
		data = binary.AppendVarint(data, id)
		data = binary.AppendVarint(data, v.Milli-milli)
		data = binary.AppendVarint(data, v.AgeMillis)
		data = binary.AppendVarint(data, v.WindowSeconds-window)
		window = v.WindowSeconds
	}
	c.data = data
}

// keepRecordedValues makes values the base of the metric's next read.
func (b *deltaBase) keepRecordedValues(metric int, values []explainapi.Value) {
	if b.values == nil {
		b.values = map[int][]explainapi.Value{}
	}
	b.spare = b.values[metric][:0]
	b.values[metric] = values
}

// codeRecordedPods codes the pods, or that they are the same as before.
func (c *coder) codeRecordedPods(pods *[]podEntry, base *deltaBase) {
	same := !c.reading && equalRecordedPodEntries(*pods, base.pods)
	if c.codeRecordFlag(&same); same {
		*pods = base.pods
		return
	}
	n := c.codeRecordCount(len(*pods))
	if c.reading {
		*pods = make([]podEntry, n)
	}
	last := base.at / 1000
	for i := range *pods {
		p, b := &(*pods)[i], podEntry{}
		if i < len(base.pods) {
			b = base.pods[i]
		}
		c.codeRecordTextAfter(&p.name, b.name)
		c.codeRecordNumber(&p.state)
		c.codeRecordDelta(&p.created, last)
		last = p.created
		c.codeRecordDelta(&p.readied, p.created)
	}
	base.pods = *pods
}

// equalRecordedPodEntries reports whether two slices are equal. Most often they are one.
func equalRecordedPodEntries(a, b []podEntry) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

func (c *coder) codeRecordedStatus(s *explainapi.Status, base *deltaBase) {
	b := &base.status
	version := parseRecordedVersion(s.ResourceVersion)
	c.codeRecordDelta(&version, parseRecordedVersion(b.ResourceVersion))
	s.ResourceVersion = formatRecordedVersion(version)
	current, desired := int64(s.CurrentReplicas), int64(s.DesiredReplicas)
	c.codeRecordDelta(&current, int64(b.CurrentReplicas))
	c.codeRecordDelta(&desired, int64(b.DesiredReplicas))
	s.CurrentReplicas, s.DesiredReplicas = int32(current), int32(desired)
	scaled := unixOfRecordedTime(s.LastScaleTime)
	c.codeRecordDelta(&scaled, unixOfRecordedTime(b.LastScaleTime))
	s.LastScaleTime = timeOfRecordedUnix(scaled)
	n := c.codeRecordCount(len(s.Conditions))
	if c.reading && n > 0 {
		s.Conditions = make([]explainapi.Condition, n)
	}
	for i := range s.Conditions {
		v, before := &s.Conditions[i], explainapi.Condition{}
		if i < len(b.Conditions) {
			before = b.Conditions[i]
		}
		c.codeRecordTextAfter(&v.Type, before.Type)
		c.codeRecordTextAfter(&v.Status, before.Status)
		c.codeRecordTextAfter(&v.Reason, before.Reason)
		c.codeRecordTextAfter(&v.Message, before.Message)
	}
	n = c.codeRecordCount(len(s.Current))
	if c.reading && n > 0 {
		s.Current = make([]int64, n)
	}
	for i := range s.Current {
		before := int64(0)
		if i < len(b.Current) {
			before = b.Current[i]
		}
		c.codeRecordDelta(&s.Current[i], before)
	}
	*b = *s
}
