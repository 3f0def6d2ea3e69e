// Package dashboard serves a web page about autoscalers on the user's own machine: rows, charts, holds and commands, with the decisions
// of the last hour.
package dashboard

// This file holds the server: a loop that reads the cluster, and an HTTP server that shows the last look.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

const (
	// lookInterval is the pause between two looks: the HPA controller decides every 15 s, so that no decision hides another.
	lookInterval = 5 * time.Second
	// lookTimeout bounds a look. A slow API costs its own values and no more.
	lookTimeout = 20 * time.Second
	// The limits of a request. The page sends a path and little more.
	headerTimeout  = 5 * time.Second
	answerTimeout  = 30 * time.Second
	maxHeaderBytes = 16 << 10
	// drainTimeout is the time for requests in flight when the server ends.
	drainTimeout = 2 * time.Second
)

// Options are the inputs of a PageServer. Client, Metrics and Now are required.
type Options struct {
	Client  kubernetes.Interface
	Metrics reading.MetricReader
	Now     func() time.Time
	// Namespace is the namespace to read; empty: all.
	Namespace string
	// Context is the name of the kubeconfig's context, for the page's head.
	Context string
	// Flags are the connection flags that the user gave. They become part of the commands that the page shows.
	Flags []string
	// Decisions has the recorded decisions of autoscalers; nil, or where it fails: the decisions of the server's own looks.
	Decisions DecisionSource
	// Calendars has the scaler's schedules; nil: the page has no calendar.
	Calendars CalendarReader
}

// DecisionSource has the decisions of autoscalers. It may be used concurrently.
type DecisionSource interface {
	// ListDecisions returns the decisions about an autoscaler, newest first, and the time since which it knows all of them. Nil decisions
	// are not known, and the error says why; beside others, it says why they are incomplete.
	ListDecisions(ctx context.Context, namespace, name string) (decisions []Decision, knownSince time.Time, err error)
}

// PageServer reads the cluster and serves the page.
type PageServer struct {
	opts  Options
	token string // the first element of every path
	once  string // the element of the path that a browser is started with
	used  atomic.Bool

	looks   sync.Mutex // held during a look
	last    atomic.Pointer[snapshot]
	records *chartRecords

	// ahead is by how much the cluster's clock is ahead of this machine's, as of the last look. Ages and the page go by the cluster's.
	ahead atomic.Int64
}

// New returns a server with a random path. It starts nothing.
func New(opts Options) *PageServer {
	s := &PageServer{opts: opts, token: rand.Text(), once: rand.Text(), records: newChartRecords(opts.Now())}
	s.last.Store(&snapshot{
		Started: opts.Now(), Context: opts.Context, Namespace: opts.Namespace, Interval: lookInterval.Seconds(),
		Autoscalers: []autoscalerView{}, Faults: []faultView{}, Targets: targetList{Items: []targetView{}}, Families: familyList{Items: []familyView{}}, Holds: holdList{Items: []holdView{}}, Calendars: calendarList{Items: []Calendar{}},
	})
	return s
}

// now returns the time by the cluster's clock.
func (s *PageServer) now() time.Time { return s.opts.Now().Add(time.Duration(s.ahead.Load())) }

// compareClocks measures the cluster's clock. Where the cluster does not answer, the last difference stays.
func (s *PageServer) compareClocks(ctx context.Context) {
	ahead, ok := reading.MeasureServerAhead(ctx, s.opts.Metrics.Reader, s.opts.Now)
	if !ok {
		return
	}
	s.ahead.Store(int64(ahead))
	if last := s.last.Load(); last.Sequence == 0 {
		s.records.setStart(last.Started.Add(ahead))
	}
}

// Path returns the path of the page.
func (s *PageServer) Path() string { return "/" + s.token + "/" }

// LaunchPath returns a path that leads to the page once. A browser's command line shows it to other users of the machine.
func (s *PageServer) LaunchPath() string { return "/" + s.once + "/" }

// Run reads and serves until ctx ends, and closes the listener.
func (s *PageServer) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: answerTimeout,
		MaxHeaderBytes: maxHeaderBytes,
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		for s.Look(ctx); retry.Sleep(ctx, lookInterval); {
			s.Look(ctx)
		}
		return nil
	})
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the dashboard on %s: %w", listener.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if server.Shutdown(drain) != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}
