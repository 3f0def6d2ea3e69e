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
)

// A short lease: an event that comes when the leader dies must not wait for a quarter of a minute. A leader that cannot renew
// stops before another one starts.
const (
	leaseDuration = 6 * time.Second
	renewDeadline = 4 * time.Second
	retryPeriod   = time.Second
)

// leadership tells whether this process leads.
type leadership struct {
	name string // of the Lease: NAMESPACE/NAME

	mu      sync.Mutex      // guards what follows
	ctx     context.Context //nolint:containedctx // ends with the leadership; nil: another one leads
	changed chan struct{}   // closed when ctx changes
	leader  string
}

func newLeadership(name string) *leadership {
	return &leadership{name: name, changed: make(chan struct{})}
}

// run takes part in the election until ctx ends.
func (l *leadership) run(ctx context.Context, c *connection, namespace, name string) error {
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Client: c.client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: who() + "_" + rand.Text()[:8]}, // two on one machine are two,
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true, Name: name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) { l.set(leading) },
			OnStoppedLeading: func() { l.set(nil) }, //nolint:staticcheck,contextcheck // no context: no leadership
			OnNewLeader: func(identity string) {
				klog.FromContext(ctx).Info("Leader elected", "lease", l.name, "leader", identity)
				l.mu.Lock()
				defer l.mu.Unlock()
				l.leader = identity
			},
		},
	})
	if err != nil {
		return fmt.Errorf("take part in the election of %s: %w", l.name, err)
	}
	for ctx.Err() == nil {
		elector.Run(ctx) // returns when the leadership is lost, too
	}
	return nil
}

func (l *leadership) set(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx = ctx
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leadership) state() (ctx context.Context, leader string, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ctx, l.leader, l.changed
}

// whileLeading does what only the leader may, whenever this process leads, until ctx ends.
func (l *leadership) whileLeading(ctx context.Context, do func(context.Context) error) error {
	for {
		leading, _, changed := l.state()
		if leading != nil && leading.Err() == nil {
			if err := l.lead(ctx, leading, do); err != nil {
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

// lead does it until ctx or the leadership ends.
func (l *leadership) lead(ctx, leading context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(leading, cancel)()
	return do(ctx)
}
