package http1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// countingDialer counts the connections that it opens.
type countingDialer struct{ dials atomic.Int32 }

func (d *countingDialer) dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	d.dials.Add(1)
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// testRequest is a Client with one connection to a server.
type testRequest struct {
	client   Client
	dialer   countingDialer
	conn     Conn
	inflight InflightRequest
	address  string
}

func newTestRequest(t *testing.T, h http.HandlerFunc) *testRequest {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	q := &testRequest{address: strings.TrimPrefix(server.URL, "http://")}
	q.client = Client{DialContext: q.dialer.dialTCP, MaxConnIdle: time.Minute, MaxHeaderBytes: testMaxHeaderBytes}
	t.Cleanup(q.conn.Close)
	return q
}

// getPath returns the status and the body of a response.
func (q *testRequest) getPath(ctx context.Context, path string, now time.Time) (string, error) {
	q.inflight.SetDeadline(time.Now().Add(time.Minute))
	request := "GET " + path + " HTTP/1.1\r\nHost: " + q.address + "\r\n\r\n"
	resp, err := q.client.Get(ctx, &q.conn, &q.inflight, q.address, []byte(request), now)
	if err != nil {
		return "", err
	}
	defer resp.Close()
	var body strings.Builder
	for {
		piece, err := resp.NextPiece()
		if errors.Is(err, io.EOF) {
			return fmt.Sprint(resp.Status, " ", body.String()), nil
		}
		if err != nil {
			return "", err
		}
		body.Write(piece)
	}
}

// TestGet checks which requests share a connection.
func TestGet(t *testing.T) {
	t.Parallel()
	q := newTestRequest(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/last":
			w.Header().Set("Connection", "close")
		case "/error":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/idle":
			w.WriteHeader(http.StatusRequestTimeout)
		}
		_, _ = io.WriteString(w, r.URL.Path)
	})
	now := time.Now()
	for _, step := range []struct {
		path  string
		after time.Duration
		want  string
		dials int32 // so far
	}{
		{"/a", 0, "200 /a", 1},
		{"/b", 0, "200 /b", 1},
		{"/error", 0, "503 /error", 1},
		{"/c", 59 * time.Second, "200 /c", 1},
		{"/d", time.Minute, "200 /d", 2}, // idle for too long
		{"/last", 0, "200 /last", 2},
		{"/e", 0, "200 /e", 3},
		{"/idle", 0, "408 /idle", 4}, // on the kept connection it does not answer this request
		{"/f", 0, "200 /f", 5},
	} {
		now = now.Add(step.after)
		got, err := q.getPath(t.Context(), step.path, now)
		if err != nil || got != step.want {
			t.Errorf("%s: %q, %v, want %q", step.path, got, err, step.want)
		}
		if dials := q.dialer.dials.Load(); dials != step.dials {
			t.Errorf("%s: %d connections so far, want %d", step.path, dials, step.dials)
		}
	}
	if _, err := q.getPath(t.Context(), "/g", now); err != nil {
		t.Fatal(err)
	}
	q.conn.conn.Close() // as if it broke while idle
	if got, err := q.getPath(t.Context(), "/h", now); err != nil || got != "200 /h" || q.dialer.dials.Load() != 6 {
		t.Errorf("over a broken connection: %q, %v, %d connections, want 6", got, err, q.dialer.dials.Load())
	}
}

// TestInterrupt interrupts a request whose response does not come.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	q := newTestRequest(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	go func() {
		<-asked
		q.inflight.Interrupt()
	}()
	if got, err := q.getPath(t.Context(), "/", time.Now()); err == nil || !q.inflight.WasInterrupted() {
		t.Errorf("%q, %v, want an error", got, err)
	}
	if q.conn.conn != nil {
		t.Error("an interrupted request leaves its connection open")
	}
}

// TestCloseTwice closes a response twice: the reader must not be lent to two requests.
func TestCloseTwice(t *testing.T) {
	t.Parallel()
	q := newTestRequest(t, func(http.ResponseWriter, *http.Request) {})
	q.inflight.SetDeadline(time.Now().Add(time.Minute))
	resp, err := q.client.Get(t.Context(), &q.conn, &q.inflight, q.address, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	resp.Close()
	resp.Close()
	if first, second := q.client.borrowReader(), q.client.borrowReader(); first == second {
		t.Error("one reader was lent twice")
	}
}

// TestCutBody reads bodies that are longer than their Content-Length, by this package and by net/http's reader.
func TestCutBody(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"HTTP/1.1 200 OK", "HTTP/1.0 200 OK"} {
		for _, length := range []int{0, 10, 100_000} {
			for behind, want := range map[string]bool{"": false, "\r\n": false, "1": true, "\n1\n": true, "HTTP/1.1 408 Request Timeout\r\n\r\n": false} {
				got, cut := readCutBody(t, fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s%s", status, length, strings.Repeat("x", length), behind))
				if got != length || cut != want {
					t.Errorf("%s, %q behind %d bytes: %d bytes, cut %v, want %v", status, behind, length, got, cut, want)
				}
			}
		}
	}
}

// readCutBody returns the length of the body in a response that a server sends at once, and whether it is cut.
func readCutBody(t *testing.T, response string) (length int, cut bool) {
	t.Helper()
	near, far := net.Pipe()
	go func() {
		_, _ = io.ReadFull(far, make([]byte, 3))
		_, _ = io.WriteString(far, response)
		_ = far.Close()
	}()
	var in InflightRequest
	in.SetDeadline(time.Now().Add(time.Minute))
	var conn Conn
	client := Client{DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
	resp, err := client.Get(t.Context(), &conn, &in, "server:80", []byte("GET"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer resp.Close()
	for {
		piece, err := resp.NextPiece()
		if err != nil {
			return length, resp.IsCut()
		}
		length += len(piece)
	}
}

// TestNewResponse reads a response of net/http.
func TestNewResponse(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "abc") }))
	t.Cleanup(server.Close)
	got, err := http.Get(server.URL) //nolint:noctx // a server in this process
	if err != nil {
		t.Fatal(err)
	}
	resp := NewResponse(got, make([]byte, 2))
	defer resp.Close()
	first, err := resp.NextPiece()
	if err != nil || string(first) != "ab" || resp.Status != http.StatusOK || resp.Length != 3 {
		t.Errorf("status %d, length %d, first piece %q, %v", resp.Status, resp.Length, first, err)
	}
}
