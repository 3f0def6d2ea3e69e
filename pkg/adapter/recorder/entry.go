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
var podStates = []string{explainapi.PodReady, explainapi.PodUnready, explainapi.PodPending, explainapi.PodDeparted, explainapi.PodCompleted}

const (
	stateReady = iota
	stateUnready
	statePending
	stateDeparted
	stateCompleted
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

// codeEntryDelta codes an entry.
func (c *coder) codeEntryDelta(e *entry, base *deltaBase) {
	c.codeNumberDelta(&e.at, base.at)
	base.at = e.at
	isStatus := e.status != nil
	c.codeFlag(&isStatus)
	if isStatus {
		if c.reading {
			e.status = &explainapi.Status{}
		}
		c.codeStatusDelta(e.status, base)
		return
	}
	if c.reading {
		e.read = &explainapi.Read{}
	}
	c.codeReadDelta(e.read, base)
	c.codePodEntries(&e.pods, base)
}

func (c *coder) codeReadDelta(r *explainapi.Read, base *deltaBase) {
	metric := int64(r.Metric)
	c.codeNumber(&metric)
	r.Metric = int(metric)
	c.codeFlag(&r.Shared)
	c.codeInternedText(&r.Error)
	c.codeFlag(&r.Truncated)
	c.codeValueDeltas(r, base)
	n := c.codeLength(len(r.Omitted))
	if c.reading && n > 0 {
		r.Omitted = make([]explainapi.Omission, n)
	}
	for i := range r.Omitted {
		o := &r.Omitted[i]
		c.codeInternedText(&o.Pod)
		c.codeInternedText(&o.Reason)
		c.codeInternedText(&o.Detail)
	}
}

// codeValueDeltas codes each value by the one in its place in the metric's read before: pods and rates change little.
func (c *coder) codeValueDeltas(r *explainapi.Read, base *deltaBase) {
	before := base.values[r.Metric]
	n := c.codeLength(len(r.Values))
	if n == 0 {
		return
	}
	if c.reading {
		r.Values = make([]explainapi.Value, n)
		c.readValueDeltas(r.Values, before)
	} else {
		c.writeValueDeltas(r.Values, before)
	}
	base.setBaseValues(r.Metric, r.Values)
}

// ageUnit is the unit of recorded ages in milliseconds: people read them in tenths of a second, and milliseconds do not compress.
const ageUnit = 100

// roundRecordedAge returns an age in units, half a unit rounded away from zero.
func roundRecordedAge(millis int64) int64 {
	units, rest := millis/ageUnit, millis%ageUnit
	switch {
	case rest >= ageUnit/2:
		units++
	case rest <= -ageUnit/2:
		units--
	}
	return units
}

// readValueDeltas is the reading half of codeValueDeltas: a column after the other.
func (c *coder) readValueDeltas(values, before []explainapi.Value) {
	at := func(i int) (b explainapi.Value) {
		if i < len(before) {
			b = before[i]
		}
		return b
	}
	var samePods, sameWindow bool
	c.codeFlag(&samePods)
	for i := range values {
		if values[i].Pod = at(i).Pod; !samePods {
			c.codeTextDelta(&values[i].Pod, at(i).Pod)
		}
	}
	for i := range values {
		c.codeNumberDelta(&values[i].Milli, at(i).Milli)
	}
	for i := range values {
		age := int64(0)
		c.codeNumber(&age)
		values[i].AgeMillis = age * ageUnit
	}
	c.codeFlag(&sameWindow)
	for i := range values {
		if i == 0 || !sameWindow {
			c.codeNumber(&values[i].WindowSeconds)
		} else {
			values[i].WindowSeconds = values[0].WindowSeconds
		}
	}
}

// writeValueDeltas is the writing half of codeValueDeltas, in loops of their own: they run for each pod of each read. Names and windows
// seldom change, and take a byte then.
func (c *coder) writeValueDeltas(values, before []explainapi.Value) {
	same := min(len(values), len(before))
	c.writeValuePods(values, before)
	data := c.data
	for i := range values[:same] {
		data = binary.AppendVarint(data, values[i].Milli-before[i].Milli)
	}
	for i := same; i < len(values); i++ {
		data = binary.AppendVarint(data, values[i].Milli)
	}
	for i := range values {
		data = binary.AppendVarint(data, roundRecordedAge(values[i].AgeMillis))
	}
	c.data = data
	c.writeValueWindows(values)
}

// writeValuePods writes the pods of values: that they are the ones before, or each by its difference.
func (c *coder) writeValuePods(values, before []explainapi.Value) {
	same := len(values) <= len(before)
	for i := 0; same && i < len(values); i++ {
		same = values[i].Pod == before[i].Pod
	}
	if c.codeFlag(&same); same {
		return
	}
	for i := range values {
		was := ""
		if i < len(before) {
			was = before[i].Pod
		}
		c.codeTextDelta(&values[i].Pod, was)
	}
}

// writeValueWindows writes the windows of values: one for all, or each.
func (c *coder) writeValueWindows(values []explainapi.Value) {
	same := true
	for i := range values {
		same = same && values[i].WindowSeconds == values[0].WindowSeconds
	}
	c.codeFlag(&same)
	for i := range values {
		if i == 0 || !same {
			c.codeNumber(&values[i].WindowSeconds)
		}
	}
}

// setBaseValues makes values the base of the metric's next read.
func (b *deltaBase) setBaseValues(metric int, values []explainapi.Value) {
	if b.values == nil {
		b.values = map[int][]explainapi.Value{}
	}
	b.spare = b.values[metric][:0]
	b.values[metric] = values
}

// codePodEntries codes the pods, or that they are the same as before.
func (c *coder) codePodEntries(pods *[]podEntry, base *deltaBase) {
	same := !c.reading && equalPodEntries(*pods, base.pods)
	if c.codeFlag(&same); same {
		*pods = base.pods
		return
	}
	n := c.codeLength(len(*pods))
	if c.reading {
		*pods = make([]podEntry, n)
	}
	last := base.at / 1000
	for i := range *pods {
		p, b := &(*pods)[i], podEntry{}
		if i < len(base.pods) {
			b = base.pods[i]
		}
		c.codeTextDelta(&p.name, b.name)
		c.codeNumber(&p.state)
		c.codeNumberDelta(&p.created, last)
		last = p.created
		c.codeNumberDelta(&p.readied, p.created)
	}
	base.pods = *pods
}

// equalPodEntries reports whether two slices are equal. Most often they are one.
func equalPodEntries(a, b []podEntry) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

func (c *coder) codeStatusDelta(s *explainapi.Status, base *deltaBase) {
	b := &base.status
	version := parseResourceVersion(s.ResourceVersion)
	c.codeNumberDelta(&version, parseResourceVersion(b.ResourceVersion))
	s.ResourceVersion = formatResourceVersion(version)
	current, desired := int64(s.CurrentReplicas), int64(s.DesiredReplicas)
	c.codeNumberDelta(&current, int64(b.CurrentReplicas))
	c.codeNumberDelta(&desired, int64(b.DesiredReplicas))
	s.CurrentReplicas, s.DesiredReplicas = int32(current), int32(desired)
	scaled := convertTimeToUnix(s.LastScaleTime)
	c.codeNumberDelta(&scaled, convertTimeToUnix(b.LastScaleTime))
	s.LastScaleTime = convertUnixToTime(scaled)
	c.codeConditionDeltas(&s.Conditions, b.Conditions)
	n := c.codeLength(len(s.Current))
	if c.reading && n > 0 {
		s.Current = make([]int64, n)
	}
	for i := range s.Current {
		before := int64(0)
		if i < len(b.Current) {
			before = b.Current[i]
		}
		c.codeNumberDelta(&s.Current[i], before)
	}
	*b = *s
}

// codeConditionDeltas codes the conditions, or that they are the same as before.
func (c *coder) codeConditionDeltas(conditions *[]explainapi.Condition, before []explainapi.Condition) {
	same := !c.reading && equalStatusSlices(*conditions, before)
	if c.codeFlag(&same); same {
		*conditions = before
		return
	}
	n := c.codeLength(len(*conditions))
	if c.reading && n > 0 {
		*conditions = make([]explainapi.Condition, n)
	}
	for i := range *conditions {
		v, b := &(*conditions)[i], explainapi.Condition{}
		if i < len(before) {
			b = before[i]
		}
		c.codeTextDelta(&v.Type, b.Type)
		c.codeTextDelta(&v.Status, b.Status)
		c.codeTextDelta(&v.Reason, b.Reason)
		c.codeTextDelta(&v.Message, b.Message)
	}
}
