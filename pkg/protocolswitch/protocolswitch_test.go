package protocolswitch

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestReject: a response 101 has an empty body, and its connection is closed; other responses have theirs.
func TestReject(t *testing.T) {
	t.Parallel()
	closed := make(chan error, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/switch", func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err == nil {
			defer conn.Close()
			_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n")
		}
		if err == nil {
			_, err = buffered.ReadByte()
		}
		closed <- err
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	server := httptest.NewServer(mux)
	defer server.Close()
	client := &http.Client{Transport: Reject(nil)}
	defer client.CloseIdleConnections()
	for path, want := range map[string]string{"/switch": "101 Switching Protocols, ", "/page": "200 OK, page"} {
		response, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if got := response.Status + ", " + string(body); err != nil || got != want {
			t.Errorf("%s: %s (%v), want %s", path, got, err, want)
		}
		_ = response.Body.Close()
	}
	select {
	case err := <-closed:
		if err == nil {
			t.Error("the client sent something over the connection")
		}
	case <-time.After(time.Minute):
		t.Error("the connection is open")
	}
}
