package dashboard

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// recordReader answers with a record, and counts the reads. Without one the API does not exist.
type recordReader struct {
	log   *explainapi.DecisionLog
	reads int
}

func (r *recordReader) Read(_ context.Context, path string) ([]byte, error) {
	r.reads++
	if r.log == nil || !strings.HasSuffix(path, "/namespaces/shop/horizontalpodautoscalers/web/decisions?since=1h0m0s") {
		return nil, apierrors.NewNotFound(corev1.Resource("horizontalpodautoscalers"), path)
	}
	return json.Marshal(r.log)
}

// newDayLog is a step up, a failed read, and a way down that the window delays.
func newDayLog() *explainapi.DecisionLog {
	return replaytest.Log(replaytest.Spec("request_per_second"), slices.Concat(
		replaytest.Repeat(90, 4), replaytest.Repeat(400, 4), []float64{-1}, replaytest.Repeat(400, 2), replaytest.Repeat(120, 24))...)
}

// TestRecordedDecisions: a page that was opened just now shows the decisions of the last hour, with their causes and steps.
func TestRecordedDecisions(t *testing.T) {
	t.Parallel()
	reader := &recordReader{log: newDayLog()}
	c := newCluster("45", "45")
	c.now = reader.log.Source.Time
	now := func() time.Time { return c.now }
	s := c.serve(Options{Decisions: NewRecordedDecisions(reader, now)})
	c.look(t, s)
	d := getJSON[autoscalerDetail](t, s, "api/autoscalers/shop/web")
	if !d.Recorded || d.DecisionsError != "" || !d.KnownSince.Equal(replaytest.Begin) {
		t.Errorf("recorded %t since %s: %s", d.Recorded, d.KnownSince, d.DecisionsError)
	}
	var got []string
	for _, x := range slices.Backward(d.Decisions) {
		got = append(got, strings.TrimSpace(x.Time.Format("15:04:05 ")+x.Fault)+": "+x.Sentence)
	}
	want := []string{
		"12:01:00: request_per_second 200/s per pod, target 50 → 8; the rate of scale-up permits 4.",
		"12:01:15: request_per_second 100/s per pod, target 50 → 8.",
		"12:02:00 lost: no value, so it keeps the number: 2 pods: 2 scrape failed (connection refused).",
		"12:02:15 back: request_per_second 50/s per pod, target 50 → 8, within the tolerance.",
		"12:07:45: request_per_second 15/s per pod, target 50 → 3.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("decisions:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if first := d.Decisions[len(d.Decisions)-1]; first.From != 2 || first.To != 4 || len(first.Metrics) != 1 || !slices.Contains(first.Metrics[0].Steps, "400/s over 2 pods is 200/s per pod") {
		t.Errorf("the first decision %+v", first)
	}
	get(t, s, "api/autoscalers/shop/web")
	if reader.reads != 1 {
		t.Errorf("%d reads for two pages at once, want 1", reader.reads)
	}
	c.now = c.now.Add(2 * time.Hour)
	d = getJSON[autoscalerDetail](t, s, "api/autoscalers/shop/web")
	if reader.reads != 2 || !d.KnownSince.Equal(c.now.Add(-time.Hour)) {
		t.Errorf("later: %d reads, known since %s", reader.reads, d.KnownSince)
	}
}

// TestOlderAdapter: without the record the page has the decisions of its own looks, and says why.
func TestOlderAdapter(t *testing.T) {
	t.Parallel()
	c := newCluster("50", "50")
	s := c.serve(Options{})
	s.opts.Decisions = NewRecordedDecisions(&recordReader{}, s.opts.Now)
	c.look(t, s)
	c.setPods("120", "120")
	c.look(t, s)
	c.scale(2, 5)
	c.look(t, s)
	d := getJSON[autoscalerDetail](t, s, "api/autoscalers/shop/web")
	if d.Recorded || d.DecisionsError != records.ErrNotServed.Error() || len(d.Decisions) != 1 || d.Decisions[0].To != 5 || !d.KnownSince.Equal(noon.Add(lookInterval)) {
		t.Errorf("recorded %t, %d decisions since %s: %s", d.Recorded, len(d.Decisions), d.KnownSince, d.DecisionsError)
	}
}

// TestRecordWithoutAReplica: a record that lacks a replica's part is shown, and says so.
func TestRecordWithoutAReplica(t *testing.T) {
	t.Parallel()
	reader := &recordReader{log: newDayLog()}
	reader.log.Source.Replicas = []explainapi.ReplicaRecord{{Name: "a", UnknownBefore: replaytest.Begin}, {Name: "b", Error: "connection refused"}}
	c := newCluster("45", "45")
	s := c.serve(Options{})
	s.opts.Decisions = NewRecordedDecisions(reader, s.opts.Now)
	c.look(t, s)
	d := getJSON[autoscalerDetail](t, s, "api/autoscalers/shop/web")
	if want := "b gave no record (connection refused): looks whose reads reached it are missing."; !d.Recorded || len(d.Decisions) != 5 || d.DecisionsError != want {
		t.Errorf("recorded %t, %d decisions: %q", d.Recorded, len(d.Decisions), d.DecisionsError)
	}
}
