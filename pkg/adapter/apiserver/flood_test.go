package apiserver

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const podsPath = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_per_second"

// dialFrom returns a client whose connections come from 127.0.0.host, with the front proxy's certificate if proxy.
func (r *instance) dialFrom(host int, proxy bool) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(host))}}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: r.trust(proxy), ForceAttemptHTTP2: true, MaxConnsPerHost: 6}
	return &http.Client{Transport: transport}
}

func (r *instance) trust(proxy bool) *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.ca)
	config := &tls.Config{RootCAs: pool, ServerName: "adapter.tachometer.svc"}
	if proxy {
		config.Certificates = []tls.Certificate{r.kube.frontProxy}
	}
	return config
}

// ask sends one request and returns the status and the body; the status is 0 if there is no answer.
func (r *instance) ask(t *testing.T, client *http.Client, path string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.addr+path, http.NoBody)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	req.Header = header.Clone()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// askAgain is ask until there is an answer: on a starved machine the server closes connections whose handshake takes too long.
func (r *instance) askAgain(t *testing.T, client *http.Client, path string, header http.Header) (code int) {
	t.Helper()
	for code == 0 && t.Context().Err() == nil {
		code, _ = r.ask(t, client, path, header)
	}
	return code
}

func withToken(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func asUser(name string) http.Header {
	return http.Header{"X-Remote-User": {name}, "X-Remote-Group": {"system:authenticated"}}
}

// wantHPAReads reads as the HPA controller does, through the front proxy: of new namespaces, so that each read needs a
// review, over a standing connection and over new ones.
func (r *instance) wantHPAReads(t *testing.T, standing *http.Client) {
	t.Helper()
	for i := range 20 {
		path := strings.Replace(podsPath, "default", fmt.Sprintf("%s-%d", strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")), i), 1)
		client := standing
		if i%4 == 3 {
			client = r.dialFrom(100, true)
		}
		if code, body := r.ask(t, client, path, asUser(hpaUser)); code != http.StatusOK {
			t.Errorf("read %d of the HPA: %d %s", i, code, body)
		}
		if client != standing {
			client.CloseIdleConnections()
		}
	}
}

// flood sends n requests at the same time, and waits until each is answered or one of the held. Its end waits for the rest.
func flood(t *testing.T, n int, held func() int64, send func(i int) int) (answered func(code int) int64, end func()) {
	t.Helper()
	var codes [600]atomic.Int64
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { codes[send(i)].Add(1) })
	}
	eventually(t, "flood answered but for what is held", func() bool {
		total := int64(0)
		for i := range codes {
			total += codes[i].Load()
		}
		return total+held() == int64(n)
	})
	return func(code int) int64 { return codes[code].Load() }, all.Wait
}

// Whatever strangers and readers send, the HPA's reads are answered with values.
func TestFloodsDoNotReachHPA(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	hpa, strangers := r.dialFrom(100, true), make([]*http.Client, 10)
	for i := range strangers {
		strangers[i] = r.dialFrom(2+i, false)
	}
	if code, body := r.ask(t, r.dialFrom(50, false), podsPath, withToken("reader")); code != 200 {
		t.Fatalf("a reader before the floods: %d %s", code, body)
	}
	limits := defaultServerLimits()

	t.Run("anonymous", func(t *testing.T) {
		before := r.kube.accessReviews.Load()
		answered, end := flood(t, 1000, func() int64 { return 0 }, func(i int) int {
			return r.askAgain(t, strangers[i%10], fmt.Sprintf("/apis/x%d", i), nil)
		})
		end()
		if n := answered(401); n != 1000 {
			t.Errorf("%d of 1000 anonymous requests were 401", n)
		}
		if n := r.kube.accessReviews.Load() - before; n != 0 {
			t.Errorf("%d SubjectAccessReviews for anonymous requests", n)
		}
		r.wantHPAReads(t, hpa)
	})

	t.Run("readers", func(t *testing.T) {
		proxy := r.dialFrom(101, true)
		answered, end := flood(t, limits.readers+100, func() int64 { return int64(limits.readers) }, func(i int) int {
			code, _ := r.ask(t, proxy, podsPath, asUser(fmt.Sprintf("slow-%d", i)))
			return code
		})
		defer end()
		defer r.kube.release()
		if n := answered(429); n != 100 {
			t.Errorf("%d of 100 readers without a place were 429", n)
		}
		r.wantHPAReads(t, hpa)
		if code, body := r.ask(t, hpa, "/apis/custom.metrics.k8s.io/v1beta2", http.Header{
			"X-Remote-User": {"system:kube-aggregator"}, "X-Remote-Group": {"system:masters"},
		}); code != 200 {
			t.Errorf("kube-apiserver's availability probe: %d %s", code, body)
		}
		for user, header := range map[string]http.Header{"nobody": nil, "a reader": withToken("reader"), "a caller without a decision": withToken("slow-probe")} {
			if code, body := r.ask(t, r.dialFrom(60, false), "/readyz?verbose", header); code != 200 {
				t.Errorf("a probe of %s: %d %s", user, code, body)
			}
		}
	})
}

func TestUnknownTokensHaveFewPlaces(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	hpa, reader := r.dialFrom(100, true), r.dialFrom(50, false)
	if code, body := r.ask(t, reader, podsPath, withToken("reader")); code != 200 {
		t.Fatalf("a reader before the flood: %d %s", code, body)
	}
	strangers := make([]*http.Client, 10)
	for i := range strangers {
		strangers[i] = r.dialFrom(2+i, false)
	}
	limits := defaultServerLimits()
	before := r.kube.tokenReviews.Load()
	// The library gives a held review up after 30 seconds. On a slow machine another request gets its place then.
	answered, end := flood(t, 400, r.kube.heldTokens.Load, func(i int) int {
		return r.askAgain(t, strangers[i%10], podsPath, withToken(fmt.Sprintf("unknown-%d", i)))
	})
	if rejected, reviewed := answered(429), r.kube.tokenReviews.Load()-before; rejected == 0 || rejected+reviewed < 400 {
		t.Errorf("of 400 unknown tokens %d were 429, and %d reviewed", rejected, reviewed)
	}
	if most := r.kube.mostHeldTokens.Load(); most > int64(limits.unproven) {
		t.Errorf("%d TokenReviews at a time", most)
	}
	r.wantHPAReads(t, hpa)
	for path, code := range map[string]int{podsPath: 200, "/metrics": 200} {
		if got, body := r.ask(t, reader, path, withToken("reader")); got != code {
			t.Errorf("%s with a proven token: %d %s", path, got, body)
		}
	}
	if code, _ := r.ask(t, r.dialFrom(60, false), "/livez", nil); code != 200 {
		t.Errorf("a probe during the flood: %d", code)
	}
	r.kube.release()
	end()
	if n, rejected := answered(401), answered(429); n+rejected != 400 {
		t.Errorf("of 400 unknown tokens %d were 401, and %d 429", n, rejected)
	}
	before = r.kube.tokenReviews.Load()
	for range 20 {
		if code, _ := r.ask(t, strangers[0], podsPath, withToken("unknown-again")); code != 401 {
			t.Errorf("an unknown token: %d", code)
		}
	}
	if n := r.kube.tokenReviews.Load() - before; n != 1 {
		t.Errorf("%d TokenReviews for one unknown token within seconds, want 1", n)
	}
}

// What is too large is rejected before anybody is asked, and the rejection says why.
func TestRejectsLargeRequests(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	long := func(n int) string { return strings.Repeat("a", n) }
	for name, tc := range map[string]struct {
		proxy  bool
		path   string
		header http.Header
		code   int
		want   string
	}{
		"token":               {false, podsPath, withToken(long(17 << 10)), 401, "Authorization header"},
		"long, but allowed":   {false, podsPath + "?x=" + long(7<<10), withToken("reader"), 200, ""},
		"URI":                 {false, podsPath + "?labelSelector=" + long(33<<10), withToken("reader"), 414, "may have 32768"},
		"URI through proxy":   {true, podsPath + "?labelSelector=" + long(900<<10), asUser("reader"), 414, "shorten the names and selectors"},
		"URI of 900 KB":       {false, podsPath + "?labelSelector=" + long(900<<10), withToken("reader"), 431, ""},
		"header":              {false, podsPath, http.Header{"X-A": {long(200 << 10)}}, 431, ""},
		"WebSocket protocols": {false, podsPath, http.Header{"Sec-Websocket-Protocol": {"base64url.bearer.authorization.k8s.io.cmVhZGVy, x"}}, 401, "no credentials"},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", name, http2), func(t *testing.T) {
				before := r.kube.tokenReviews.Load()
				client := r.dialFrom(100, tc.proxy)
				client.Transport.(*http.Transport).ForceAttemptHTTP2 = http2
				code, body := r.ask(t, client, tc.path, tc.header)
				// Over HTTP/2 the server may close the connection instead, or the client not send it.
				closed := tc.code == 431 && http2 && code == 0
				if code != tc.code && !closed || !strings.Contains(body, tc.want) {
					t.Errorf("%d %.200s, want %d with %q", code, body, tc.code, tc.want)
				}
				if n := r.kube.tokenReviews.Load() - before; n != 0 && tc.code != 200 {
					t.Errorf("%d TokenReviews", n)
				}
			})
		}
	}
}

// Idle connections from many addresses close each other. They keep out neither the front proxy nor probes.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	r := serveWith(t, Health{}, nil, func(o *Options) {
		o.limits.connections, o.limits.connectionsPerAddress, o.limits.youngConnections = 40, 15, 0
	})
	eventually(t, "serving", r.answers(t))
	hpa := r.dialFrom(100, true)
	r.wantHPAReads(t, hpa)
	var idle []net.Conn
	for host := range 10 {
		for range 20 {
			dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+host))}}
			c, err := dialer.DialContext(t.Context(), "tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			idle = append(idle, c)
		}
	}
	r.wantHPAReads(t, hpa)
	r.wantHPAReads(t, r.dialFrom(2, true)) // from the address of a flood
	if code, _ := r.ask(t, r.dialFrom(60, false), "/readyz", nil); code != 200 {
		t.Errorf("a probe: %d", code)
	}
	closed := countClosed(idle)
	eventually(t, "closing all but 40 idle connections", func() bool { return closed() >= int64(len(idle)-40) })
}

// countClosed returns the count of those connections that the other side has closed so far. It reads from them until the end.
func countClosed(conns []net.Conn) (closed func() int64) {
	var n atomic.Int64
	for _, c := range conns {
		go func() {
			_, _ = c.Read(make([]byte, 1))
			n.Add(1)
		}()
	}
	return n.Load
}

func TestNoProfilesUnlessAsked(t *testing.T) {
	t.Parallel()
	for asked, want := range map[bool]int{false: 404, true: 200} {
		t.Run(fmt.Sprint(asked), func(t *testing.T) {
			t.Parallel()
			r := serveWith(t, Health{}, nil, func(o *Options) { o.Features.EnableProfiling = o.Features.EnableProfiling || asked })
			eventually(t, "serving", r.answers(t))
			if code, body := r.get(t, "reader", "/debug/pprof/threadcreate"); code != want {
				t.Errorf("%d %.100s, want %d", code, body, want)
			}
			if code, _ := r.get(t, "stranger", "/debug/pprof/threadcreate"); code != 403 {
				t.Errorf("a stranger gets %d", code)
			}
		})
	}
}

// TestClientCertificatesAreBounded: a client keeps no large certificates in the memory of the server.
func TestClientCertificatesAreBounded(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	for count, want := range map[int]bool{1: true, 20: true, 300: false} {
		client := r.dialFrom(2, true)
		config := client.Transport.(*http.Transport).TLSClientConfig
		config.Certificates[0].Certificate = slices.Repeat(config.Certificates[0].Certificate, count)
		size := count * len(config.Certificates[0].Certificate[0])
		code, body := r.ask(t, client, "/livez", nil)
		if got := code == http.StatusOK; got != want {
			t.Errorf("a client with %d bytes of certificates gets %d %s, want an answer: %t", size, code, body, want)
		}
		client.CloseIdleConnections()
	}
}
