package remote

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
)

// testSecrets must not appear in any text.
var testSecrets = []string{"hunter2", "aHVudGVyMg"} // plain, and the beginning of base64

func checkNoSecrets(t *testing.T, where, text string) {
	t.Helper()
	for _, s := range testSecrets {
		if strings.Contains(text, s) {
			t.Errorf("%s shows a secret: %s", where, text)
		}
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path, config string
		want         string
		header       map[string]string
	}{
		"plain":      {"", "", "POST /api/v1/query", nil},
		"slash":      {"/", "", "POST /api/v1/query", nil},
		"base path":  {"/prom/", "", "POST /prom/api/v1/query", nil},
		"parameters": {"/a/b?dedup=true&x=a%20b", "", "POST /a/b/api/v1/query?dedup=true&x=a%20b", nil},
		"GET": {
			"/prom?dedup=true", "  method: GET\n",
			"GET /prom/api/v1/query?dedup=true&nocache=1&query=sum+by+%28queue%29+%28messages%29&time=1767323045.000&timeout=1m1s500ms", nil,
		},
		"headers": {
			"", "  http: {http_headers: {X-Scope-OrgID: {values: [team-a]}, X-Key: {secrets: [hunter2]}}}\n", "POST /api/v1/query",
			map[string]string{"X-Scope-OrgID": "team-a", "X-Key": "hunter2"},
		},
		"basic auth": {
			"", "  http: {basic_auth: {username: me, password: hunter2}}\n", "POST /api/v1/query",
			map[string]string{"Authorization": "Basic bWU6aHVudGVyMg=="},
		},
		"bearer": {
			"", "  http: {authorization: {credentials: hunter2}}\n", "POST /api/v1/query", map[string]string{"Authorization": "Bearer hunter2"},
		},
		"who asks": {"", "", "POST /api/v1/query", map[string]string{"User-Agent": "tachometer/dev", "Accept": "application/json"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &fakeServer{script: func(url.Values) fakeResponse { return fakeResponse{code: 404} }}
			server := httptest.NewServer(s)
			w := newTestBackend(t, "  timeout: 61500ms\n  url: '"+server.URL+tc.path+"'\n"+tc.config, queueRules, Options{})
			defer server.Close()
			defer w.client.http.CloseIdleConnections()
			then := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			// Not through Evaluate: the request must not depend on the query for sample times.
			_, f := w.sendInstantQuery(t.Context(), "sum by (queue) (messages)", then, &largeResponseTurn{places: w.largeResponses})
			r := s.requests[0]
			if got := r.Method + " " + r.URL.String(); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
			for k, v := range tc.header {
				if got := r.Header.Get(k); got != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
			if f.text != "HTTP 404: no Prometheus API at this url" {
				t.Error(f.text)
			}
			checkNoSecrets(t, "error", f.text)
			checkNoSecrets(t, "notes", strings.Join(w.Notes(), "\n"))
		})
	}
}

// TestNoSecretInErrors fills every place for a secret, and fails in every way.
func TestNoSecretInErrors(t *testing.T) {
	t.Parallel()
	const refused = "127.0.0.1:1" // nothing listens there
	for name, tc := range map[string]struct{ url, config, want string }{
		"refused":         {"http://me:hunter2@" + refused + "/p?key=hunter2", "", "connection refused"},
		"no such host":    {"http://me:hunter2@no..host/p?key=hunter2", "", "no such host no..host"},
		"no such scheme":  {"gopher://me:hunter2@h/?key=hunter2", "", "unsupported protocol scheme"},
		"no token file":   {"http://" + refused, "  http: {authorization: {credentials_file: /none/token}}\n", "credentials: open /none/token: no such file or directory"},
		"no header file":  {"http://" + refused, "  http: {http_headers: {X-Key: {files: [/none/key]}}}\n", "credentials: open /none/key: no such file or directory"},
		"no password":     {"http://" + refused, "  http: {basic_auth: {username: me, password_file: /none/p}}\n", "credentials: open /none/p: no such file or directory"},
		"header with LF":  {"http://" + refused, "  http: {http_headers: {X-Key: {secrets: [\"hunter2\\nx\"]}}}\n", "invalid header field value for \"X-Key\""},
		"proxy":           {"http://h/", "  http: {proxy_url: 'http://me:hunter2@" + refused + "'}\n", "connection refused"},
		"proxy with TLS":  {"https://h/", "  http: {proxy_url: 'http://me:hunter2@" + refused + "'}\n", "connection refused"},
		"token from afar": {"http://h/", "  http: {oauth2: {client_id: me, client_secret: hunter2, token_url: 'http://" + refused + "/t?key=hunter2'}}\n", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, set := compileRules(t, "  url: http://replaced\n"+tc.config, sharedRules)
			cfg.URL = tc.url // prometheus-adapter's command line permits more than the configuration
			b, err := New(cfg, Options{})
			if err != nil {
				t.Fatal(err)
			}
			w := &testBackend{Backend: b, t: t, rules: set}
			_, err = w.evaluateRequests("shop")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%v\nwant %s", err, tc.want)
			}
			checkNoSecrets(t, "error", err.Error())
			checkNoSecrets(t, "error", fmt.Sprintf("%+v", err))
			checkNoSecrets(t, "notes", strings.Join(w.Notes(), "\n"))
		})
	}
	cfg, _ := compileRules(t, "  url: http://replaced\n", sharedRules)
	cfg.URL = "http://me:hunter2@h:x/"
	if _, err := New(cfg, Options{}); err == nil {
		t.Error("a URL that is none is taken")
	} else {
		checkNoSecrets(t, "error", err.Error())
	}
}

// TestTokenServerRejects has an OAuth 2 server that rejects the client.
func TestTokenServerRejects(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no client me with hunter2")
	}))
	defer server.Close()
	w := newTestBackend(t, "  url: http://h\n  http: {oauth2: {client_id: me, client_secret: hunter2, token_url: '"+server.URL+"'}}\n", sharedRules, Options{})
	defer w.client.http.CloseIdleConnections()
	got := formatValues(w.evaluateRequests("shop"))
	if !strings.Contains(got, "credentials: oauth2: cannot fetch token: 401 Unauthorized, since") {
		t.Error(got)
	}
	checkNoSecrets(t, "error", got)
}

// TestIdleConnectionClosed has a server that closes a connection at its second request, like a server with an idle timeout that
// expires at that moment.
func TestIdleConnectionClosed(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	perConn := map[string]int{}
	var mu sync.Mutex
	s := &fakeServer{script: respondPerNamespace}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		perConn[r.RemoteAddr]++
		second := perConn[r.RemoteAddr] == 2
		mu.Unlock()
		if second {
			panic(http.ErrAbortHandler)
		}
		s.ServeHTTP(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	w := newTestBackend(t, "  url: "+server.URL+"\n", sharedRules, Options{})
	defer w.client.http.CloseIdleConnections()
	for range 3 {
		if _, f := w.sendInstantQuery(t.Context(), `{namespace="a"}`, time.Now(), &largeResponseTurn{places: w.largeResponses}); f != nil {
			t.Error(f.text)
		}
	}
	if n := conns.Load(); n != 3 {
		t.Errorf("%d connections, want three: each serves one request", n)
	}
	if h, sent := s.requests[0].Header["Idempotency-Key"]; sent {
		t.Errorf("header Idempotency-Key sent: %q", h)
	}
}

// TestTokenRotated has a token that the server rejects until its file is rewritten.
func TestTokenRotated(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	write1 := func(s string) {
		t.Helper()
		if err := os.WriteFile(token, []byte(s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write1("old")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer new" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, time.Now()}).body)
	}))
	defer server.Close()
	w := newTestBackend(t, "  url: "+server.URL+"\n  http: {authorization: {credentials_file: "+token+"}}\n", sharedRules, Options{})
	defer w.client.http.CloseIdleConnections()
	if got := formatValues(w.evaluateRequests("shop")); !strings.Contains(got, "unauthorised (HTTP 401): check the credentials") {
		t.Error(got)
	}
	write1("new")
	r, f := w.sendInstantQuery(t.Context(), "up", time.Now(), &largeResponseTurn{places: w.largeResponses})
	if f != nil || len(r.samples) == 0 {
		t.Errorf("with the new token: %v", f)
	}
}

// issueCertificate returns a self-signed certificate for 127.0.0.1, valid between two times.
func issueCertificate(t *testing.T, from, to time.Time) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "prometheus"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	expired := now.Add(-time.Hour).UTC().Truncate(time.Second)
	for name, tc := range map[string]struct {
		from, to time.Time
		config   string // CA stands for the certificate's file
		want     string
	}{
		"good":        {now.Add(-time.Hour), now.Add(time.Hour), "  http: {tls_config: {ca_file: CA}}\n", "shop/web-1=1"},
		"expired":     {now.Add(-2 * time.Hour), expired, "  http: {tls_config: {ca_file: CA}}\n", "TLS: certificate expired at " + expired.Format(time.DateTime) + " UTC"},
		"not yet":     {now.Add(time.Hour), now.Add(2 * time.Hour), "  http: {tls_config: {ca_file: CA}}\n", "TLS: certificate is valid from"},
		"unknown":     {now.Add(-time.Hour), now.Add(time.Hour), "", "TLS: certificate not trusted"},
		"other name":  {now.Add(-time.Hour), now.Add(time.Hour), "  http: {tls_config: {ca_file: CA, server_name: thanos}}\n", "TLS: certificate is for another name than thanos"},
		"own wanted":  {now.Add(-time.Hour), now.Add(time.Hour), "  http: {tls_config: {ca_file: CA}}\n", "TLS: handshake refused: certificate required"},
		"no TLS here": {time.Time{}, time.Time{}, "", "TLS: the server speaks plain HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &fakeServer{script: respondPerNamespace}
			server := httptest.NewUnstartedServer(s)
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			if tc.from.IsZero() {
				server.Start()
			} else {
				cert, file := issueCertificate(t, tc.from, tc.to)
				if err := os.WriteFile(ca, file, 0o600); err != nil {
					t.Fatal(err)
				}
				server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
				if name == "own wanted" {
					server.TLS.ClientAuth = tls.RequireAnyClientCert
				}
				server.StartTLS()
			}
			defer server.Close()
			address := strings.Replace(server.URL, "http://", "https://", 1)
			w := newTestBackend(t, "  url: "+address+"\n"+strings.ReplaceAll(tc.config, "CA", ca), sharedRules, Options{})
			defer w.client.http.CloseIdleConnections()
			if got := formatValues(w.evaluateRequests("shop")); !strings.Contains(got, tc.want) {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestLongHeaders: a server makes the adapter hold no long headers, over HTTP/1 and HTTP/2, with and without an authority that is
// read again.
func TestLongHeaders(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]string{"plain": "", "secure": "{tls_config: {ca_file: CA}}", "HTTP/1": "{enable_http2: false, tls_config: {insecure_skip_verify: true}}"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(longHeaders{})
			ca := filepath.Join(t.TempDir(), "ca.pem")
			if server.EnableHTTP2 = true; settings == "" {
				server.Start()
			} else {
				server.StartTLS()
				file := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
				if err := os.WriteFile(ca, file, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			defer server.Close()
			w := newTestBackend(t, "  url: "+server.URL+"\n  http: "+strings.ReplaceAll(cmp.Or(settings, "{}"), "CA", ca)+"\n", sharedRules, Options{})
			defer w.client.http.CloseIdleConnections()
			if got, want := formatValues(w.evaluateRequests("shop")), "backend prometheus: "+fieldlimit.LongHeadersCause+", since"; !strings.Contains(got, want) {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
}

// longHeaders responds with 17 KiB of headers: far more would end a connection of HTTP/2.
type longHeaders struct{}

func (longHeaders) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	for i := range 100 {
		w.Header().Set("A"+strconv.Itoa(i), strings.Repeat("x", 170))
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, newVectorResponse(fakeSeries{"namespace=shop,pod=a", 1, time.Now()}).body)
}

// TestRedirects follows redirects only on the same host, with the same request.
func TestRedirects(t *testing.T) {
	t.Parallel()
	const auth = "  http: {basic_auth: {username: me, password: hunter2}, http_headers: {X-Key: {secrets: [hunter2]}}}\n"
	elsewhere := &fakeServer{script: respondPerNamespace}
	thief := httptest.NewServer(elsewhere)
	defer thief.Close()
	for name, tc := range map[string]struct {
		code   int
		to     string
		config string
		want   string
	}{
		"same host":               {307, "/here/api/v1/query", auth, "shop/web-1=1"},
		"same host, told not to":  {307, "/here/api/v1/query", "  http: {follow_redirects: false}\n", "redirected to http://"},
		"same host, loses a form": {302, "/here/api/v1/query", auth, "redirected to http://"},
		"another host":            {307, thief.URL + "/?key=hunter2", auth, "redirected to " + thief.URL + "/, not followed"},
		"in circles":              {307, "/api/v1/query", auth, "redirected to http://"},
		"nowhere":                 {307, "", auth, "redirected to nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &fakeServer{script: respondPerNamespace}
			mux := http.NewServeMux()
			mux.Handle("/here/", s)
			mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
				if tc.to != "" {
					w.Header().Set("Location", tc.to)
				}
				w.WriteHeader(tc.code)
			})
			server := httptest.NewServer(mux)
			defer server.Close()
			w := newTestBackend(t, "  url: "+server.URL+"\n"+tc.config, sharedRules, Options{})
			defer w.client.http.CloseIdleConnections()
			got := formatValues(w.evaluateRequests("shop"))
			if !strings.Contains(got, tc.want) {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
			checkNoSecrets(t, "error", got)
		})
	}
	if n := len(elsewhere.receivedQueries()); n > 0 {
		t.Errorf("%d requests followed to another host", n)
	}
}
