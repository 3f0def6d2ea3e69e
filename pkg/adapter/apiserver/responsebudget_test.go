package apiserver

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// unreadWriter is a response whose client reads nothing until the end.
type unreadWriter struct {
	*httptest.ResponseRecorder
	end <-chan struct{}
}

func (w *unreadWriter) Write(p []byte) (int, error) { <-w.end; return len(p), nil }

// TestUnreadResponses: large responses wait for their clients within a budget of bytes, others are aborted; an HPA's never are, nor small ones.
func TestUnreadResponses(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for name, tc := range map[string]struct {
		user           string
		users, size    int
		waiting, fails int // of 30 responses
	}{
		"one user":            {"reader", 1, mib, 3, 27},
		"many users":          {"reader", 30, mib, 6, 24},
		"larger than all":     {"reader", 1, 20 * mib, 1, 29},
		"small ones":          {"reader", 1, 1 << 10, 30, 0},
		"the HPA controllers": {hpaUser, 1, mib, 30, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				gate := newProcessorGate(newTestLanes(), newProcessorLoad(), defaultServerLimits())
				handler := gate.gateRequestHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, tc.size)) }))
				end, aborted, ended := make(chan struct{}), make(chan any, 30), make(chan struct{}, 30)
				for i := range 30 {
					u := tc.user
					if tc.users > 1 {
						u += string(rune('a' + i))
					}
					ctx := request.WithUser(context.Background(), &user.DefaultInfo{Name: u})
					go func() {
						defer func() {
							if fault := recover(); fault != nil {
								aborted <- fault
								return
							}
							ended <- struct{}{}
						}()
						handler.ServeHTTP(&unreadWriter{httptest.NewRecorder(), end}, httptest.NewRequestWithContext(ctx, http.MethodGet, gatedExplainPath, http.NoBody))
					}()
				}
				synctest.Wait()
				if len(aborted) != tc.fails || len(gate.places) != 0 {
					t.Errorf("%d of 30 responses are aborted, want %d; %d places of processors are taken", len(aborted), tc.fails, len(gate.places))
				}
				close(end)
				synctest.Wait()
				if len(ended) != tc.waiting || gate.responses.taken != 0 || len(gate.responses.by) != 0 {
					t.Errorf("%d responses were complete, want %d; the budget is %+v", len(ended), tc.waiting, gate.responses)
				}
				for range tc.fails {
					if fault, ok := (<-aborted).(error); !ok || !errors.Is(fault, http.ErrAbortHandler) {
						t.Errorf("aborted by %v", fault)
					}
				}
			})
		})
	}
}
