// Package switchtest is a server for tests of clients that reject responses 101.
package switchtest

import (
	"io"
	"net/http"
	"testing"
)

// NewHandler returns a handler that goes over to another protocol, and then neither says anything nor closes the connection until the test ends.
func NewHandler(t testing.TB) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n")
	}
}
