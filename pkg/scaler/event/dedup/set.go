// Package seen remembers the ids of events in a ConfigMap.
//
// Ids are kept as hashes of a fixed length, each with the time from which on it is forgotten; what does not fit is forgotten
// first where it expires first. Of several writers none undoes another's: whoever meets a conflict reads, adds and writes again.
package dedup

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

const (
	// DefaultMaxIDs ids are 700 kB; an object has at most a megabyte.
	DefaultMaxIDs = 20_000
	// DefaultWriteInterval makes one write of a burst, and is lost in a crash at most: then events are delivered again.
	DefaultWriteInterval = time.Second
	// requestTimeout bounds one request to the API server.
	requestTimeout = 10 * time.Second
	// maxRetryPause is the longest time between two attempts.
	maxRetryPause = 10 * time.Second
	// drainTimeout bounds the last write.
	drainTimeout = 5 * time.Second
	// maxConflicts are as many as another writer may cause in a row.
	maxConflicts = 5
	// dataKey is that of the ConfigMap.
	dataKey = "ids"
)

// Options are what a Set does without.
type Options struct {
	// Registerer takes the metrics; nil: none.
	Registerer prometheus.Registerer
	// MaxIDs bounds the ids; 0: DefaultMost.
	MaxIDs int
	// WriteInterval is the time between two writes; 0: DefaultEvery.
	WriteInterval time.Duration
}

// Set are the ids that are remembered.
type Set struct {
	client        v1.ConfigMapInterface
	configMapName string
	opts          Options
	metrics       *metrics
	loaded        chan struct{} // closed when the ConfigMap was read
	added         chan struct{} // holds an element while there is something to write

	mu    sync.Mutex // guards all below
	ids   idExpiries
	dirty bool
}

var _ event.IDSet = (*Set)(nil)

// New returns a set that is kept in the ConfigMap of that name. It reads and writes nothing before Run.
func New(client v1.ConfigMapInterface, name string, opts Options) *Set {
	if opts.MaxIDs == 0 {
		opts.MaxIDs = DefaultMaxIDs
	}
	if opts.WriteInterval == 0 {
		opts.WriteInterval = DefaultWriteInterval
	}
	return &Set{
		client: client, configMapName: name, opts: opts, metrics: newMetrics(opts.Registerer),
		loaded: make(chan struct{}), added: make(chan struct{}, 1), ids: idExpiries{},
	}
}

// Has implements event.Seen: it waits until the ConfigMap was read.
func (s *Set) Has(ctx context.Context, id string) (bool, error) {
	select {
	case <-ctx.Done():
		return false, fmt.Errorf("wait for configmap %s: %w", s.configMapName, ctx.Err())
	case <-s.loaded:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.ids[hashID(id)]
	return ok && time.Now().Before(until), nil
}

// Add implements event.Seen.
func (s *Set) Add(id string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[hashID(id)] = until.Truncate(time.Second).Add(time.Second) // as it is written: forgotten late rather than early
	s.dirty = true
	if len(s.ids) > s.opts.MaxIDs+s.opts.MaxIDs/10 { // a tenth over, so that not every id sorts all of them
		s.pruneLocked(time.Now())
	}
	select {
	case s.added <- struct{}{}:
	default:
	}
}

// pruneLocked forgets. The caller holds mu.
func (s *Set) pruneLocked(now time.Time) {
	s.metrics.forgotten.Add(float64(s.ids.forgetExpired(now, s.opts.MaxIDs)))
	s.metrics.ids.Set(float64(len(s.ids)))
}

// Run reads the ConfigMap, and writes what is added until ctx ends, and once more then. It is to end after whoever adds. It
// returns an error if that last write could not be made: some events may then be delivered again.
func (s *Set) Run(ctx context.Context) error {
	if !s.retryUntilDone(ctx, "remembered events not read, trying again", s.loadIDs) {
		return nil
	}
	close(s.loaded)
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
			defer cancel()
			return s.saveIDs(last)
		case <-s.added:
		}
		if sleepContext(ctx, s.opts.WriteInterval) {
			s.retryUntilDone(ctx, "remembered events not written, trying again", s.saveIDs)
		}
	}
}

// retryUntilDone does it until it succeeds; false: ctx ended before.
func (s *Set) retryUntilDone(ctx context.Context, message string, do func(context.Context) error) bool {
	for wait, first := 100*time.Millisecond, true; ; wait = min(2*wait, maxRetryPause) {
		err := do(ctx)
		if err == nil {
			return true
		}
		s.metrics.failures.Inc()
		if ctx.Err() != nil {
			return false
		}
		if first {
			klog.FromContext(ctx).Error(err, message)
			first = false
		}
		if !sleepContext(ctx, wait) {
			return false
		}
	}
}

func sleepContext(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Reload adds what others have written since Run began, before the first event is read in their place. It tries until it can, and
// returns false if ctx ends before.
func (s *Set) Reload(ctx context.Context) bool {
	return s.retryUntilDone(ctx, "remembered events not read, trying again", s.loadIDs)
}

func (s *Set) loadIDs(ctx context.Context) error {
	_, _, err := s.mergeConfigMap(ctx)
	return err
}

// mergeConfigMap adds what the ConfigMap holds to what is known, and returns it; an empty one if it does not exist.
func (s *Set) mergeConfigMap(ctx context.Context) (m *corev1.ConfigMap, exists bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err = s.client.Get(ctx, s.configMapName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: s.configMapName}}, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("get configmap %s: %w", s.configMapName, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if bad := s.ids.mergeLines(m.Data[dataKey]); bad > 0 {
		klog.FromContext(ctx).Info("lines of the ConfigMap are no ids, leaving them out", "configMap", s.configMapName, "lines", bad)
	}
	return m, true, nil
}

// saveIDs writes what is known, if anything was added since. Each attempt reads first, so that what others wrote stays.
func (s *Set) saveIDs(ctx context.Context) error {
	var err error
	for range maxConflicts {
		if !s.clearDirty() {
			return nil
		}
		if err = s.writeConfigMap(ctx); err == nil {
			return nil
		}
		s.markDirty()
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return err
}

// clearDirty tells whether there is something to write; what is added from here on is written next time.
func (s *Set) clearDirty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.dirty
	s.dirty = false
	return was
}

func (s *Set) markDirty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
}

func (s *Set) writeConfigMap(ctx context.Context) error {
	m, exists, err := s.mergeConfigMap(ctx)
	if err != nil {
		return err
	}
	if m.Data == nil {
		m.Data = map[string]string{}
	}
	m.Data[dataKey] = s.encodeIDs()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if exists {
		_, err = s.client.Update(ctx, m, metav1.UpdateOptions{FieldManager: fieldManager})
	} else {
		_, err = s.client.Create(ctx, m, metav1.CreateOptions{FieldManager: fieldManager})
	}
	if err != nil {
		return fmt.Errorf("write configmap %s: %w", s.configMapName, err)
	}
	s.metrics.writes.Inc()
	return nil
}

func (s *Set) encodeIDs() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pruneLocked(time.Now())
	return s.ids.encodeLines()
}
