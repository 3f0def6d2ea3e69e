package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// TestLivezSeesWorkThatDoesNotEnd: /livez fails while the work of a lost leadership hangs, and neither before nor after.
func TestLivezSeesWorkThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lead := newScalerProgramLeadership("scaler/scaler")
		handler := newScalerProgramHealthServer(lead).newScalerProgramHealthHandler()
		want := func(when string, code int) {
			t.Helper()
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/livez", http.NoBody))
			if w.Code != code {
				t.Errorf("%s: /livez is %d %s, want %d", when, w.Code, w.Body, code)
			}
		}
		leading, lose := context.WithCancel(t.Context())
		release, ended := make(chan struct{}), make(chan error)
		lead.setScalerProgramLeading(leading)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			ended <- lead.runWhileScalerProgramLeads(ctx, func(context.Context) error { <-release; return nil })
		}()
		<-time.After(time.Hour)
		want("a leader", http.StatusOK)
		lose()
		lead.setScalerProgramLeading(nil) //nolint:staticcheck // no context: no leadership
		<-time.After(maxScalerProgramStop)
		synctest.Wait()
		want("while the work ends", http.StatusOK)
		<-time.After(time.Minute)
		want("the work does not end", http.StatusServiceUnavailable)
		close(release)
		synctest.Wait()
		want("the work has ended", http.StatusOK)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
