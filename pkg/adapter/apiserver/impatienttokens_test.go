package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// giveUp sends a request and gives it up as soon as it has cost a TokenReview; it reports whether it did.
func (r *instance) giveUp(t *testing.T, client *http.Client, token string) (reviewed bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before, ended := r.kube.tokenReviews.Load(), make(chan struct{})
	go func() {
		defer close(ended)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.addr+podsPath, http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header = withToken(token)
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	defer func() { cancel(); <-ended }()
	for {
		select {
		case <-ended:
			return r.kube.tokenReviews.Load() > before
		case <-time.After(time.Millisecond):
			if r.kube.tokenReviews.Load() > before {
				return true
			}
		}
	}
}

// A review that has begun goes on without its caller, and so does its place: giving up gives no caller more reviews at a time.
func TestImpatientTokensKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	limits, total := defaultServerLimits(), 0
	for host := range 6 {
		client, reviews := r.dialFrom(2+host, false), 0
		for i := range 2 * limits.unprovenPerAddress {
			if r.giveUp(t, client, fmt.Sprintf("unknown-%d-%d", host, i)) {
				reviews++
			}
		}
		if reviews > limits.unprovenPerAddress {
			t.Errorf("an address has %d TokenReviews at a time, want at most %d", reviews, limits.unprovenPerAddress)
		}
		total += reviews
	}
	if total != limits.unproven {
		t.Errorf("%d TokenReviews at a time, want %d", total, limits.unproven)
	}
	r.kube.release()
	eventually(t, "places free again", func() bool {
		code, _ := r.ask(t, r.dialFrom(50, false), podsPath, withToken("unknown-later"))
		return code == http.StatusUnauthorized
	})
}

// A health check is open to all, and costs no TokenReview, whatever header has the token.
func TestWebSocketTokensAreIgnored(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	client := r.dialFrom(2, false)
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	for path, token := range map[string]string{"/healthz": "", "/livez": "", "/readyz": "", podsPath: "unknown-bearer"} {
		header := http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
			"Sec-Websocket-Protocol": {"base64url.bearer.authorization.k8s.io.c29ja2V0LXVzZXI, x"},
		}
		if token != "" {
			header["Authorization"] = withToken(token)["Authorization"]
			r.kube.release()
		}
		before := r.kube.tokenReviews.Load()
		code, body := r.ask(t, client, path, header)
		want, reviews := http.StatusOK, int64(0)
		if token != "" {
			want, reviews = http.StatusUnauthorized, 1
		}
		if n := r.kube.tokenReviews.Load() - before; n != reviews || code != want {
			t.Errorf("%s: %d %s and %d TokenReviews, want %d and %d", path, code, body, n, want, reviews)
		}
	}
}
