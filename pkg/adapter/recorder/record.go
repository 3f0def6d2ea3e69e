// This file keeps the entries of one autoscaler in blocks of bytes.

package recorder

import (
	"strconv"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

const (
	// maxBlockBytes is the size of the numbers, or of the texts, at which a block is closed and packed: it holds about 40 looks at 20 pods. The bounds
	// drop whole blocks.
	maxBlockBytes = 4 << 10
	// blockOverhead is the size of a block besides its data and its texts.
	blockOverhead = 160
	// textOverhead is the size of a text besides its letters.
	textOverhead = 16
)

// block is a stretch of consecutive entries under one spec. It can be read without any other block.
type block struct {
	spec  *specVersion
	begin int64 // Unix time of the first entry in milliseconds
	data  []byte
	texts []string
	// packed has data and texts of a closed block, compressed from plainBytes.
	packed     []byte
	plainBytes int
	entries    int
	bytes      int
}

// specVersion is a spec of an autoscaler, shared by the blocks under it.
type specVersion struct {
	from  time.Time
	seen  string // the resourceVersion that first had it; empty: unknown
	spec  *autoscalingv2.HorizontalPodAutoscalerSpec
	bytes int
}

// record has all that is known of one autoscaler. mu guards the fields that name no other lock, except the key.
type record struct {
	key types.NamespacedName
	// specBytes are its bytes in Recorder.specBytes; guarded by Recorder.mu.
	specBytes int
	// keys and readers are the reads of its metrics; guarded by Recorder.mu.
	keys    []readKey
	readers []reader

	packer *blockPacker // shared

	mu       sync.Mutex
	uid      types.UID
	spec     *specVersion
	blocks   []*block // closed, the oldest first
	writer   coder    // of the open block
	base     deltaBase
	begin    int64 // of the open block; 0: it has no entry
	entries  int   // in the open block
	openSpec *specVersion
	bytes    int       // of the closed blocks
	since    time.Time // when the record began, or the end of its dropped part
	gaps     []explainapi.Gap
	opened   time.Time // when this process began the record; later than since for a restored one
	looks    lookTracker
	lookRule string          // of the newest look: of its first read, or of the first that had a value; empty: none
	read     explainapi.Read // the newest, while it is coded
	pods     []podEntry      // at the last read
	started  map[string]bool // the pods of the last read that were seen ready

	isForgotten  bool
	spareAnswers []pendingAnswer // memory for answers, without any

	answersMu      sync.Mutex      // taken after mu, and held for an append alone: a read waits for it
	answers        []pendingAnswer // not yet encoded, the oldest first; guarded by answersMu
	takesNoAnswers bool            // guarded by answersMu
}

// appendBlockEntry adds an entry and returns the bytes of the blocks that it closed.
func (r *record) appendBlockEntry(e *entry) (closed int) {
	if r.begin != 0 && (r.openSpec != r.spec || max(len(r.writer.data), r.writer.size) >= maxBlockBytes) {
		closed = r.closeOpenBlock()
	}
	if r.begin == 0 {
		r.begin, r.openSpec = e.at, r.spec
		r.base.at = e.at
		if s := r.looks.status; s != nil && e.status == nil { // the status in force opens each block
			r.codeOpenBlockEntry(&entry{at: e.at, status: s})
		}
	}
	r.codeOpenBlockEntry(e)
	return closed
}

func (r *record) codeOpenBlockEntry(e *entry) {
	r.writer.codeEntryDelta(e, &r.base)
	r.entries++
}

// closeOpenBlock moves the open block to the closed ones and returns its bytes.
func (r *record) closeOpenBlock() int {
	b := r.copyOpenBlock()
	r.packer.packBlock(b)
	b.bytes += r.countSpecBytes(b)
	r.blocks = append(r.blocks, b)
	r.bytes += b.bytes
	r.writer.reset()
	r.base.reset()
	r.begin, r.entries = 0, 0
	return b.bytes
}

// reset forgets all entries, and keeps the memory for the next.
func (b *deltaBase) reset() {
	for metric, values := range b.values {
		b.values[metric] = values[:0]
	}
	*b = deltaBase{values: b.values, spare: b.spare}
}

func (r *record) copyOpenBlock() *block {
	b := &block{
		spec: r.openSpec, begin: r.begin, entries: r.entries,
		data: append([]byte(nil), r.writer.data...), texts: append([]string(nil), r.writer.texts...),
	}
	b.bytes = blockOverhead + len(b.data) + r.writer.size + textOverhead*len(b.texts)
	return b
}

// countSpecBytes returns the bytes of a block's spec, if no closed block before it has the same.
func (r *record) countSpecBytes(b *block) int {
	if n := len(r.blocks); n > 0 && b.spec != nil && r.blocks[n-1].spec != b.spec {
		return b.spec.bytes
	}
	return 0
}

// dropOldestBlock drops the oldest closed block and returns its bytes.
func (r *record) dropOldestBlock() int {
	if len(r.blocks) == 0 {
		return 0
	}
	b := r.blocks[0]
	r.blocks[0] = nil
	r.blocks = r.blocks[1:]
	r.bytes -= b.bytes
	end := r.begin
	if len(r.blocks) > 0 {
		end = r.blocks[0].begin
	}
	if end != 0 {
		r.since = time.UnixMilli(end)
	}
	return b.bytes
}

// snapshotBlocks returns the blocks that may have entries from a time on.
func (r *record) snapshotBlocks(since time.Time) []*block {
	var all []*block
	for i, b := range r.blocks {
		end := r.begin
		if i+1 < len(r.blocks) {
			end = r.blocks[i+1].begin
		}
		if end == 0 || end >= since.UnixMilli() {
			all = append(all, b)
		}
	}
	if r.begin != 0 {
		all = append(all, r.copyOpenBlock())
	}
	return all
}

// decodeBlockEntries returns the entries of a block, the oldest first.
func (b *block) decodeBlockEntries() ([]entry, error) {
	b, err := b.unpackBlock()
	if err != nil {
		return nil, err
	}
	if b.entries < 0 || b.entries > len(b.data) {
		return nil, errDamagedBlock
	}
	c, base := coder{data: b.data, reading: true, texts: b.texts}, deltaBase{at: b.begin}
	entries := make([]entry, b.entries)
	for i := range entries {
		c.codeEntryDelta(&entries[i], &base)
	}
	if c.failed {
		return nil, errDamagedBlock
	}
	return entries, nil
}

// convertTimeToUnix returns the seconds of a time; 0 for the zero time.
func convertTimeToUnix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// convertUnixToTime returns the time of seconds; the zero time for 0.
func convertUnixToTime(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// maxStatusConditions and maxStatusMetrics bound a recorded status. Kubernetes writes three conditions, and as many metrics as the spec has.
const maxStatusConditions, maxStatusMetrics = 16, 500

// newHPAStatus returns the recorded part of a status.
func newHPAStatus(h *autoscalingv2.HorizontalPodAutoscaler) *explainapi.Status {
	s := &explainapi.Status{
		ResourceVersion: formatResourceVersion(parseResourceVersion(h.ResourceVersion)),
		CurrentReplicas: h.Status.CurrentReplicas, DesiredReplicas: h.Status.DesiredReplicas,
	}
	if h.Status.LastScaleTime != nil {
		s.LastScaleTime = h.Status.LastScaleTime.UTC()
	}
	for _, c := range h.Status.Conditions[:min(len(h.Status.Conditions), maxStatusConditions)] {
		s.Conditions = append(s.Conditions, explainapi.Condition{
			Type: clipRecordedMessage(string(c.Type)), Status: clipRecordedMessage(string(c.Status)), Reason: clipRecordedMessage(c.Reason), Message: clipRecordedMessage(c.Message),
		})
	}
	for i := range h.Status.CurrentMetrics[:min(len(h.Status.CurrentMetrics), maxStatusMetrics)] {
		s.Current = append(s.Current, getRecordedMetricValue(&h.Status.CurrentMetrics[i]))
	}
	return s
}

// parseResourceVersion returns a resourceVersion as a number; 0 for another text, as no server of Kubernetes writes.
func parseResourceVersion(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// formatResourceVersion returns a resourceVersion; empty for 0.
func formatResourceVersion(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func clipRecordedMessage(text string) string {
	if len(text) > maxTextBytes {
		return text[:maxTextBytes-3] + "..."
	}
	return text
}

// getRecordedMetricValue returns the value of a metric in a status: a utilization in percent, else thousandths; 0 for a failed metric.
func getRecordedMetricValue(m *autoscalingv2.MetricStatus) int64 {
	var v autoscalingv2.MetricValueStatus
	switch {
	case m.Pods != nil:
		v = m.Pods.Current
	case m.Object != nil:
		v = m.Object.Current
	case m.External != nil:
		v = m.External.Current
	case m.Resource != nil:
		v = m.Resource.Current
	case m.ContainerResource != nil:
		v = m.ContainerResource.Current
	}
	switch {
	case v.AverageUtilization != nil:
		return int64(*v.AverageUtilization)
	case v.AverageValue != nil:
		return v.AverageValue.MilliValue()
	case v.Value != nil:
		return v.Value.MilliValue()
	}
	return 0
}

// equalHPAStatus reports whether two statuses are the same, at any versions.
func equalHPAStatus(a, b *explainapi.Status) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.CurrentReplicas == b.CurrentReplicas && a.DesiredReplicas == b.DesiredReplicas && a.LastScaleTime.Equal(b.LastScaleTime) &&
		equalStatusSlices(a.Conditions, b.Conditions) && equalStatusSlices(a.Current, b.Current)
}

func equalStatusSlices[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
