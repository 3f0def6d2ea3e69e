package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch/switchtest"
)

// secretPath is the secret part of every URL in this file.
const secretPath = "/services/T0SECRET/hush?token=mum"

func fixedURL(url string) func() (string, error) { return func() (string, error) { return url, nil } }

// checkNoSecret fails the test if an error shows a part of the URL.
func checkNoSecret(t *testing.T, err error, url string) {
	t.Helper()
	for _, part := range []string{"T0SECRET", "hush", "mum", url, strings.TrimPrefix(strings.SplitN(url, "/services", 2)[0], "http://")} {
		if part != "" && strings.Contains(err.Error(), part) {
			t.Errorf("the error shows %q: %v", part, err)
		}
	}
}

func TestPostDelivers(t *testing.T) {
	t.Parallel()
	var kind, extra, query string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, extra, query = r.Header.Get("Content-Type"), r.Header.Get("X-Team"), r.URL.String()
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	header := http.Header{"X-Team": {"shop"}}
	if err := Post(t.Context(), NewClient(server.Client()), fixedURL(server.URL+secretPath), header, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if kind != "application/json" || extra != "shop" || query != secretPath {
		t.Errorf("sent %q, %q to %q", kind, extra, query)
	}
	if len(header) != 1 {
		t.Errorf("the caller's header was changed: %v", header)
	}
}

func TestRejections(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status   int
		body     string
		header   string
		want     string
		after    time.Duration
		hopeless bool
	}{
		"Slack's own word":         {400, "invalid_payload", "", "status 400: invalid_payload", 0, true},
		"withdrawn":                {404, "no_service", "", "status 404: no_service", 0, false},
		"limit, in seconds":        {429, "", "30", "status 429", 30 * time.Second, false},
		"limit, without":           {429, "", "", "status 429", 0, false},
		"down":                     {503, "<html>upstream</html>", "7", "status 503", 7 * time.Second, false},
		"the URL in the answer":    {404, "404 page not found: " + secretPath, "", "status 404", 0, false},
		"the secret as the answer": {403, "hush", "", "status 403", 0, false},
		"a nonsensical header":     {503, "", "soon", "status 503", 0, false},
		"a negative header":        {503, "", "-5", "status 503", 0, false},
		"a redirect":               {308, "Permanent Redirect", "", "status 308: a redirect, which is not followed; write the new URL into the file", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			err := Post(t.Context(), NewClient(nil), fixedURL(server.URL+secretPath), nil, nil)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v is none of ours", err)
			}
			if e.Error() != c.want || e.Status != c.status || e.RetryAfter != c.after || e.IsPermanent() != c.hopeless {
				t.Errorf("got %q, status %d, after %s, hopeless %v", e, e.Status, e.RetryAfter, e.IsPermanent())
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the message went elsewhere") }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	err := Post(t.Context(), NewClient(&http.Client{}), fixedURL(server.URL+secretPath), nil, nil)
	var e *Error
	if !errors.As(err, &e) || e.Status != http.StatusTemporaryRedirect || !e.IsPermanent() {
		t.Errorf("got %v", err)
	}
}

// failingTransport fails with an error of the network.
type failingTransport struct{ err error }

func (f failingTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func TestFailuresHideTheURL(t *testing.T) {
	t.Parallel()
	const url = "https://me:hush@T0SECRET.example.com:8443" + secretPath
	for name, c := range map[string]struct {
		cause error
		want  string
	}{
		"no such host": {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "T0SECRET.example.com"}}, "look up the host: no such host"},
		"refused":      {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "connection refused"},
		"deadline":     {context.DeadlineExceeded, "no response in time"},
		"cancelled":    {context.Canceled, "cancelled before the response"},
		"untrusted":    {&tls.CertificateVerificationError{Err: errors.New("for T0SECRET.example.com")}, "the certificate is not trusted"},
		"anything":     {errors.New("cannot reach " + url), "connection broken, or not an HTTP server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := Post(t.Context(), NewClient(&http.Client{Transport: failingTransport{c.cause}}), fixedURL(url), nil, nil)
			if err == nil || err.Error() != c.want {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				checkNoSecret(t, e, url)
			}
		})
	}
}

func TestDeadPort(t *testing.T) {
	t.Parallel()
	const url = "http://127.0.0.1:1" + secretPath // not a port that another server of a test may get
	err := Post(t.Context(), NewClient(nil), fixedURL(url), nil, nil)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("got %v", err)
	}
	checkNoSecret(t, err, url)
}

func TestHangIsBounded(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	defer server.Close()
	defer close(hold)
	err := Post(t.Context(), NewClient(&http.Client{Timeout: 20 * time.Millisecond}), fixedURL(server.URL+secretPath), nil, nil)
	if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "no response in time" {
		t.Fatalf("got %v", err)
	}
}

// TestUpgradeIsNoDelivery: a receiver that goes over to another protocol, and leaves the connection open, has not taken the message.
func TestUpgradeIsNoDelivery(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(switchtest.NewHandler(t))
	defer server.Close()
	sent := make(chan error, 1)
	go func() { sent <- Post(t.Context(), NewClient(nil), fixedURL(server.URL), nil, nil) }()
	select {
	case err := <-sent:
		if err == nil || err.Error() != "status 101" {
			t.Errorf("error %v", err)
		}
	case <-time.After(3 * DefaultTimeout):
		t.Error("no end")
	}
}

func TestWhatIsNoURL(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "hush", "ftp://T0SECRET/hush", "https://", "http://%zzhush", "http://T0SECRET:hush/", "https://a b/hush"} {
		err := Post(t.Context(), NewClient(nil), fixedURL(text), nil, nil)
		if err == nil {
			t.Fatalf("%q was taken", text)
		}
		checkNoSecret(t, err, "")
	}
}

func TestFileIsReadAnew(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	read := URLFromFile(file)
	if _, err := read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
	for _, want := range []string{"https://one", "https://two"} {
		if err := os.WriteFile(file, []byte("\n "+want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := read(); got != want || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("hush", maxURLBytes)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("a long file: %v", err)
	}
}

func TestAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"120": 2 * time.Minute, "0": 0, "": 0, "-1": 0, "1.5": 0, "99999999999": math.MaxInt32 * time.Second, "99999999999999999999999": math.MaxInt32 * time.Second, "-99999999999": 0,
		"Fri, 27 Nov 2026 08:01:30 GMT": 90 * time.Second,
		"Fri, 27 Nov 2026 07:00:00 GMT": 0,
	} {
		if got := parseWebhookRetryAfter(header, now); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func FuzzAfter(f *testing.F) {
	for _, seed := range []string{"120", "0", "", "Fri, 27 Nov 2026 08:01:30 GMT", "-1"} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, header string) {
		if got := parseWebhookRetryAfter(header, now); got < 0 {
			t.Errorf("%q: %s", header, got)
		}
	})
}

// TestHeadersAreBounded: a response with 20 KiB of headers is an error.
func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 20<<10))
	}))
	defer server.Close()
	if err := Post(t.Context(), NewClient(nil), fixedURL(server.URL), nil, []byte("{}")); err == nil {
		t.Error("it was read")
	}
}
