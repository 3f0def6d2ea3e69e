package discovery

import (
	"errors"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// TestDescribeFailures: a failed list or watch has a line until one succeeds, and a rejected token is named.
func TestDescribeFailures(t *testing.T) {
	t.Parallel()
	d := New(Clients{}, Options{})
	check := func(want ...string) {
		t.Helper()
		if got := d.DescribeFailures(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check()
	d.podReflector.recordWatchError(t.Context(), "watch", apierrors.NewUnauthorized("Unauthorized"))
	d.hpaReflector.recordWatchError(t.Context(), "list", errors.New("connection refused"))
	check("pods: kube-apiserver rejects the adapter's token: Unauthorized", "horizontalpodautoscalers.autoscaling: last list or watch failed: connection refused")
	d.podReflector.recordWatchError(t.Context(), "list", nil)
	check("horizontalpodautoscalers.autoscaling: last list or watch failed: connection refused")
	d.hpaReflector.recordWatchError(t.Context(), "watch", nil)
	check()
}
