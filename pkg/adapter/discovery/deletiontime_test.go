package discovery

import (
	"math"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDeletionTimeOfHugeGrace: the API server adds the grace period to the time of the deletion, in nanoseconds of 64 bits. The sum of a
// grace period above 292 years wraps around, and the same arithmetic finds the time again, but for the fraction of a second that JSON drops.
func TestDeletionTimeOfHugeGrace(t *testing.T) {
	t.Parallel()
	deleted := time.Unix(1_800_000_000, 0)
	for _, grace := range []int64{0, 30, math.MaxInt32, math.MaxInt64 / int64(time.Second), math.MaxInt64/int64(time.Second) + 1, math.MaxInt64 / 2, math.MaxInt64} {
		o := &corev1.Pod{}
		at := metav1.NewTime(deleted.Add(time.Duration(grace) * time.Second)).Rfc3339Copy()
		o.DeletionTimestamp, o.DeletionGracePeriodSeconds = &at, &grace
		if got := findDeletionTime(o); got.Before(deleted.Add(-time.Second)) || got.After(deleted) {
			t.Errorf("grace %d: deleted at %s, want %s", grace, got.UTC(), deleted.UTC())
		}
	}
}
