package resourcemetrics

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestPanicEndsOneKubeletRead: a read that panics is a failure of its node alone, and is counted.
func TestPanicEndsOneKubeletRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKubelets("a", "b")
		f.setResponse("a", func(*http.Request) (*http.Response, error) { panic("a page that nobody has thought of") })
		k := NewKubeletSource(f.listNodes, f, KubeletOptions{Interval: 10 * time.Second})
		startKubelets(t, k)
		passTime(time.Minute)
		if _, omitted := k.mustGetNodeUsage(t, "b"); omitted.Reason != "" {
			t.Errorf("the node beside: %+v", omitted)
		}
		if _, omitted := k.mustGetNodeUsage(t, "a"); omitted.Reason == "" {
			t.Error("a node whose reads panic has a usage")
		}
		if got := testutil.ToFloat64(k.metrics.panics); got < 2 {
			t.Errorf("%v panics counted, want one for each read", got)
		}
		f.setResponse("a", nil)
		passTime(time.Minute)
		if _, omitted := k.mustGetNodeUsage(t, "a"); omitted.Reason != "" {
			t.Errorf("the node after the bug: %+v", omitted)
		}
	})
}
