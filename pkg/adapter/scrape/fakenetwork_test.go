package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"go.uber.org/goleak"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNetwork connects by net.Pipe to servers of its own, inside a bubble of fake time. An unknown address
// refuses the connection; an address with a nil handler never answers.
type fakeNetwork struct {
	mu       sync.Mutex
	handlers map[string]http.Handler
	servers  []*http.Server
	dials    int

	dialDelay time.Duration
}

func newFakeNetwork() *fakeNetwork { return &fakeNetwork{handlers: map[string]http.Handler{}} }

func (n *fakeNetwork) addServer(address string, h http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers[address] = h
}

func (n *fakeNetwork) removeServer(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.handlers, address)
}

func (n *fakeNetwork) dialServer(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	h, ok := n.handlers[address]
	n.dials++
	n.mu.Unlock()
	time.Sleep(n.dialDelay) //nolint:forbidigo // fake time
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	if h == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	client, server := net.Pipe()
	s := &http.Server{Handler: h}
	n.mu.Lock()
	n.servers = append(n.servers, s)
	n.mu.Unlock()
	go func() { _ = s.Serve(&oneConnListener{conn: server, closed: make(chan struct{})}) }()
	return client, nil
}

func (n *fakeNetwork) closeServers() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.servers {
		_ = s.Close()
	}
}

// oneConnListener is a listener of one connection.
type oneConnListener struct {
	mu     sync.Mutex
	conn   net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *oneConnListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	c := l.conn
	l.conn = nil
	l.mu.Unlock()
	if c != nil {
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConnListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *oneConnListener) Addr() net.Addr { return &net.TCPAddr{} }

// fakePage answers every request with a body, and counts requests; it records the query of the last request.
type fakePage struct {
	mu       sync.Mutex
	body     string
	requests int
	query    string
	delay    time.Duration
	cut      bool // announces more bytes than the body has, and closes
	running  int
	overlaps int
}

func (p *fakePage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests++
	p.query = r.URL.RawQuery
	body, delay, cut := p.body, p.delay, p.cut
	if p.running++; p.running > 1 {
		p.overlaps++
	}
	p.mu.Unlock()
	if cut {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)+100))
	}
	time.Sleep(delay) //nolint:forbidigo // fake time
	_, _ = io.WriteString(w, body)
	p.mu.Lock()
	p.running--
	p.mu.Unlock()
}

func (p *fakePage) setBody(body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.body = body
}

func (p *fakePage) setDelay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

func (p *fakePage) currentDelay() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay
}

func (p *fakePage) setCutOff(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
}

// dyingTarget answers until a time, and never after it.
type dyingTarget struct{ after time.Time }

func (d *dyingTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if time.Now().After(d.after) {
		<-r.Context().Done()
	}
	_, _ = io.WriteString(w, "a 1\n")
}

// recordingAppender keeps all samples, and rejects a sample that is not newer than the last of its series.
type recordingAppender struct {
	mu       sync.Mutex
	series   []string
	refs     map[string]uint64
	points   map[string][]recordedPoint
	reject   error
	limit    int // of the series; 0: no limit
	reserved atomic.Int64
	panics   string // Append panics at samples of this pod
}

type recordedPoint struct {
	t int64
	v float64
}

func newRecordingAppender() *recordingAppender {
	return &recordingAppender{refs: map[string]uint64{}, points: map[string][]recordedPoint{}}
}

func (r *recordingAppender) Append(ref uint64, l labels.Labels, t int64, v float64) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reject != nil {
		return 0, r.reject
	}
	if r.panics != "" && l.Get("pod") == r.panics {
		panic("a bug in the way of a sample")
	}
	var name string
	if ref == 0 {
		name = l.String()
		if ref = r.refs[name]; ref == 0 {
			r.series = append(r.series, name)
			ref = uint64(len(r.series))
			r.refs[name] = ref
		}
	} else {
		name = r.series[ref-1]
	}
	if ps := r.points[name]; len(ps) > 0 && ps[len(ps)-1].t >= t {
		return ref, fmt.Errorf("out of order")
	}
	r.points[name] = append(r.points[name], recordedPoint{t, v})
	return ref, nil
}

// Create gives references to new series while no sample is rejected, and within the limit of series.
func (r *recordingAppender) Create(_ int64, lsets []labels.Labels) ([]uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reject != nil {
		return nil, r.reject
	}
	refs := make([]uint64, len(lsets))
	missing := 0
	for i, l := range lsets {
		if refs[i] = r.refs[l.String()]; refs[i] == 0 {
			missing++
		}
	}
	if r.limit > 0 && len(r.series)+missing > r.limit {
		return nil, errors.New("too many series")
	}
	for i, l := range lsets {
		if refs[i] == 0 {
			r.series = append(r.series, l.String())
			refs[i] = uint64(len(r.series))
			r.refs[l.String()] = refs[i]
		}
	}
	return refs, nil
}

// Forget drops the points of a series.
func (r *recordingAppender) Forget(ref uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ref > 0 {
		delete(r.points, r.series[ref-1])
	}
}

// Reserve counts what parsers hold.
func (r *recordingAppender) Reserve(_ string, bytes int64) error {
	r.reserved.Add(bytes)
	return nil
}

// pointsOfSeries returns the points of the only series with all parts in its labels.
func (r *recordingAppender) pointsOfSeries(t *testing.T, parts ...string) []recordedPoint {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []recordedPoint
	n := 0
next:
	for name, ps := range r.points {
		for _, p := range parts {
			if !strings.Contains(name, p) {
				continue next
			}
		}
		found = append([]recordedPoint(nil), ps...)
		n++
	}
	if n > 1 {
		t.Fatalf("%d series contain %q", n, parts)
	}
	return found
}

func isStaleMarker(v float64) bool { return value.IsStaleNaN(v) }

func endsWithMarker(ps []recordedPoint) bool { return len(ps) > 0 && isStaleMarker(ps[len(ps)-1].v) }

// formatPoints writes the points' values; a marker is "|".
func formatPoints(ps []recordedPoint) string {
	var parts []string
	for _, p := range ps {
		switch {
		case isStaleMarker(p.v):
			parts = append(parts, "|")
		case math.IsNaN(p.v):
			parts = append(parts, "NaN")
		default:
			parts = append(parts, fmt.Sprint(p.v))
		}
	}
	return strings.Join(parts, " ")
}

// runInFakeTime runs a manager with a network of its own in fake time, and stops it at the end.
func runInFakeTime(t *testing.T, opts Options, test func(m *Manager, n *fakeNetwork, r *recordingAppender)) {
	t.Helper()
	runInFakeTimeOf(t, func() Options { return opts }, test)
}

// runInFakeTimeOf is runInFakeTime for options that need the time of the bubble.
func runInFakeTimeOf(t *testing.T, makeOptions func() Options, test func(m *Manager, n *fakeNetwork, r *recordingAppender)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts := makeOptions()
		n, r := newFakeNetwork(), newRecordingAppender()
		opts.DialContext = n.dialServer
		m := New(r, opts)
		ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), klog.Logger{})) // logs nothing
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		test(m, n, r)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		n.closeServers()
		passFakeTime(time.Minute) // handlers that still sleep wake up and end
	})
}

// passFakeTime lets fake time pass, and waits until all work due then has ended.
func passFakeTime(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // fake time
	synctest.Wait()
}

func newTestTarget(pod string, families ...string) metric.Target {
	return metric.Target{
		Namespace: "shop", Pod: pod, Node: "n1", UID: pod + "-uid",
		URL: "http://" + pod + ":8080/metrics", Families: families,
	}
}
