package scrape

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"

// scriptedServer answers the requests of each connection with its raw responses in turn, and repeats the last. An empty
// response closes the connection without an answer.
type scriptedServer struct {
	responses  []string
	closeAfter time.Duration // closes a connection this long after each response; 0: never

	mu          sync.Mutex
	connections int
	open        int
	requests    []string
}

func (s *scriptedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	s.mu.Lock()
	s.connections++
	s.open++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
	}()
	for i := 0; s.respondTo(conn, r, i); i++ {
		if r, err = http.ReadRequest(buffered.Reader); err != nil {
			return
		}
	}
}

func (s *scriptedServer) respondTo(conn net.Conn, r *http.Request, i int) bool {
	s.mu.Lock()
	s.requests = append(s.requests, r.RequestURI)
	s.mu.Unlock()
	response := s.responses[min(i, len(s.responses)-1)]
	_, err := io.WriteString(conn, response)
	if s.closeAfter > 0 {
		time.AfterFunc(s.closeAfter, func() { conn.Close() })
	}
	return err == nil && response != ""
}

func (s *scriptedServer) connCounts() (connections, open, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections, s.open, len(s.requests)
}

func responseWithLength(body string) string {
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", okHead, len(body), body)
}

// TestConnections scrapes servers that close, keep and break connections in many ways. Each scrape gets its page or a cause,
// with one request, or with two after a closed connection.
func TestConnections(t *testing.T) {
	t.Parallel()
	good := responseWithLength("a 1\n")
	for name, tc := range map[string]struct {
		*scriptedServer
		connections, requests int    // in five scrapes
		samples               string // in the end
		cause                 string // of the last scrape
	}{
		"kept":                     {&scriptedServer{responses: []string{good}}, 1, 5, "1 1 1 1 1", ""},
		"closed while idle":        {&scriptedServer{responses: []string{good}, closeAfter: time.Second}, 5, 5, "1 1 1 1 1", ""},
		"closed at each second":    {&scriptedServer{responses: []string{good, ""}}, 5, 9, "1 1 1 1 1", ""},
		"closed always":            {&scriptedServer{responses: []string{""}}, 5, 5, "", "connection closed"},
		"408 while idle":           {&scriptedServer{responses: []string{good, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"}}, 5, 9, "1 1 1 1 1", ""},
		"408 always":               {&scriptedServer{responses: []string{"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"}}, 6, 6, "", "HTTP 408"},
		"says that it closes":      {&scriptedServer{responses: []string{okHead + "Connection: close\r\nContent-Length: 4\r\n\r\na 1\n", good}}, 5, 5, "1 1 1 1 1", ""},
		"says more than was asked": {&scriptedServer{responses: []string{good + responseWithLength("a 666\n")}}, 5, 5, "1 1 1 1 1", ""},
		"breaks off in the head":   {&scriptedServer{responses: []string{good, "HTTP/1.1 200 O"}, closeAfter: time.Millisecond}, 5, 5, "1 1 1 1 1", ""},
		"chunks":                   {&scriptedServer{responses: []string{okHead + "Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\n\r\n"}}, 1, 5, "1 1 1 1 1", ""},
		"trailers":                 {&scriptedServer{responses: []string{okHead + "Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\nX: y\r\n\r\n"}}, 5, 5, "1 1 1 1 1", ""},
		"interim responses":        {&scriptedServer{responses: []string{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + good}}, 1, 5, "1 1 1 1 1", ""},
		"HTTP/1.0, kept":           {&scriptedServer{responses: []string{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\na 1\n"}}, 1, 5, "1 1 1 1 1", ""},
		"HTTP/1.0":                 {&scriptedServer{responses: []string{"HTTP/1.0 200 OK\r\n\r\na 1\n", ""}, closeAfter: 1}, 5, 5, "1 1 1 1 1", ""},
		"switches protocols":       {&scriptedServer{responses: []string{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"}}, 5, 5, "", "HTTP 101"},
		"a long error, kept":       {&scriptedServer{responses: []string{"HTTP/1.1 503 No\r\nContent-Length: 5000\r\n\r\n" + strings.Repeat("x", 5000)}}, 1, 6, "", "HTTP 503"},
		"endless headers":          {&scriptedServer{responses: []string{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n"}}, 5, 5, "", "response headers over 16 KiB"},
		"not HTTP":                 {&scriptedServer{responses: []string{"SSH-2.0-x\r\n"}, closeAfter: 1}, 5, 5, "", "not HTTP: SSH-2.0-x"},
		"malformed chunks":         {&scriptedServer{responses: []string{okHead + "Transfer-Encoding: chunked\r\n\r\n4\na 1\n\r\n0\r\n\r\n"}}, 5, 5, "", "malformed chunked encoding"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				n.addServer("cart-1:8080", tc.scriptedServer)
				m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
				passFakeTime(9 * time.Second)
				connections, open, requests := tc.connCounts()
				if connections != tc.connections || requests != tc.requests {
					t.Errorf("%d connections and %d requests, want %d and %d", connections, requests, tc.connections, tc.requests)
				}
				if got := formatPoints(r.pointsOfSeries(t, `"a"`)); got != tc.samples {
					t.Errorf("samples %q, want %q", got, tc.samples)
				}
				if d := m.Diagnose("shop", "cart-1", []string{"a"}); tc.cause != "" && d.Detail != tc.cause {
					t.Errorf("cause %q, want %q", d.Detail, tc.cause)
				}
				if open > 1 {
					t.Errorf("%d connections open", open)
				}
				m.SetTargets(nil)
				passFakeTime(0)
				if _, open, _ := tc.connCounts(); open > 0 {
					t.Errorf("%d connections open to a target that went", open)
				}
			})
		})
	}
}

// TestRequestsAreTheSame compares the rendered request with the request of net/http.
func TestRequestsAreTheSame(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"http://10.0.0.1:8080/metrics", "http://10.0.0.1", "http://[fe80::1%25eth0]:80/a%2Fb/ü?x=y#z", "http://u:p@Cart:8080/?q",
	} {
		e := newScrapedEndpoint(url, exposition.NewFamilies([]string{"a"}))
		for i, q := range []requestTemplate{e.namedRequest, e.getWholePageRequest()} {
			if q.raw == nil {
				t.Errorf("%s: left to net/http", url)
				continue
			}
			got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(q.raw))))
			if err != nil {
				t.Errorf("%s: %v", url, err)
				continue
			}
			if got.URL.Query().Has("name[]") == (i == 1) || got.Header.Get("User-Agent") != "tachometer" || got.Header.Get("Accept") == "" ||
				got.Header.Get("Accept-Encoding") != "" || got.Header.Get("Authorization") != "" || got.Close {
				t.Errorf("%s: asks %q", url, q.raw)
			}
		}
	}
	for url, want := range map[string]string{
		"http://10.0.0.1/": "10.0.0.1:80", "http://[::1]:9": "[::1]:9", "https://10.0.0.1/": "", "http://cärt/": "",
	} {
		if got := newScrapedEndpoint(url, exposition.NewFamilies([]string{"a"})).dialAddress; got != want {
			t.Errorf("%s: address %q, want %q", url, got, want)
		}
	}
}
