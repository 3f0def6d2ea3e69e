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

// codeEntry codes an entry.
func (c *coder) codeEntry(e *entry, base *deltaBase) {
	c.codeDelta(&e.at, base.at)
	base.at = e.at
	isStatus := e.status != nil
	c.codeFlag(&isStatus)
	if isStatus {
		if c.reading {
			e.status = &explainapi.Status{}
		}
		c.codeStatus(e.status, base)
		return
	}
	if c.reading {
		e.read = &explainapi.Read{}
	}
	c.codeRead(e.read, base)
	c.codePods(&e.pods, base)
}

func (c *coder) codeRead(r *explainapi.Read, base *deltaBase) {
	metric := int64(r.Metric)
	c.codeNumber(&metric)
	r.Metric = int(metric)
	c.codeFlag(&r.Shared)
	c.codeText(&r.Error)
	c.codeFlag(&r.Truncated)
	c.codeValues(r, base)
	n := c.codeCount(len(r.Omitted))
	if c.reading && n > 0 {
		r.Omitted = make([]explainapi.Omission, n)
	}
	for i := range r.Omitted {
		o := &r.Omitted[i]
		c.codeText(&o.Pod)
		c.codeText(&o.Reason)
		c.codeText(&o.Detail)
	}
}

// codeValues codes each value by the one in its place in the metric's read before: pods and rates change little.
func (c *coder) codeValues(r *explainapi.Read, base *deltaBase) {
	before := base.values[r.Metric]
	n := c.codeCount(len(r.Values))
	if !c.reading {
		c.writeValues(r.Values, before)
		if n > 0 {
			base.keepValues(r.Metric, r.Values)
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
		c.codeTextAfter(&v.Pod, b.Pod)
		c.codeDelta(&v.Milli, b.Milli)
		c.codeNumber(&v.AgeMillis)
		c.codeDelta(&v.WindowSeconds, window)
		window = v.WindowSeconds
	}
	if n > 0 {
		base.keepValues(r.Metric, r.Values)
	}
}

// writeValues is the writing half of codeValues, in a loop of its own: it runs for each pod of each read.
func (c *coder) writeValues(values, before []explainapi.Value) {
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

// keepValues makes values the base of the metric's next read.
func (b *deltaBase) keepValues(metric int, values []explainapi.Value) {
	if b.values == nil {
		b.values = map[int][]explainapi.Value{}
	}
	b.spare = b.values[metric][:0]
	b.values[metric] = values
}

// codePods codes the pods, or that they are the same as before.
func (c *coder) codePods(pods *[]podEntry, base *deltaBase) {
	same := !c.reading && equalPodEntries(*pods, base.pods)
	if c.codeFlag(&same); same {
		*pods = base.pods
		return
	}
	n := c.codeCount(len(*pods))
	if c.reading {
		*pods = make([]podEntry, n)
	}
	last := base.at / 1000
	for i := range *pods {
		p, b := &(*pods)[i], podEntry{}
		if i < len(base.pods) {
			b = base.pods[i]
		}
		c.codeTextAfter(&p.name, b.name)
		c.codeNumber(&p.state)
		c.codeDelta(&p.created, last)
		last = p.created
		c.codeDelta(&p.readied, p.created)
	}
	base.pods = *pods
}

// equalPodEntries reports whether two slices are equal. Most often they are one.
func equalPodEntries(a, b []podEntry) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

func (c *coder) codeStatus(s *explainapi.Status, base *deltaBase) {
	b := &base.status
	current, desired := int64(s.CurrentReplicas), int64(s.DesiredReplicas)
	c.codeDelta(&current, int64(b.CurrentReplicas))
	c.codeDelta(&desired, int64(b.DesiredReplicas))
	s.CurrentReplicas, s.DesiredReplicas = int32(current), int32(desired)
	scaled := unixOfRecordedTime(s.LastScaleTime)
	c.codeDelta(&scaled, unixOfRecordedTime(b.LastScaleTime))
	s.LastScaleTime = timeOfRecordedUnix(scaled)
	n := c.codeCount(len(s.Conditions))
	if c.reading && n > 0 {
		s.Conditions = make([]explainapi.Condition, n)
	}
	for i := range s.Conditions {
		v, before := &s.Conditions[i], explainapi.Condition{}
		if i < len(b.Conditions) {
			before = b.Conditions[i]
		}
		c.codeTextAfter(&v.Type, before.Type)
		c.codeTextAfter(&v.Status, before.Status)
		c.codeTextAfter(&v.Reason, before.Reason)
		c.codeTextAfter(&v.Message, before.Message)
	}
	n = c.codeCount(len(s.Current))
	if c.reading && n > 0 {
		s.Current = make([]int64, n)
	}
	for i := range s.Current {
		before := int64(0)
		if i < len(b.Current) {
			before = b.Current[i]
		}
		c.codeDelta(&s.Current[i], before)
	}
	*b = *s
}
