package schedule

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestPreview compares the table and the JSON lines of a weekend with a clock change and a sale.
func TestPreview(t *testing.T) {
	t.Parallel()
	schedules, err := loadSchedules(readTestFile(t, "testdata/full.good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rows := Preview(schedules, StartAt(parseTestTime(t, "2027-03-26T11:00:30Z")), 4*24*time.Hour)
	var table, lines bytes.Buffer
	if err := errors.Join(WriteTable(&table, rows), WriteJSON(&lines, rows)); err != nil {
		t.Fatal(err)
	}
	compareGoldenText(t, "testdata/full.table", table.String())
	compareGoldenText(t, "testdata/full.jsonl", lines.String())
	for line := range strings.Lines(lines.String()) {
		var r PreviewRow
		if err := json.Unmarshal([]byte(line), &r); err != nil || !r.From.Before(r.To) {
			t.Errorf("%v: %s", err, line)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestPreviewIntoNothing checks that a closed output is an error.
func TestPreviewIntoNothing(t *testing.T) {
	t.Parallel()
	rows := []PreviewRow{{From: parseTestTime(t, "2027-01-01T00:00:00Z"), To: parseTestTime(t, "2027-01-02T00:00:00Z")}}
	if err := WriteTable(brokenWriter{}, rows); err == nil {
		t.Error("table: no error")
	}
	if err := WriteJSON(brokenWriter{}, rows); err == nil {
		t.Error("lines: no error")
	}
}

// TestPreviewOfNothing checks that no schedules give no rows, and a past window gives one row without minReplicas.
func TestPreviewOfNothing(t *testing.T) {
	t.Parallel()
	now := parseTestTime(t, "2027-06-01T00:00:00Z")
	if rows := Preview(nil, StartAt(now), time.Hour); rows != nil {
		t.Errorf("%+v", rows)
	}
	s := newOneSchedule(t, "UTC", "", `{from: 2026-11-26 08:00, to: 2026-11-28 08:00, minReplicas: 4}`)
	want := []PreviewRow{{From: now, To: now.Add(time.Hour), Zone: "UTC", Workload: s.Workloads[0]}}
	reportDiff(t, want, Preview([]Schedule{*s}, StartAt(now), time.Hour))
}

// TestPreviewOfPausedSchedules: a paused schedule sets nothing, alone and beside a lower one; a note names its window.
func TestPreviewOfPausedSchedules(t *testing.T) {
	t.Parallel()
	now := parseTestTime(t, "2026-11-27T12:00:00Z")
	paused := newOneSchedule(t, "UTC", ", paused: true", `{name: sale, from: 2026-11-26 08:00, to: 2026-11-28 08:00, minReplicas: 9, maxReplicas: 40}`)
	const note = "paused: one (sale), minReplicas 9"
	want := []PreviewRow{{From: now, To: now.Add(time.Hour), Zone: "UTC", Workload: paused.Workloads[0], Notes: []string{note}}}
	reportDiff(t, want, Preview([]Schedule{*paused}, StartAt(now), time.Hour))
	other := newOneSchedule(t, "UTC", "", `{name: base, from: 2026-11-26 08:00, to: 2026-11-28 08:00, minReplicas: 4, maxReplicas: 10}`)
	other.Name = "other"
	want[0].MinReplicas, want[0].MaxReplicas, want[0].Schedule, want[0].Window = new(int32(4)), 10, "other", "base"
	reportDiff(t, want, Preview([]Schedule{*paused, *other}, StartAt(now), time.Hour))
}
