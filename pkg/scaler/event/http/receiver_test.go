package httpevent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSecret = "correct horse battery"
	testBody   = `{"id":"a"}`
)

func writeSecretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serveReceiver serves the endpoint with a real server.
func serveReceiver(t *testing.T, handle MessageFunc, opts Options, files ...string) *httptest.Server {
	t.Helper()
	if handle == nil {
		handle = func(context.Context, event.Message) error { return nil }
	}
	s := httptest.NewServer(New(event.HTTPConfig{SecretFiles: files}, handle, opts).Handler())
	t.Cleanup(s.Close)
	return s
}

func newSignedRequest(t *testing.T, url, key, body string, at time.Time) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+Path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	timestamp, mac := Sign([]byte(key), nil, []byte(body), at)
	req.Header.Set(TimestampHeader, timestamp)
	req.Header.Set(SignatureHeader, mac)
	return req
}

// sendEventRequest returns the response and its decoded body.
func sendEventRequest(t *testing.T, s *httptest.Server, req *http.Request) (*http.Response, eventResponse) {
	t.Helper()
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a eventResponse
	if res.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(data, &a); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
	}
	return res, a
}

// TestSign checks the signature against another program: printf '1700000000.{"id":"a"}' | openssl dgst -sha256 -hmac 'correct horse battery'.
func TestSign(t *testing.T) {
	t.Parallel()
	timestamp, mac := Sign([]byte(testSecret), nil, []byte(testBody), time.Unix(1_700_000_000, 0))
	if want := "sha256=54314eb19be7b707b450ae95db89a2667a164275e98e2d171871dc751c1fd77c"; timestamp != "1700000000" || mac != want {
		t.Errorf("%s %s; want %s", timestamp, mac, want)
	}
}

func TestWhoMaySend(t *testing.T) {
	t.Parallel()
	s := serveReceiver(t, func(_ context.Context, m event.Message) error {
		data := m.Data
		if string(data) != testBody {
			t.Errorf("handled %q", data)
		}
		return nil
	}, Options{}, writeSecretFile(t, "an older secret, still valid\n"), writeSecretFile(t, testSecret))
	for name, c := range map[string]struct {
		key    string
		off    time.Duration // of the sender's clock
		change func(*http.Request)
		want   int
	}{
		"who knows the secret":       {testSecret, 0, nil, http.StatusAccepted},
		"who knows the other secret": {"an older secret, still valid", 0, nil, http.StatusAccepted},
		"who knows another":          {"another secret, long enough", 0, nil, http.StatusUnauthorized},
		"who repeats it later":       {testSecret, -6 * time.Minute, nil, http.StatusUnauthorized},
		"whose clock is ahead":       {testSecret, time.Hour, nil, http.StatusUnauthorized},
		"who changes the timestamp": {testSecret, -6 * time.Minute, func(r *http.Request) {
			r.Header.Set(TimestampHeader, strconv.FormatInt(time.Now().Unix(), 10))
		}, http.StatusUnauthorized},
		"who changes the body": {testSecret, 0, func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{"id":"b"}`)), int64(len(testBody))
		}, http.StatusUnauthorized},
		"who does not sign":        {testSecret, 0, headerSetter(SignatureHeader, ""), http.StatusUnauthorized},
		"who signs in another way": {testSecret, 0, headerSetter(SignatureHeader, "sha1="+strings.Repeat("0", 64)), http.StatusUnauthorized},
		"who signs in short":       {testSecret, 0, headerSetter(SignatureHeader, "sha256=00"), http.StatusUnauthorized},
		"who says no time":         {testSecret, 0, headerSetter(TimestampHeader, ""), http.StatusUnauthorized},
		"who says a strange time":  {testSecret, 0, headerSetter(TimestampHeader, "99999999999999999999"), http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := newSignedRequest(t, s.URL, c.key, testBody, time.Now().Add(c.off))
			if c.change != nil {
				c.change(req)
			}
			if res, a := sendEventRequest(t, s, req); res.StatusCode != c.want {
				t.Errorf("%s (%s); want %d", res.Status, a.Error, c.want)
			}
		})
	}
}

// TestClockSkew: a sender's clock may be five minutes off, and not a second more.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	for off, want := range map[time.Duration]bool{
		0: true, maxTimestampSkew: true, -maxTimestampSkew: true, maxTimestampSkew + time.Second: false, -maxTimestampSkew - time.Second: false,
	} {
		timestamp, mac := Sign([]byte(testSecret), nil, []byte(testBody), now.Add(off))
		h := http.Header{}
		h.Set(TimestampHeader, timestamp)
		h.Set(SignatureHeader, mac)
		if _, _, err := parseEventSignature(h, now); (err == nil) != want {
			t.Errorf("%s off: %v", off, err)
		}
	}
}

func headerSetter(header, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(header, value) }
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err     error
		want    int
		outcome event.Outcome
	}{
		"delivered":   {nil, http.StatusAccepted, event.Delivered},
		"duplicate":   {&event.OutcomeError{Outcome: event.Duplicate}, http.StatusOK, event.Duplicate},
		"malformed":   {&event.OutcomeError{Outcome: event.Malformed, Reason: "id: required"}, http.StatusBadRequest, event.Malformed},
		"unknown":     {&event.OutcomeError{Outcome: event.Unknown}, http.StatusBadRequest, event.Unknown},
		"unmatched":   {&event.OutcomeError{Outcome: event.Unmatched}, http.StatusBadRequest, event.Unmatched},
		"expired":     {&event.OutcomeError{Outcome: event.Expired}, http.StatusBadRequest, event.Expired},
		"future":      {&event.OutcomeError{Outcome: event.Future}, http.StatusBadRequest, event.Future},
		"refused":     {&event.OutcomeError{Outcome: event.Refused}, http.StatusConflict, event.Refused},
		"undelivered": {&event.OutcomeError{Outcome: event.Undelivered}, http.StatusServiceUnavailable, event.Undelivered},
		"stopped":     {event.ErrStopped, http.StatusServiceUnavailable, ""},
		"not leading": {errors.New("another replica leads"), http.StatusServiceUnavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveReceiver(t, func(context.Context, event.Message) error { return c.err }, Options{}, writeSecretFile(t, testSecret))
			res, a := sendEventRequest(t, s, newSignedRequest(t, s.URL, testSecret, testBody, time.Now()))
			if res.StatusCode != c.want || a.Outcome != c.outcome {
				t.Errorf("%s %+v; want %d and outcome %q", res.Status, a, c.want, c.outcome)
			}
			if again := res.Header.Get("Retry-After") != ""; again != (c.want == http.StatusServiceUnavailable) {
				t.Errorf("Retry-After %q with %s", res.Header.Get("Retry-After"), res.Status)
			}
		})
	}
}

// An undelivered event gets a response before the sender gives up.
func TestPatience(t *testing.T) {
	t.Parallel()
	s := serveReceiver(t, func(ctx context.Context, _ event.Message) error { <-ctx.Done(); return ctx.Err() }, Options{DeliveryTimeout: 50 * time.Millisecond}, writeSecretFile(t, testSecret))
	if res, _ := sendEventRequest(t, s, newSignedRequest(t, s.URL, testSecret, testBody, time.Now())); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s; want 503", res.Status)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	s := serveReceiver(t, nil, Options{}, writeSecretFile(t, testSecret))
	for name, c := range map[string]struct {
		bytes, want int
	}{"the largest": {event.MaxBytes, http.StatusAccepted}, "a byte more": {event.MaxBytes + 1, http.StatusRequestEntityTooLarge}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if res, _ := sendEventRequest(t, s, newSignedRequest(t, s.URL, testSecret, strings.Repeat("x", c.bytes), time.Now())); res.StatusCode != c.want {
				t.Errorf("%s; want %d", res.Status, c.want)
			}
		})
	}
}

func TestOtherRequests(t *testing.T) {
	t.Parallel()
	s := serveReceiver(t, nil, Options{}, writeSecretFile(t, testSecret))
	for name, c := range map[string]struct {
		method, path string
		want         int
	}{"another method": {http.MethodGet, Path, http.StatusMethodNotAllowed}, "another path": {http.MethodPost, "/", http.StatusNotFound}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, _ := sendEventRequest(t, s, req); res.StatusCode != c.want {
				t.Errorf("%s; want %d", res.Status, c.want)
			}
		})
	}
}

func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	s := serveReceiver(t, func(context.Context, event.Message) error { entered <- struct{}{}; <-leave; return nil }, Options{MaxConcurrent: 1}, writeSecretFile(t, testSecret))
	first := newSignedRequest(t, s.URL, testSecret, testBody, time.Now())
	ended := make(chan int, 1)
	go func() {
		res, err := s.Client().Do(first)
		if err != nil {
			t.Error(err)
			ended <- 0
			return
		}
		res.Body.Close()
		ended <- res.StatusCode
	}()
	<-entered
	res, _ := sendEventRequest(t, s, newSignedRequest(t, s.URL, testSecret, testBody, time.Now()))
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s, Retry-After %q; want 429 and when to come back", res.Status, res.Header.Get("Retry-After"))
	}
	close(leave)
	if got := <-ended; got != http.StatusAccepted {
		t.Errorf("the first: %d; want 202", got)
	}
}

func TestSecretsAreReadAgain(t *testing.T) {
	t.Parallel()
	path := writeSecretFile(t, "short")
	s := serveReceiver(t, nil, Options{}, path, "/nowhere/secret")
	if res, _ := sendEventRequest(t, s, newSignedRequest(t, s.URL, "short", testBody, time.Now())); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a secret that is long enough: %s; want 503", res.Status)
	}
	for _, s2 := range []string{testSecret, "another secret, long enough"} {
		if err := os.WriteFile(path, []byte(s2+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if res, a := sendEventRequest(t, s, newSignedRequest(t, s.URL, s2, testBody, time.Now())); res.StatusCode != http.StatusAccepted {
			t.Errorf("%s (%s); want 202", res.Status, a.Error)
		}
	}
}

// Run serves until its end, and waits for a request in progress.
func TestRun(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := New(event.HTTPConfig{SecretFiles: []string{writeSecretFile(t, testSecret)}}, func(ctx context.Context, _ event.Message) error {
		cancel()
		return ctx.Err() // the context of the request, which continues
	}, Options{Listener: l})
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(newSignedRequest(t, "http://"+l.Addr().String(), testSecret, testBody, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Errorf("%s; want 202", res.Status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := New(event.HTTPConfig{Address: "256.0.0.1:0"}, nil, Options{}).Run(t.Context()); err == nil {
		t.Error("an address that does not exist is listened to")
	}
}

func FuzzSignature(f *testing.F) {
	timestamp, mac := Sign([]byte(testSecret), nil, []byte(testBody), time.Unix(1_700_000_000, 0))
	f.Add(timestamp, mac)
	f.Add("", "sha256=")
	f.Fuzz(func(t *testing.T, timestamp, mac string) {
		h := http.Header{}
		h.Set(TimestampHeader, timestamp)
		h.Set(SignatureHeader, mac)
		now := time.Unix(1_700_000_000, 0)
		sent, sum, err := parseEventSignature(h, now)
		if err != nil || !matchesEventSecret([][]byte{[]byte(testSecret)}, signedEventText(sent, nil, []byte(testBody)), sum) {
			return
		}
		if _, want := Sign([]byte(testSecret), nil, []byte(testBody), now); !bytes.EqualFold([]byte(mac), []byte(want)) && sent == "1700000000" {
			t.Errorf("%s is taken for the signature %s", mac, want)
		}
	})
}
