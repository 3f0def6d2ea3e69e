package remote

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch/switchtest"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// newTokenBackend returns a backend whose server answers requests with the token "good", and whose token server is given.
func newTokenBackend(t *testing.T, tokens http.HandlerFunc, keys string) (*testBackend, *atomic.Int64) {
	t.Helper()
	var authorised atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer good" {
			authorised.Add(1)
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(server.Close)
	issuer := httptest.NewServer(tokens)
	t.Cleanup(issuer.Close)
	w := newTestBackend(t, "  url: "+server.URL+"\n  http: {oauth2: {client_id: me, token_url: '"+issuer.URL+"/token', "+keys+"}}\n", sharedRules, Options{})
	t.Cleanup(w.client.http.CloseIdleConnections)
	return w, &authorised
}

func writeTestToken(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"access_token": "good", "token_type": "bearer", "expires_in": 3600}`)
}

// compressTokenBomb returns a compressed token behind 100 MB of spaces.
func compressTokenBomb(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w, spaces := gzip.NewWriter(&out), bytes.Repeat([]byte(" "), 1<<20)
	for range 100 {
		_, _ = w.Write(spaces) // a buffer takes all bytes
	}
	_, _ = io.WriteString(w, `{"access_token": "good", "token_type": "bearer", "expires_in": 3600}`)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestTokenServerIsBounded: a token server's response has the bounds of any server's, and the secret stays with it.
func TestTokenServerIsBounded(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { elsewhere.Add(1); writeTestToken(w) }))
	t.Cleanup(other.Close)
	bomb := compressTokenBomb(t)
	for name, tc := range map[string]struct {
		tokens http.HandlerFunc
		want   string
	}{
		"long headers": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 1000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
			}
			writeTestToken(w)
		}, fieldlimit.LongHeadersCause},
		"redirect to another server": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, "307 Temporary Redirect"},
		"redirect without an end": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/token", http.StatusTemporaryRedirect)
		}, "307 Temporary Redirect"},
		"no response": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // the server then sees that the client leaves
			<-r.Context().Done()
		}, "credentials: oauth2: no token within 10s"},
		"no end of the body": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(strings.Repeat(" ", 4096)))
			}
		}, "credentials: oauth2: server response missing access_token"},
		"a body that drips": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for retry.Sleep(r.Context(), 10*time.Millisecond) {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
			}
		}, "credentials: oauth2: no token within 10s"},
		"a bomb of 100 MB": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		}, "credentials: oauth2: cannot parse json: invalid character"}, // the client asks for no compression
		"another protocol": {switchtest.NewHandler(t), "101 Switching Protocols"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, authorised := newTokenBackend(t, tc.tokens, "client_secret: hunter2")
			got := formatValues(w.evaluateRequests("shop"))
			if !strings.Contains(got, tc.want) || authorised.Load() != 0 || elsewhere.Load() != 0 {
				t.Errorf("%s; want %q; %d requests with a token, %d elsewhere", got, tc.want, authorised.Load(), elsewhere.Load())
			}
			checkNoSecrets(t, "error", got)
		})
	}
}

// TestTokens: requests carry the token of either grant, and one token is for many requests.
func TestTokens(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "\n", `\n`)
	for name, tc := range map[string]struct{ keys, parameter string }{
		"secret":           {"client_secret: hunter2, scopes: [read]", "scope"},
		"signed assertion": {`grant_type: "` + signedAssertion + `", signature_algorithm: RS384, client_certificate_key: "` + private + `"`, "assertion"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var issued atomic.Int64
			w, authorised := newTokenBackend(t, func(w http.ResponseWriter, r *http.Request) {
				if r.PostFormValue(tc.parameter) == "" || !strings.HasPrefix(r.UserAgent(), "tachometer/") {
					t.Errorf("a token is asked for by %q with %v", r.UserAgent(), r.Form)
				}
				issued.Add(1)
				writeTestToken(w)
			}, tc.keys)
			for range 3 {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.client.servers[0].base.String(), http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				response, err := w.client.http.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				_ = response.Body.Close()
			}
			if authorised.Load() != 3 || issued.Load() != 1 {
				t.Errorf("%d of 3 requests had a token, of %d issued", authorised.Load(), issued.Load())
			}
		})
	}
}
