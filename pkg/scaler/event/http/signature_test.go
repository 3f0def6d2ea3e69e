package httpevent

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// TestForgedSignatures: an intercepted request that is changed in any way is rejected, and so is one whose headers two programs on the way
// could read differently.
func TestForgedSignatures(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(http.Header)
		want   int
	}{
		"as signed":                   {func(http.Header) {}, http.StatusAccepted},
		"in upper case":               {func(h http.Header) { upperSignature(h) }, http.StatusAccepted},
		"a second signature":          {func(h http.Header) { h.Add(SignatureHeader, "sha256="+strings.Repeat("0", 64)) }, http.StatusUnauthorized},
		"the same signature twice":    {func(h http.Header) { h.Add(SignatureHeader, h.Get(SignatureHeader)) }, http.StatusUnauthorized},
		"a second timestamp":          {func(h http.Header) { h.Add(TimestampHeader, laterTimestamp(h)) }, http.StatusUnauthorized},
		"two signatures in one":       {func(h http.Header) { h.Set(SignatureHeader, h.Get(SignatureHeader)+","+h.Get(SignatureHeader)) }, http.StatusUnauthorized},
		"another timestamp":           {func(h http.Header) { h.Set(TimestampHeader, laterTimestamp(h)) }, http.StatusUnauthorized},
		"a timestamp with a sign":     {func(h http.Header) { h.Set(TimestampHeader, "+"+h.Get(TimestampHeader)) }, http.StatusUnauthorized},
		"a timestamp with a zero":     {func(h http.Header) { h.Set(TimestampHeader, "0"+h.Get(TimestampHeader)) }, http.StatusUnauthorized},
		"a timestamp in milliseconds": {func(h http.Header) { h.Set(TimestampHeader, h.Get(TimestampHeader)+"000") }, http.StatusUnauthorized},
		"a negative timestamp":        {func(h http.Header) { h.Set(TimestampHeader, "-1") }, http.StatusUnauthorized},
		"another algorithm":           {func(h http.Header) { replaceSignature(h, "sha256=", "sha1=") }, http.StatusUnauthorized},
		"an algorithm in upper case":  {func(h http.Header) { replaceSignature(h, "sha256=", "SHA256=") }, http.StatusUnauthorized},
		"no algorithm":                {func(h http.Header) { replaceSignature(h, "sha256=", "") }, http.StatusUnauthorized},
		"an algorithm twice":          {func(h http.Header) { replaceSignature(h, "sha256=", "sha256=sha256=") }, http.StatusUnauthorized},
		"the algorithm none":          {func(h http.Header) { h.Set(SignatureHeader, "none=") }, http.StatusUnauthorized},
		"an empty signature":          {func(h http.Header) { h.Set(SignatureHeader, "sha256=") }, http.StatusUnauthorized},
		"half a signature":            {func(h http.Header) { h.Set(SignatureHeader, h.Get(SignatureHeader)[:39]) }, http.StatusUnauthorized},
		"a byte more":                 {func(h http.Header) { h.Set(SignatureHeader, h.Get(SignatureHeader)+"00") }, http.StatusUnauthorized},
		"no signature":                {func(h http.Header) { h.Del(SignatureHeader) }, http.StatusUnauthorized},
		"no timestamp":                {func(h http.Header) { h.Del(TimestampHeader) }, http.StatusUnauthorized},
		"an attribute in a header":    {func(h http.Header) { h.Set("Ce-Id", "other") }, http.StatusUnauthorized},
		"an empty attribute":          {func(h http.Header) { h.Set("Ce-", "") }, http.StatusUnauthorized},
		"signed with no secret":       {func(h http.Header) { signWith(h, "", time.Now()) }, http.StatusUnauthorized},
		"signed with zeros":           {func(h http.Header) { signWith(h, strings.Repeat("\x00", 16), time.Now()) }, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveReceiver(t, nil, Options{}, writeSecretFile(t, testSecret))
			req := newSignedRequest(t, s.URL, testSecret, testBody, time.Now())
			tc.change(req.Header)
			if res, a := sendEventRequest(t, s, req); res.StatusCode != tc.want {
				t.Errorf("%s (%s); want %d", res.Status, a.Error, tc.want)
			}
		})
	}
}

// laterTimestamp returns the second after that of a request.
func laterTimestamp(h http.Header) string {
	seconds, _ := strconv.ParseInt(h.Get(TimestampHeader), 10, 64)
	return strconv.FormatInt(seconds+1, 10)
}

func upperSignature(h http.Header) {
	replaceSignature(h, h.Get(SignatureHeader), signaturePrefix+strings.ToUpper(strings.TrimPrefix(h.Get(SignatureHeader), signaturePrefix)))
}

func replaceSignature(h http.Header, from, to string) {
	h.Set(SignatureHeader, strings.Replace(h.Get(SignatureHeader), from, to, 1))
}

func signWith(h http.Header, secret string, now time.Time) {
	timestamp, signature := Sign([]byte(secret), nil, []byte(testBody), now)
	h.Set(TimestampHeader, timestamp)
	h.Set(SignatureHeader, signature)
}

// TestReplayHasItsPosition: a replay in any spelling is the same message, so that its id is a duplicate even if the event has none.
func TestReplayHasItsPosition(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	positions := map[string]int{}
	s := serveReceiver(t, func(_ context.Context, m event.Message) error {
		mu.Lock()
		defer mu.Unlock()
		positions[m.Position]++
		return nil
	}, Options{}, writeSecretFile(t, testSecret))
	now := time.Now()
	for _, change := range []func(http.Header){func(http.Header) {}, upperSignature, func(h http.Header) { h.Set("X-Other", "y") }} {
		req := newSignedRequest(t, s.URL, testSecret, testBody, now)
		req.URL.RawQuery = "again=1"
		change(req.Header)
		sendEventRequest(t, s, req)
	}
	if len(positions) != 1 {
		t.Errorf("positions %v, want one", positions)
	}
}

// TestWeakSecrets: with a secret that is empty, or shorter than it may be, no request is accepted.
func TestWeakSecrets(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{
		"empty": "", "only line ends": strings.Repeat("\n", 20), "short": "fifteen letters", "short with line ends": "short" + strings.Repeat("\r\n", 20),
		"only spaces": strings.Repeat(" ", 20), "only zeros": strings.Repeat("\x00", 20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveReceiver(t, nil, Options{}, writeSecretFile(t, secret))
			for _, key := range []string{secret, "", strings.TrimSpace(secret)} {
				if res, a := sendEventRequest(t, s, newSignedRequest(t, s.URL, key, testBody, time.Now())); res.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("signed with %q: %s (%s); want 503", key, res.Status, a.Error)
				}
			}
		})
	}
}

// TestQuotedAttributes: the attributes of a CloudEvent may stand in quotes, and are escaped within them.
func TestQuotedAttributes(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		`START`: "START", `"START"`: "START", `"a \"b\" \\c"`: `a "b" \c`, `"a%20b"`: "a b", `"`: `"`, `""`: "", `"open`: `"open`, `a"b"`: `a"b"`, `%zz`: "%zz",
	} {
		m := newRequestMessage("1700000000", http.Header{"Ce-Type": {sent}}, nil, make([]byte, 32))
		if got := m.Headers["ce-type"]; got != want {
			t.Errorf("%s: %q; want %q", sent, got, want)
		}
	}
}
