// Requests that no HTTP client of Go would send: look-alikes of paths and headers, and ambiguous lengths.

package attack

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// strangerPaths are look-alikes of paths that are open to all, of paths that are not. None has an answer but health, or a rejection.
var strangerPaths = []string{
	"/healthz/../metrics", "/readyz/../metrics", "/readyz/..%2fmetrics", "/readyz%2f..%2fmetrics", "/readyz%2e%2e/metrics", "//metrics", "/./metrics", "/metrics/", "/%6detrics",
	"/metrics%00", "/metrics%20", "/livez;/metrics", "/livez/%2e%2e/debug/pprof/", "/readyz?/metrics", "/healthz#/metrics", "/readyz\\..\\metrics", "/READYZ", "/metrics%23/readyz",
	"/readyz/%252e%252e/metrics", "/\u2024\u2024/metrics", "/readyz/\u202e", "https://localhost/metrics", "https://localhost/readyz/../metrics", "https://root@localhost/metrics",
	"http://169.254.169.254/readyz", "*", "localhost:443", "/apis//custom.metrics.k8s.io/v1beta2", "/apis/custom.metrics.k8s.io/v1beta2/../../../readyz", "/readyz/apis/custom.metrics.k8s.io/v1beta2",
}

// rawRequests are requests that two readers of HTTP may take apart differently. Each has at most so many responses: a second one would be of a
// request that the first reader has not seen.
var rawRequests = map[string]struct {
	text      string
	responses int
}{
	"two lengths":              {"POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 1},
	"a length and chunks":      {"POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 1},
	"another encoding":         {"POST /readyz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 1},
	"two encodings":            {"POST /readyz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 1},
	"a negative length":        {"POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 1},
	"a signed length":          {"POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 1},
	"a blank before the colon": {"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Remote-User : system:admin\r\n\r\n", 1},
	"a folded field":           {"GET /metrics HTTP/1.1\r\nHost: a\r\nX: y\r\n X-Remote-User: system:admin\r\n\r\n", 1},
	"a null in a field":        {"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Remote-User: system:admin\x00\r\n\r\n", 1},
	"two hosts":                {"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 1},
	"bare line feeds":          {"GET /metrics HTTP/1.1\nHost: a\nX-Remote-User: system:admin\nX-Remote-Group: system:masters\n\n", 1},
	"HTTP/0.9":                 {"GET /metrics\r\n\r\n", 1},
	"HTTP/2 without asking":    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1},
	"a chunk extension":        {"POST /readyz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("x=y;", 20_000) + "\r\nhello\r\n0\r\n\r\n", 1},
	"a trailer of identity":    {"POST /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Remote-User\r\n\r\n0\r\nX-Remote-User: system:admin\r\n\r\n", 1},
	"a body that is awaited":   {"POST /metrics HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n", 1},
}

var rawStatusLine = regexp.MustCompile(`(?m)^HTTP/1\.[01] (\d\d\d)`)

// sendRawRequest sends a text over TLS, and returns all that comes back.
func (a *attackedAdapter) sendRawRequest(t *testing.T, text string) string {
	t.Helper()
	trust, err := a.NewTLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	trust.NextProtos = []string{"http/1.1"}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", strings.TrimPrefix(a.URL, "https://"), trust)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, text); err != nil {
		t.Logf("sent a part: %v", err)
	}
	_ = c.CloseWrite()
	answer, _ := io.ReadAll(io.LimitReader(c, 1<<20)) // a reset is an answer too
	return string(answer)
}

// TestRawRequests: a stranger gets health or a rejection by no spelling of a path, and one response to a request that may be taken for two.
func TestRawRequests(t *testing.T) {
	joinShare(t)
	a := startAdapter(t, startShop(t, http.HandlerFunc(evilPage)))
	for _, path := range strangerPaths {
		answer := a.sendRawRequest(t, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		a.judgeRawAnswer(t, path, answer, 1)
	}
	for name, raw := range rawRequests {
		a.judgeRawAnswer(t, name, a.sendRawRequest(t, raw.text), raw.responses)
	}
	a.judge()
}

// judgeRawAnswer rejects an answer with a page that is not open to all, or with too many responses.
func (a *attackedAdapter) judgeRawAnswer(t *testing.T, name, answer string, responses int) {
	t.Helper()
	statuses := rawStatusLine.FindAllStringSubmatch(answer, -1)
	if len(statuses) > responses {
		t.Errorf("%s: %d responses: %.500q", name, len(statuses), answer)
	}
	for _, private := range []string{"tachometer_", "go_gc_", "APIResourceList", "APIGroup", "goroutine"} {
		if strings.Contains(answer, private) {
			t.Errorf("%s: a stranger gets %q: %.500q", name, private, answer)
		}
	}
	for _, status := range statuses {
		// A busy machine may let a health check end late: 503 and 504 are rejections.
		isRejection := status[1][0] != '5' || slices.Contains([]string{"501", "503", "504"}, status[1])
		if !isRejection || status[1] == "200" && !strings.Contains(answer, "\r\n\r\nok") {
			t.Errorf("%s: %.500q", name, answer)
		}
	}
	t.Logf("%q: %.80q", name, answer)
}
