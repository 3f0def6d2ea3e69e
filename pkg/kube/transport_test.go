package kube

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
)

// failingTransport fails each request.
type failingTransport struct{ err error }

// RoundTrip implements http.RoundTripper.
func (f failingTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// TestHintAtAddress: the hint is for a connection that does not open, and for nothing later.
func TestHintAtAddress(t *testing.T) {
	t.Parallel()
	for op, hinted := range map[string]bool{"dial": true, "read": false} {
		cause := &net.OpError{Op: op, Net: "tcp", Err: errors.New("refused")}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := hintAtAddress(failingTransport{cause}).RoundTrip(request)
		if response != nil {
			_ = response.Body.Close()
		}
		if !errors.Is(err, cause) || strings.Contains(err.Error(), "--kubeconfig") != hinted {
			t.Errorf("%s: %v", op, err)
		}
	}
}
