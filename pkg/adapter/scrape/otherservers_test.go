package scrape

import (
	"net/http"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestOtherServers scrapes ports of servers that are no usual page: the cause says what answers there, and what to do.
func TestOtherServers(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"
	const speaksTLS = `the target speaks TLS: annotate prometheus.io/scheme: "https"`
	for name, tc := range map[string]struct{ answer, want string }{
		"TLS, an alert":            {"\x15\x03\x01\x00\x02\x02\x46", speaksTLS},
		"TLS, Go":                  {"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", "HTTP 400: " + speaksTLS},
		"TLS, nginx":               {"HTTP/1.1 400 Bad Request\r\nContent-Length: 45\r\n\r\nThe plain HTTP request was sent to HTTPS port", "HTTP 400: " + speaksTLS},
		"gRPC":                     {"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", "the target speaks HTTP/2 only, as gRPC ports do: annotate prometheus.io/port"},
		"SSH":                      {"SSH-2.0-OpenSSH_9.2p1\r\n", "not HTTP: SSH-2.0-OpenSSH_9.2p1"},
		"Redis":                    {"-ERR wrong number of arguments for 'get' command\r\n", "not HTTP: -ERR wrong number of arguments for 'get' command"},
		"MySQL":                    {"J\x00\x00\x00\x0a8.0.33\x00", `not HTTP: J\x00\x00\x00`},
		"a page without HTTP":      {"a 1\nb 2\n", "not HTTP: a 1"},
		"nothing":                  {"", "connection closed"},
		"half of a header":         {"HTTP/1.1 200 OK\r\nContent-Le", "connection closed"},
		"no content":               {"HTTP/1.1 204 No Content\r\n\r\n", "HTTP 204"},
		"a part":                   {"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n\r\na 1\n", "HTTP 206"},
		"not modified":             {"HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP 304"},
		"another bad request":      {"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", "HTTP 400"},
		"a password":               {"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"metrics\"\r\nContent-Length: 0\r\n\r\n", "HTTP 401: the page wants credentials, and the adapter sends none"},
		"HTTPS in another status":  {"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nHTTPS", "HTTP 403"},
		"protobuf":                 {head + "Content-Type: application/vnd.google.protobuf; encoding=delimited\r\n\r\n\x05\x0a\x01a", "Content-Type is application/vnd.google.protobuf"},
		"zstd":                     {head + "Content-Encoding: zstd\r\n\r\n\x28\xb5\x2f\xfd", "zstd, though not asked for"},
		"two codings":              {head + "Content-Encoding: identity, x-gzip\r\n\r\n\x1f\x8b\x08\x00", "identity, x-gzip, though not asked for"},
		"Latin-1":                  {head + "Content-Type: text/plain; charset=iso-8859-1\r\n\r\na\xfc 1", "not UTF-8 at line 1"},
		"a length in characters":   {head + "\r\na 100\n", "truncated page: its Content-Length is less than its bytes"},
		"a length of 0":            {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\na 1\n", "truncated page: its Content-Length is less than its bytes"},
		"a line break behind":      {head + "\r\na 1\n\r\n", ""},
		"no type":                  {head + "\r\na 1\n", ""},
		"a type without semicolon": {head + "Content-Type: text/plain version=0.0.4\r\n\r\na 1\n", ""},
		"a type written twice":     {head + "Content-Type: text/plain, text/plain\r\n\r\na 1\n", ""},
		"a coding that is none":    {head + "Content-Encoding: Identity\r\n\r\na 1\n", ""},
		"a charset for a coding":   {head + "Content-Encoding: UTF-8\r\n\r\na 1\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				n.addServer("cart-1:8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					c, _, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = c.Write([]byte(tc.answer))
					_ = c.Close()
				}))
				m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
				passFakeTime(3 * time.Second)
				if tc.want != "" {
					checkDiagnosis(t, m, "cart-1", metric.ReasonScrapeFailed, tc.want, "a")
				} else if got := formatPoints(r.pointsOfSeries(t, `"a"`)); got != "1 1" {
					t.Errorf("samples %q", got)
				}
			})
		})
	}
}
