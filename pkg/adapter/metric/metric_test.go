package metric

import (
	"errors"
	"fmt"
	"testing"
)

func TestSummary(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		omissions []Omission
		want      string
	}{
		"none": {nil, ""},
		"counts in fixed order": {
			[]Omission{
				{Reason: ReasonWarmingUp},
				{Reason: ReasonScrapeFailed, Detail: "connection refused"},
				{Reason: ReasonScrapeFailed, Detail: "connection refused"},
			},
			"2 scrape failed (connection refused), 1 warming up",
		},
		"most frequent detail": {
			[]Omission{
				{Reason: ReasonScrapeFailed, Detail: "b"},
				{Reason: ReasonScrapeFailed, Detail: "a"},
				{Reason: ReasonScrapeFailed, Detail: "b"},
			},
			"3 scrape failed (b)",
		},
		"tie goes to the alphabet": {
			[]Omission{{Reason: ReasonStale, Detail: "b"}, {Reason: ReasonStale, Detail: "a"}},
			"2 stale (a)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := SummarizeOmissions(tc.omissions); got != tc.want {
				t.Errorf("Summary = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	err := fmt.Errorf("read: %w", Errorf(KindUnavailable, "backend down: %w", cause))
	if KindOf(err) != KindUnavailable {
		t.Errorf("KindOf(wrapped) = %v, want KindUnavailable", KindOf(err))
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if KindOf(cause) != KindInternal {
		t.Errorf("KindOf(plain) = %v, want KindInternal", KindOf(cause))
	}
}
