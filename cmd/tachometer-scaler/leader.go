// Leader election of tachometer-scaler run.

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
)

// The lease is short: an event that comes when the leader dies must not wait for a quarter of a minute. A leader that cannot renew stops
// before another starts.
const (
	leaseDuration = 6 * time.Second
	renewDeadline = 4 * time.Second
	retryPeriod   = time.Second
)

// leadership tracks the leader of an election.
type leadership struct {
	leaseName string // NAMESPACE/NAME

	mu             sync.Mutex      // guards the fields below
	leadingContext context.Context //nolint:containedctx // ends with the leadership; nil: another process leads
	changed        chan struct{}   // closed at each change of leadingContext
	leaderName     string
	stoppingSince  time.Time // when the work of a leadership was told to end; zero: none ends now

	watchdog *leaderelection.HealthzAdaptor // sees a lease that runs out while the elector still counts it as held
}

// maxLeaderStop is far beyond the time that the work of a leader takes to end: a request to the API server has at most 30 s.
const maxLeaderStop = 2 * time.Minute

func newElection(name string) *leadership {
	return &leadership{leaseName: name, changed: make(chan struct{}), watchdog: leaderelection.NewLeaderHealthzAdaptor(maxLeaderStop)}
}

// checkElectionAlive returns an error if only a restart helps: the election hangs, or the work of a lost leadership does not end,
// which keeps a new leadership from starting its own.
func (l *leadership) checkElectionAlive(now time.Time) error {
	if err := l.watchdog.Check(nil); err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if since := now.Sub(l.stoppingSince); !l.stoppingSince.IsZero() && since > maxLeaderStop {
		return fmt.Errorf("the work of the last leadership has not ended for %s", since.Round(time.Second))
	}
	return nil
}

func (l *leadership) setLeadershipStopping(since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stoppingSince = since
}

// runLeaderElection runs the election until ctx ends.
func (l *leadership) runLeaderElection(ctx context.Context, c *command.Connection, namespace, name string) error {
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Client: c.Client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: command.IdentifyCaller() + "_" + rand.Text()[:8]}, // distinct for two processes on one machine,
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true, Name: name, WatchDog: l.watchdog,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) { l.setLeadershipContext(leading) },
			OnStoppedLeading: func() { l.setLeadershipContext(nil) }, //nolint:staticcheck,contextcheck // no context: no leadership
			OnNewLeader: func(identity string) {
				klog.FromContext(ctx).Info("Leader elected", "lease", l.leaseName, "leader", identity)
				l.mu.Lock()
				defer l.mu.Unlock()
				l.leaderName = identity
			},
		},
	})
	if err != nil {
		return fmt.Errorf("configure the election of %s: %w", l.leaseName, err)
	}
	for ctx.Err() == nil {
		elector.Run(ctx) // returns also after a lost leadership
	}
	return nil
}

// setLeadershipContext sets the context of the leadership, and wakes all waiters.
func (l *leadership) setLeadershipContext(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leadingContext = ctx
	close(l.changed)
	l.changed = make(chan struct{})
}

// getLeaderSnapshot returns the context of this process's leadership, the name of the leader, and a channel closed at the next change.
func (l *leadership) getLeaderSnapshot() (ctx context.Context, leader string, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leadingContext, l.leaderName, l.changed
}

// runWhileLeading runs do whenever this process leads, until ctx ends.
func (l *leadership) runWhileLeading(ctx context.Context, do func(context.Context) error) error {
	for {
		leading, _, changed := l.getLeaderSnapshot()
		if leading != nil && leading.Err() == nil {
			if err := l.runUntilLeadershipEnds(ctx, leading, do); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// runUntilLeadershipEnds runs do until ctx or the leadership ends.
func (l *leadership) runUntilLeadershipEnds(ctx, leading context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(leading, cancel)()
	ending := make(chan struct{})
	stopped := context.AfterFunc(ctx, func() { defer close(ending); l.setLeadershipStopping(time.Now()) })
	err := do(ctx)
	if !stopped() { // it runs, or it has run
		<-ending
		l.setLeadershipStopping(time.Time{})
	}
	return err
}
