package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// maxMetricListBytes bounds the response to a read of a metric: a value for each of 15,000 pods. Other servers than kube-apiserver write it, and
// tenants their values. The surge lane reads eight at a time.
const maxMetricListBytes = 4 << 20

// errLargeResponse is the error of a longer response.
var errLargeResponse = fmt.Errorf("the response has more than %d MiB", maxMetricListBytes>>20)

type boundedResponseKey struct{}

// withBoundedResponse returns a context whose requests have responses of at most maxMetricListBytes, also of an error. client-go reads a
// response whole.
func withBoundedResponse(ctx context.Context) context.Context {
	return context.WithValue(ctx, boundedResponseKey{}, true)
}

// boundResponses has the requests of withBoundedResponse keep to their bound.
func boundResponses(next http.RoundTripper) http.RoundTripper { return boundedResponses{next} }

// boundedResponses is the transport of boundResponses.
type boundedResponses struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b boundedResponses) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(request)
	if err == nil && request.Context().Value(boundedResponseKey{}) != nil {
		response.Body = &boundedResponse{response.Body, maxMetricListBytes}
	}
	return response, err
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (b boundedResponses) WrappedRoundTripper() http.RoundTripper { return b.next }

// boundedResponse is a body of which left bytes may still be read.
type boundedResponse struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *boundedResponse) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errLargeResponse
	}
	return n, err
}
