package remote

import (
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestPanicEndsOneQuery: a query that panics, by a read or in the background, is an error of its readers and is counted. The next one
// after the bug is gone has a value.
func TestPanicEndsOneQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTestBackend(t, "  refresh: 5s\n", sharedRules, Options{})
		w.server.setScript(func(url.Values) fakeResponse { panic("a response that nobody has thought of") })
		defer w.startBackend()()
		if _, err := w.Evaluate(t.Context(), w.newRuleQuery("requests", "shop", "a"), time.Now()); err == nil {
			t.Error("a query that panics has a value")
		}
		<-time.After(time.Minute) // refreshes panic too
		synctest.Wait()
		panicked := testutil.ToFloat64(w.metrics.panics.WithLabelValues(w.name))
		if panicked < 2 {
			t.Errorf("%v panics counted, want one of the read and some of refreshes", panicked)
		}
		w.server.setScript(respondPerNamespace)
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if _, err := w.Evaluate(t.Context(), w.newRuleQuery("requests", "shop", "a"), time.Now()); err != nil {
			t.Errorf("a query after the bug: %v", err)
		}
	})
}
