// Package protocolswitch keeps a server from taking an HTTP connection out of HTTP. The body of a response 101 (Switching Protocols) is the connection
// itself, which may never end, and which no timeout of a client ends.
package protocolswitch

import "net/http"

// Reject returns a transport like next that closes the connection of a response 101. The response then has no body: to its reader it is one more
// unexpected status. A nil next means http.DefaultTransport.
func Reject(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return rejecter{next}
}

// rejecter is the transport of Reject.
type rejecter struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (r rejecter) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		_ = response.Body.Close()
		response.Body = http.NoBody
	}
	return response, err
}

// CloseIdleConnections closes the idle connections of the transport below; http.Client calls it. client-go's transports pass no such call on, and
// tell what they wrap instead.
func (r rejecter) CloseIdleConnections() {
	next := r.next
	for {
		wrapper, ok := next.(interface{ WrappedRoundTripper() http.RoundTripper })
		if !ok {
			break
		}
		next = wrapper.WrappedRoundTripper()
	}
	(&http.Client{Transport: next}).CloseIdleConnections()
}
