package peer

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch/switchtest"
)

var web = types.NamespacedName{Namespace: "shop", Name: "web"}

// listedEndpoints are the endpoints of a Service, or the error of a list.
type listedEndpoints struct {
	slices []discoveryv1.EndpointSlice
	err    error
}

func (l listedEndpoints) List(_ context.Context, opts metav1.ListOptions) (*discoveryv1.EndpointSliceList, error) {
	if opts.LabelSelector != "kubernetes.io/service-name=tachometer-adapter" {
		return nil, fmt.Errorf("selector %s", opts.LabelSelector)
	}
	return &discoveryv1.EndpointSliceList{Items: l.slices}, l.err
}

func (l *listedEndpoints) add(address netip.AddrPort, name string, serving bool) {
	e := discoveryv1.Endpoint{Addresses: []string{address.Addr().String()}, Conditions: discoveryv1.EndpointConditions{Serving: &serving}}
	if name != "" {
		e.TargetRef = &corev1.ObjectReference{Name: name}
	}
	l.slices = append(l.slices, discoveryv1.EndpointSlice{
		Ports: []discoveryv1.EndpointPort{{Port: new(int32(address.Port()))}}, Endpoints: []discoveryv1.Endpoint{e},
	})
}

// servePeer serves the answer of a replica, and returns its address and its certificate.
func servePeer(t *testing.T, handler http.HandlerFunc) (address netip.AddrPort, certificate []byte) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	return netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "https://")), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func newTestReader(endpoints listedEndpoints, authorities []byte) *Reader {
	return New(Options{
		EndpointSlices: endpoints, Service: "tachometer-adapter", ServerName: "example.com", Cluster: &rest.Config{BearerToken: "own"},
		Authorities: func() []byte { return authorities },
		IsSelf:      func(a netip.AddrPort) bool { return a.Port() == 6443 },
	})
}

// TestReadLogs: each other replica that serves is read once, with the adapter's own token.
func TestReadLogs(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	good, certificate := servePeer(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Header.Get("Authorization") + " " + r.URL.String())
		_, _ = io.WriteString(w, `{"source":{"replica":"b"},"specs":[{"spec":{"maxReplicas":4}}],"decisions":[{"pods":[{"name":"web-1","state":"ready"}]},{}]}`)
	})
	unknown, _ := servePeer(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "{}", http.StatusNotFound) })
	forbidden, _ := servePeer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","message":"system:anonymous must not"}`)
	})
	damaged, _ := servePeer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"decisions":[{"spec":3}]}`) })
	moved, _ := servePeer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://example.com/", http.StatusFound)
	})
	upgraded, _ := servePeer(t, switchtest.NewHandler(t))
	endpoints := listedEndpoints{}
	endpoints.add(good, "b", true)
	endpoints.add(good, "b", true) // a second family
	endpoints.add(unknown, "c", true)
	endpoints.add(forbidden, "d", true)
	endpoints.add(damaged, "e", true)
	endpoints.add(moved, "f", true)
	endpoints.add(upgraded, "g", true)
	endpoints.add(netip.MustParseAddrPort("10.0.0.1:6443"), "self", true)
	endpoints.add(netip.MustParseAddrPort("10.0.0.9:443"), "gone", false)
	answers := newTestReader(endpoints, certificate).ReadLogs(t.Context(), web, time.Hour)
	var got []string
	for _, a := range answers {
		text := a.Replica
		if a.Log != nil {
			text += fmt.Sprintf(" %d", len(a.Log.Decisions))
		}
		if a.Err != nil {
			text += " " + a.Err.Error()
		}
		got = append(got, text)
	}
	want := []string{"b 2", "c", "d system:anonymous must not", "e the log is damaged: it lacks spec 3 of its decisions", "f 302 Found", "g 101 Switching Protocols"}
	if !slices.Equal(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
	if want := "Bearer own /apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers/web/decisions?scope=replica&since=1h0m0s"; asked.Load() != want {
		t.Errorf("asked %q, want %q", asked.Load(), want)
	}
	if d := answers[0].Log.Decisions; len(d[1].Pods) != 1 {
		t.Errorf("left-out parts are not filled in: %+v", d)
	}
}

// TestTokenOnlyForReplicas: a server with another certificate never sees the token.
func TestTokenOnlyForReplicas(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	address, certificate := servePeer(t, func(http.ResponseWriter, *http.Request) { reached.Store(true) })
	endpoints := listedEndpoints{}
	endpoints.add(address, "", true)
	reader := newTestReader(endpoints, certificate)
	reader.opts.ServerName = "tachometer-adapter.tachometer.svc" // which the certificate does not have
	answers := reader.ReadLogs(t.Context(), web, 0)
	if len(answers) != 1 || answers[0].Err == nil || !strings.Contains(answers[0].Err.Error(), "certificate is valid for") || answers[0].Replica != address.String() || reached.Load() {
		t.Errorf("answers %+v, reached %t", answers, reached.Load())
	}
	if answers := newTestReader(endpoints, nil).ReadLogs(t.Context(), web, 0); len(answers) != 1 || answers[0].Err == nil || reached.Load() {
		t.Errorf("without a certificate: %+v", answers)
	}
}

// TestPeersAreBounded: a Service with too many replicas, or one that cannot be listed, is an error and no silent part.
func TestPeersAreBounded(t *testing.T) {
	t.Parallel()
	endpoints := listedEndpoints{}
	for i := range maxPeers + 1 {
		endpoints.add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 443), "", true)
	}
	forbidden := listedEndpoints{err: errors.New("forbidden")}
	for want, e := range map[string]listedEndpoints{
		"service tachometer-adapter has 9 other replicas, and at most 8 are read": endpoints,
		"list the endpoints of Service tachometer-adapter: forbidden":             forbidden,
	} {
		answers := newTestReader(e, []byte("any")).ReadLogs(t.Context(), web, 0)
		if len(answers) != 1 || answers[0].Err == nil || answers[0].Err.Error() != want {
			t.Errorf("answers %+v, want %s", answers, want)
		}
	}
	if answers := newTestReader(listedEndpoints{}, nil).ReadLogs(t.Context(), web, 0); len(answers) != 0 {
		t.Errorf("a single replica has %+v", answers)
	}
}

// TestLogsAreBoundedTogether: replicas whose logs never end fill no memory: together they may send maxLogBytes.
func TestLogsAreBoundedTogether(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	var endpoints listedEndpoints
	var authorities []byte
	for i := range maxPeers {
		address, certificate := servePeer(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"decisions":[`)
			for piece := []byte(strings.Repeat("{},", 10_000)); r.Context().Err() == nil; {
				n, err := w.Write(piece)
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		})
		endpoints.add(address, fmt.Sprint("replica-", i), true)
		authorities = append(authorities, certificate...)
	}
	for _, a := range newTestReader(endpoints, authorities).ReadLogs(t.Context(), web, 0) {
		if a.Err == nil || a.Log != nil {
			t.Errorf("%s: %v, %v", a.Replica, a.Log, a.Err)
		}
	}
	const buffered = 8 << 20 // of the sockets of eight replicas
	if n := sent.Load(); n > maxLogBytes+maxPeers*buffered {
		t.Errorf("%d bytes were taken, want about %d", n, maxLogBytes)
	}
}

// TestLogWithoutRoomLeavesOthers: of two logs that are too long together, one is read.
func TestLogWithoutRoomLeavesOthers(t *testing.T) {
	t.Parallel()
	const size = maxLogBytes * 2 / 3
	var both sync.WaitGroup // have sent most of their room
	both.Add(2)
	var endpoints listedEndpoints
	var authorities []byte
	for i := range 2 {
		address, certificate := servePeer(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"decisions":[`+strings.Repeat(" ", maxLogBytes*4/10))
			_ = http.NewResponseController(w).Flush()
			both.Done()
			both.Wait()
			_, _ = io.WriteString(w, strings.Repeat(" ", size-maxLogBytes*4/10)+`]}`)
		})
		endpoints.add(address, fmt.Sprint("replica-", i), true)
		authorities = append(authorities, certificate...)
	}
	read := 0
	for _, a := range newTestReader(endpoints, authorities).ReadLogs(t.Context(), web, 0) {
		if a.Err == nil && a.Log != nil {
			read++
		}
	}
	if read != 1 {
		t.Errorf("%d logs are read, want 1", read)
	}
}

// TestForwardRead: another replica answers a read of metrics, with the adapter's own token and nothing of the caller's. Without one that
// answers with values nothing is written.
func TestForwardRead(t *testing.T) {
	t.Parallel()
	const path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/%2A/requests?labelSelector=app%3Dweb"
	var asked, lists atomic.Value
	good, certificate := servePeer(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Header)
		lists.Store(r.URL.String())
		w.Header().Set("Tachometer-Replica", "b")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"items":[]}`)
	})
	warming, _ := servePeer(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "warming up", http.StatusServiceUnavailable)
	})
	hanging, _ := servePeer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for name, tc := range map[string]struct {
		replicas []netip.AddrPort
		answered bool
	}{
		"one":                      {[]netip.AddrPort{good}, true},
		"the second":               {[]netip.AddrPort{warming, good}, true},
		"none":                     {nil, false},
		"one that is warming up":   {[]netip.AddrPort{warming}, false},
		"one that does not answer": {[]netip.AddrPort{hanging}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoints := listedEndpoints{}
			for i, address := range tc.replicas {
				endpoints.add(address, fmt.Sprint("replica-", i), true)
			}
			read := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
			read.Header = http.Header{"Authorization": {"Bearer caller"}, "X-Remote-User": {"caller"}, "Tachometer-Other-Replica": {"a"}}
			w := httptest.NewRecorder()
			if got := newTestReader(endpoints, certificate).ForwardRead(w, read); got != tc.answered {
				t.Fatalf("forwarded: %t, want %t", got, tc.answered)
			}
			if !tc.answered {
				if w.Body.Len()+len(w.Header()) > 0 {
					t.Errorf("wrote %q with %v", w.Body, w.Header())
				}
				return
			}
			if w.Body.String() != `{"items":[]}` || w.Header().Get("Tachometer-Replica") != "b" || lists.Load() != path {
				t.Errorf("%q with %v of %v", w.Body, w.Header(), lists.Load())
			}
			header, _ := asked.Load().(http.Header)
			if got := header.Get("Authorization"); got != "Bearer own" || header.Get("X-Remote-User")+header.Get("Tachometer-Other-Replica") != "" {
				t.Errorf("the replica got %v", header)
			}
		})
	}
}

// TestConnectionsOfOldAuthorities: with new authorities the connections that the old ones verified end.
func TestConnectionsOfOldAuthorities(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 8)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	endpoints := listedEndpoints{}
	endpoints.add(netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "https://")), "b", true)
	authorities := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	reader := newTestReader(endpoints, nil)
	reader.opts.Authorities = func() []byte { return authorities }
	for range 2 {
		for _, a := range reader.ReadLogs(t.Context(), web, 0) {
			if a.Err != nil {
				t.Fatal(a.Err)
			}
		}
		authorities = append(slices.Clone(authorities), authorities...)
	}
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Error("the connection is open")
	}
}

// BenchmarkForwardRead reads the values of 20 pods from a replica, at once and through another one. The difference is the price of a
// forwarded read.
func BenchmarkForwardRead(b *testing.B) {
	item := `{"describedObject":{"kind":"Pod","namespace":"shop","name":"web-7c9d8b6f5-x2x4z","apiVersion":"/v1"},"metric":{"name":"request_per_second"},` +
		`"timestamp":"2026-11-30T12:00:00Z","windowSeconds":4,"value":"20125m"}`
	body := `{"kind":"MetricValueList","items":[` + strings.Repeat(item+",", 19) + item + `]}`
	answer := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
	peer := httptest.NewUnstartedServer(http.HandlerFunc(answer))
	peer.EnableHTTP2 = true
	peer.StartTLS()
	b.Cleanup(peer.Close)
	endpoints := listedEndpoints{}
	endpoints.add(netip.MustParseAddrPort(strings.TrimPrefix(peer.URL, "https://")), "b", true)
	reader := newTestReader(endpoints, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: peer.Certificate().Raw}))
	first := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Tachometer-Other-Replica") == "" {
			answer(w, r)
		} else if !reader.ForwardRead(w, r) {
			b.Error("not forwarded")
		}
	}))
	first.EnableHTTP2 = true
	first.StartTLS()
	b.Cleanup(first.Close)
	for _, other := range []string{"", "a"} {
		b.Run("other="+other, func(b *testing.B) {
			for b.Loop() {
				read, err := http.NewRequestWithContext(b.Context(), http.MethodGet, first.URL+"/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/x", http.NoBody)
				if err != nil {
					b.Fatal(err)
				}
				read.Header.Set("Tachometer-Other-Replica", other)
				response, err := first.Client().Do(read)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
		})
	}
}

// TestPanicEndsOneRead: a panic over one replica's answer is the error of this replica, and is counted.
func TestPanicEndsOneRead(t *testing.T) {
	t.Parallel()
	address, certificate := servePeer(t, func(http.ResponseWriter, *http.Request) {})
	var endpoints listedEndpoints
	endpoints.add(address, "b", true)
	r := newTestReader(endpoints, certificate)
	client, err := r.openPeerClient()
	if err != nil {
		t.Fatal(err)
	}
	client.Transport = panickingTransport{}
	answers := r.ReadLogs(t.Context(), web, 0)
	if len(answers) != 1 || answers[0].Err == nil || testutil.ToFloat64(r.panics.Counter()) != 1 {
		t.Errorf("%+v, %v panics counted", answers, testutil.ToFloat64(r.panics.Counter()))
	}
}

type panickingTransport struct{}

func (panickingTransport) RoundTrip(*http.Request) (*http.Response, error) {
	panic("a bug over a response")
}
