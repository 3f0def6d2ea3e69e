package retry

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestRounds: a round follows the pause of the round before, or a wake-up before its end, and none the end of the context.
func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		began, wake := time.Now(), make(chan struct{}, 1)
		time.AfterFunc(6*time.Second, func() { wake <- struct{}{} })
		var rounds []time.Duration
		RunRounds(ctx, wake, func(_ context.Context, now time.Time) time.Duration {
			rounds = append(rounds, now.Sub(began)/time.Second)
			return 4 * time.Second
		})
		if want := []time.Duration{0, 4, 6}; !slices.Equal(rounds, want) {
			t.Errorf("rounds after %d s, want %d", rounds, want)
		}
		if took := time.Since(began); took != 9*time.Second {
			t.Errorf("it ended after %v, want 9s", took)
		}
	})
}
