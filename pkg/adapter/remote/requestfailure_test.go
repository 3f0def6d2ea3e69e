package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch/switchtest"
)

// TestDownLater stops a server and starts it again.
func TestDownLater(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		w := newTestBackend(t, "", sharedRules, Options{})
		w.log = &log
		defer w.startBackend()()
		if got := formatValues(w.evaluateRequests("shop")); got != "shop/web-1=1" {
			t.Fatal(got)
		}
		began := time.Now()
		w.server.updateState(func(s *fakeServer) { s.down = true })
		passTime(110 * time.Second)
		if got := formatValues(w.evaluateRequests("shop")); got != "shop/web-1=1" {
			t.Errorf("while younger than maxAge: %s", got)
		}
		if got := formatValues(w.evaluateRequests("bank")); !strings.HasPrefix(got, "error: backend prometheus: connection refused, since") {
			t.Errorf("a new read: %s", got)
		}
		passTime(20 * time.Second)
		_, err := w.evaluateRequests("shop")
		want := fmt.Sprintf("backend prometheus: connection refused, since %s", began.UTC().Format("15:04"))
		if err == nil || metric.KindOf(err) != metric.KindUnavailable || !strings.HasPrefix(err.Error(), want) ||
			!strings.Contains(err.Error(), "ago); last answer "+began.UTC().Format("15:04")) {
			t.Errorf("older than maxAge: %v", err)
		}
		if notes := strings.Join(w.Notes(), "\n"); !strings.Contains(notes, "backend prometheus: down since") ||
			!strings.Contains(notes, "http://prometheus:9090 is down since") {
			t.Error(notes)
		}
		passTime(time.Hour)
		if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), `"Backend is down" backend="prometheus" reason="connection refused"`) {
			t.Errorf("log of an hour without server:\n%s", log.String())
		}
		for range 8 {
			passTime(15 * time.Second)
			_, _ = w.evaluateRequests("shop")
		}
		w.server.updateState(func(s *fakeServer) { s.down = false })
		passTime(maxRetryDelay + 10*time.Second)
		if got := formatValues(w.evaluateRequests("shop")); got != "shop/web-1=1" {
			t.Errorf("server is back: %s", got)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), `"Backend is back"`) {
			t.Errorf("log:\n%s", log.String())
		}
		if notes := strings.Join(w.Notes(), "\n"); !strings.Contains(notes, "backend prometheus: up; queries refreshed every 5s: 1") {
			t.Error(notes)
		}
	})
}

// TestDownAtStart has many reads of an absent server: each fails at once, and few send a request.
func TestDownAtStart(t *testing.T) {
	t.Parallel()
	reg := &countingTransport{}
	runInBubble(t, "", sharedRules, func(w *testBackend) {
		reg.fakeServer = w.server
		w.client.http.Transport = reg
		w.server.updateState(func(s *fakeServer) { s.down = true })
		for range 40 {
			for i := range 20 {
				began := time.Now()
				_, err := w.evaluateRequests(fmt.Sprintf("ns-%d", i))
				if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "no answer yet") {
					t.Fatal(err)
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("a read waited %v", took)
				}
			}
			passTime(15 * time.Second)
		}
		if reg.n > 16 {
			t.Errorf("%d connections tried in 10 minutes, want one a minute", reg.n)
		}
	})
}

// countingTransport counts the attempts to connect.
type countingTransport struct {
	*fakeServer
	n int
}

func (c *countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n++
	return c.fakeServer.RoundTrip(r)
}

// TestBackOff counts the requests to a failing server in five minutes of reads.
func TestBackOff(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer      fakeResponse
		least, most int
		want        string
	}{
		"503":                       {fakeResponse{code: 503}, 6, 9, "HTTP 503, since"},
		"503 with words":            {fakeResponse{code: 503, body: `{"status":"error","errorType":"timeout","error":"query timed out"}`}, 6, 9, "HTTP 503: query timed out, since"},
		"503 with Retry-After":      {fakeResponse{code: 503, header: map[string]string{"Retry-After": "20"}}, 12, 16, "HTTP 503, since"},
		"429":                       {fakeResponse{code: 429}, 6, 9, "HTTP 429, since"},
		"429 with Retry-After":      {fakeResponse{code: 429, header: map[string]string{"Retry-After": "30"}}, 9, 11, "HTTP 429, since"},
		"429 with long Retry-After": {fakeResponse{code: 429, header: map[string]string{"Retry-After": "86400"}}, 5, 6, "HTTP 429, since"},
		"401":                       {fakeResponse{code: 401}, 6, 9, "unauthorised (HTTP 401): check the credentials under http, since"},
		"403":                       {fakeResponse{code: 403}, 6, 9, "unauthorised (HTTP 403): check the credentials under http, since"},
		"bad query":                 {fakeResponse{code: 400, body: `{"error":"x"}`}, 6, 9, "rejects the query: x"},
		"partial costs nothing":     {fakeResponse{body: `{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}`}, 59, 62, "partial"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInBubble(t, "", sharedRules, func(w *testBackend) {
				w.server.alwaysRespond(tc.answer)
				for range 20 {
					if _, err := w.evaluateRequests("shop"); err == nil || !strings.Contains(err.Error(), tc.want) {
						t.Errorf("%v, want %s", err, tc.want)
					}
					passTime(15 * time.Second)
				}
				if n := len(w.server.receivedQueries()); n < tc.least || n > tc.most {
					t.Errorf("%d queries in five minutes, want %d to %d", n, tc.least, tc.most)
				}
				w.server.setScript(respondPerNamespace)
				passTime(maxRetryDelay + 10*time.Second)
				if got := formatValues(w.evaluateRequests("shop")); got != "shop/web-1=1" {
					t.Errorf("afterwards: %s", got)
				}
			})
		})
	}
}

func TestRetryAfterDate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                              0,
		"soon":                          0,
		"-3":                            0,
		"7":                             7 * time.Second,
		"99999999999999999999":          0,
		"3600":                          time.Minute,
		"Fri, 02 Jan 2026 03:04:17 GMT": 12 * time.Second,
		"Fri, 02 Jan 2026 03:04:01 GMT": 0,
		"Fri, 02 Jan 2027 03:04:01 GMT": time.Minute,
	} {
		if got := parseRetryAfter(&http.Response{Header: http.Header{"Retry-After": {header}}}, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", header, got, want)
		}
	}
}

// TestSlow has a server that always responds too late.
func TestSlow(t *testing.T) {
	t.Parallel()
	runInBubble(t, "  timeout: 2s\n", sharedRules, func(w *testBackend) {
		if got := formatValues(w.evaluateRequests("shop")); got != "shop/web-1=1" {
			t.Fatal(got)
		}
		w.server.updateState(func(s *fakeServer) { s.delay = time.Minute })
		passTime(time.Minute)
		began := time.Now()
		if got := formatValues(w.evaluateRequests("shop")); got != "shop/web-1=1" || time.Since(began) != 0 {
			t.Errorf("%s after %v", got, time.Since(began))
		}
		passTime(2 * time.Minute)
		if got := formatValues(w.evaluateRequests("shop")); !strings.HasPrefix(got, "error: backend prometheus: timeout after 2.5s, since") || time.Since(began) > 3*time.Minute {
			t.Errorf("%s after %v", got, time.Since(began))
		}
	})
}

// TestFailover stops the first server and starts it again.
func TestFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := &fakeServer{script: respondPerNamespace}, &fakeServer{script: respondPerNamespace}
		w := newTestBackend(t, "  url: http://first\n  failover: ['http://second']\n", sharedRules, Options{Transport: serversByHost{"first": first, "second": second}})
		defer w.startBackend()()
		read := func(now string) {
			t.Helper()
			if got := formatValues(w.evaluateRequests("shop")); got != "shop/web-1=1" {
				t.Errorf("%s: %s", now, got)
			}
		}
		read("both are up")
		if n := len(second.receivedQueries()); n != 0 {
			t.Errorf("%d queries to the second server", n)
		}
		for name, fail := range map[string]func(*fakeServer){
			"connection refused": func(s *fakeServer) { s.down = true },
			"503":                func(s *fakeServer) { s.script = func(url.Values) fakeResponse { return fakeResponse{code: 503} } },
			"429":                func(s *fakeServer) { s.script = func(url.Values) fakeResponse { return fakeResponse{code: 429} } },
			"a store fails": func(s *fakeServer) {
				s.script = func(url.Values) fakeResponse {
					return fakeResponse{code: 422, body: `{"status":"error","errorType":"execution","error":"expanding series: no store"}`}
				}
			},
			"slow": func(s *fakeServer) { s.delay = time.Hour },
		} {
			first.updateState(fail)
			for range 20 {
				passTime(15 * time.Second)
				v, err := w.evaluateRequests("shop")
				if err != nil || v[0].Age(time.Now()) > 20*time.Second {
					t.Errorf("%s: %v %v", name, v, err)
				}
			}
			first.updateState(func(s *fakeServer) { s.down, s.script, s.delay = false, respondPerNamespace, 0 })
			passTime(maxRetryDelay + 10*time.Second)
			read("the first is back after " + name)
			n := len(second.receivedQueries())
			passTime(time.Minute)
			if got := len(second.receivedQueries()); got != n {
				t.Errorf("after %s the second server still receives requests", name)
			}
		}
		for _, s := range []*fakeServer{first, second} {
			s.updateState(func(s *fakeServer) { s.down = true })
		}
		passTime(3 * time.Minute)
		const want = "error: backend prometheus: http://first: connection refused; http://second: connection refused, since"
		if got := formatValues(w.evaluateRequests("bank")); !strings.HasPrefix(got, want) {
			t.Error(got)
		}
	})
}

func TestReaderGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTestBackend(t, "", sharedRules, Options{})
		w.server.updateState(func(s *fakeServer) { s.delay = 3 * time.Second })
		quiet := klog.NewContext(t.Context(), klog.Logger{})
		hasty, cancel := context.WithTimeout(quiet, time.Second)
		defer cancel()
		began := time.Now()
		q := w.newRuleQuery("requests", "shop")
		done := make(chan string)
		for _, ctx := range []context.Context{hasty, quiet} {
			go func() {
				v, err := w.Evaluate(ctx, q, time.Now())
				if ctx == hasty && (!errors.Is(err, context.DeadlineExceeded) || metric.KindOf(err) != metric.KindUnavailable || time.Since(began) != time.Second) {
					t.Errorf("gave up with %v after %v", err, time.Since(began))
				}
				done <- formatValues(v, err)
			}()
			synctest.Wait() // the hasty read is first; the other waits for its query
		}
		<-done
		if got := <-done; got != "shop/web-1=1" || time.Since(began) != 4*time.Second {
			t.Errorf("the patient reader has %s after %v", got, time.Since(began))
		}
	})
}

// TestFailuresShowNoPath: the status of an HPA shows which server failed, and nothing else of its URL.
func TestFailuresShowNoPath(t *testing.T) {
	t.Parallel()
	c := &backendClient{}
	for _, address := range []string{"http://user:hunter2@first/tenant-7?token=hunter2", "https://second:9090/hunter2"} {
		s, err := newBackendServer(address)
		if err != nil {
			t.Fatal(err)
		}
		c.servers = append(c.servers, s)
	}
	refused := newRequestFailuref(outcomeConnect, "connection refused")
	const want = "http://first: connection refused; https://second:9090: connection refused"
	if got := c.mergeServerFailures([]*backendRequestFailure{refused, refused}).text; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestUpgradeIsNotRead: a server that goes over to another protocol, and leaves the connection open, is a failure at once.
func TestUpgradeIsNotRead(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(switchtest.NewHandler(t))
	defer server.Close()
	w := newTestBackend(t, "  url: "+server.URL+"\n", sharedRules, Options{})
	if got := formatValues(w.evaluateRequests("shop")); !strings.HasPrefix(got, "error: backend prometheus: HTTP 101") {
		t.Error(got)
	}
}
