package records

import (
	"slices"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// TestListSourceNotes: an answer says what it lacks: a replica that does not answer, and one that began later.
func TestListSourceNotes(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 11, 28, 11, 0, 0, 0, time.UTC)
	source := explainapi.Source{Replica: "a", UnknownBefore: begin, Replicas: []explainapi.ReplicaRecord{
		{Name: "a", UnknownBefore: begin.Add(20 * time.Second)},
		{Name: "b", UnknownBefore: begin.Add(50 * time.Minute)},
		{Name: "e", UnknownBefore: begin, Gaps: []explainapi.Gap{{From: begin.Add(time.Minute), Until: begin.Add(2 * time.Minute)}}},
		{Name: "c", Error: "connection refused"},
		{Name: "d"},
	}}
	want := []string{"b has no record before 11:50:00 UTC: looks whose reads reached it are missing.", "e restarted: it has no record from 11:01:00 to 11:02:00 UTC.", "c gave no record (connection refused): looks whose reads reached it are missing."}
	if got := ListSourceNotes(source); !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	if got := source.Recorders(); !slices.Equal(got, []string{"a", "b", "e"}) {
		t.Errorf("recorders %q", got)
	}
	if got := (explainapi.Source{Replica: "a", UnknownBefore: begin}); len(ListSourceNotes(got)) != 0 || !slices.Equal(got.Recorders(), []string{"a"}) {
		t.Errorf("a single replica has the notes %q", ListSourceNotes(got))
	}
	alone := explainapi.Source{Replica: "a", UnknownBefore: begin, Gaps: []explainapi.Gap{{From: begin.Add(time.Minute), Until: begin.Add(2 * time.Minute)}}}
	if got := ListSourceNotes(alone); !slices.Equal(got, []string{"a restarted: it has no record from 11:01:00 to 11:02:00 UTC."}) {
		t.Errorf("a restarted replica has the notes %q", got)
	}
}

// TestSourceNotesOfAnotherDay: a time of another day than the answer's has its date.
func TestSourceNotesOfAnotherDay(t *testing.T) {
	t.Parallel()
	evening := time.Date(2026, 11, 28, 23, 50, 0, 0, time.UTC)
	source := explainapi.Source{Replica: "a", Time: evening.Add(3 * time.Hour), UnknownBefore: evening.Add(-time.Hour), Replicas: []explainapi.ReplicaRecord{
		{Name: "a", Gaps: []explainapi.Gap{{From: evening, Until: evening.Add(20 * time.Minute)}}},
		{Name: "b", UnknownBefore: evening.Add(time.Hour)},
	}}
	want := []string{"a restarted: it has no record from 2026-11-28 23:50:00 to 2026-11-29 00:10:00 UTC.",
		"b has no record before 00:50:00 UTC: looks whose reads reached it are missing."}
	if got := ListSourceNotes(source); !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
}
