package command

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD27WaitForAdoption: a controller has a moment to label a new hold.
func TestD27WaitForAdoption(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after time.Duration // of the label
		gone  bool
		err   error
		want  bool
	}{
		"at once":         {want: true},
		"a little later":  {after: time.Second, want: true},
		"never":           {after: time.Hour},
		"gone meanwhile":  {after: time.Hour, gone: true, want: true},
		"cannot be read":  {after: time.Hour, err: errors.New("forbidden"), want: true},
		"just in time":    {after: adoptionTimeout - 200*time.Millisecond, want: true},
		"a little late":   {after: adoptionTimeout + time.Millisecond},
		"gone, and error": {after: time.Hour, gone: true, err: errors.New("forbidden"), want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), adoptionTimeout)
				defer cancel()
				got := waitForHoldAdoption(ctx, "shop-a", func() ([]hold.Object, error) {
					h := hold.Object{ObjectMeta: metav1.ObjectMeta{Name: "shop-a", Labels: map[string]string{}}}
					if time.Since(began) >= c.after {
						h.Labels[hold.ControllerLabel] = "tachometer.tachometer-scaler"
					}
					if c.gone || c.err != nil {
						return nil, c.err
					}
					return []hold.Object{h}, nil
				})
				if got != c.want {
					t.Errorf("adopted %t after %s", got, time.Since(began))
				}
			})
		})
	}
}
