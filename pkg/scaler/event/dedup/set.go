// Package dedup remembers in a ConfigMap the ids of delivered events, and the times of starts and ends, so that a repeated or outdated
// event is skipped.
//
// Ids are stored as hashes of a fixed length, each with its expiry. If there are too many, the ids that expire first are forgotten.
// Several writers keep each other's ids: on a conflict, a writer reads, merges and writes again.
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

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

const (
	// maxStoredIDs ids take 700 kB; the limit of an object is a megabyte.
	maxStoredIDs = 20_000
	// writeInterval turns a burst into one write. A crash loses at most this time; then events are delivered again.
	writeInterval = time.Second
	// requestTimeout bounds one request to the API server.
	requestTimeout = 10 * time.Second
	// firstRetryPause and maxRetryPause bound the time between two attempts, which doubles.
	firstRetryPause = 100 * time.Millisecond
	maxRetryPause   = 10 * time.Second
	// drainTimeout bounds the last write.
	drainTimeout = 5 * time.Second
	// maxConflicts is above the conflicts in a row that another writer causes.
	maxConflicts = 5
	// dataKey is the key in the ConfigMap's data.
	dataKey = "ids"
)

// Options are the optional settings of a DeliveryStore.
type Options struct {
	// Registerer takes the metrics; nil: no metrics.
	Registerer prometheus.Registerer
}

// DeliveryStore holds the remembered ids and times of deliveries.
type DeliveryStore struct {
	client        v1.ConfigMapInterface
	configMapName string
	metrics       *metrics
	loaded        chan struct{} // closed after the ConfigMap was read
	added         chan struct{} // has an element while an unwritten id waits

	mu    sync.Mutex // guards all below
	ids   idExpiries
	times eventTimes
	dirty bool
}

var _ event.IDSet = (*DeliveryStore)(nil)

// New returns a set stored in the ConfigMap of the given name. It sends no request before Run.
func New(client v1.ConfigMapInterface, name string, opts Options) *DeliveryStore {
	return &DeliveryStore{
		client: client, configMapName: name, metrics: newMetrics(opts.Registerer),
		loaded: make(chan struct{}), added: make(chan struct{}, 1), ids: idExpiries{}, times: eventTimes{},
	}
}

// Has implements event.IDSet. It waits until the ConfigMap was read.
func (s *DeliveryStore) Has(ctx context.Context, id string) (bool, error) {
	select {
	case <-ctx.Done():
		return false, fmt.Errorf("wait for configmap %s: %w", s.configMapName, ctx.Err())
	case <-s.loaded:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.ids[hashEventID(id)]
	return ok && time.Now().Before(until), nil
}

// Add implements event.IDSet.
func (s *DeliveryStore) Add(id string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[hashEventID(id)] = until.Truncate(time.Second).Add(time.Second) // the stored precision, rounded up: forgotten late rather than early
	if len(s.ids) > maxStoredIDs+maxStoredIDs/10 {                        // a tenth above, so that not every Add sorts all ids
		s.pruneEventIDsLocked(time.Now())
	}
	s.scheduleSetWriteLocked()
}

// scheduleSetWriteLocked makes Run write soon. The caller holds mu.
func (s *DeliveryStore) scheduleSetWriteLocked() {
	s.dirty = true
	select {
	case s.added <- struct{}{}:
	default:
	}
}

// pruneEventIDsLocked forgets expired and excess ids. The caller holds mu.
func (s *DeliveryStore) pruneEventIDsLocked(now time.Time) {
	s.metrics.forgotten.Add(float64(s.ids.forgetExpiredIDs(now, maxStoredIDs)))
	s.metrics.ids.Set(float64(len(s.ids)))
}

// Run reads the ConfigMap, and writes added ids until ctx ends, and once more then. It must end after the last Add. It returns an error if
// the last write fails: some events may then be delivered again.
func (s *DeliveryStore) Run(ctx context.Context) error {
	if !s.retrySetRequest(ctx, "read", s.loadEventIDs) {
		return nil
	}
	close(s.loaded)
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
			defer cancel()
			return s.saveEventIDs(last)
		case <-s.added:
		}
		if retry.Sleep(ctx, writeInterval) {
			s.retrySetRequest(ctx, "write", s.saveEventIDs)
		}
	}
}

// retrySetRequest calls do until it succeeds, and logs the first failure. It returns false if ctx ends before.
func (s *DeliveryStore) retrySetRequest(ctx context.Context, request string, do func(context.Context) error) bool {
	backoff := retry.Backoff{First: firstRetryPause, Max: maxRetryPause}
	for failures := 1; ; failures++ {
		err := do(ctx)
		if err == nil {
			return true
		}
		s.metrics.failures.Inc()
		if ctx.Err() != nil {
			return false
		}
		if failures == 1 {
			klog.FromContext(ctx).Error(err, "Remembered ids not read or written, retrying", "request", request, "configMap", s.configMapName)
		}
		if !retry.Sleep(ctx, backoff.Delay(failures)) {
			return false
		}
	}
}

// Reload merges the ids that other replicas have written since Run began. A new leader calls it before it reads its first event. It
// retries until it succeeds, and returns false if ctx ends before.
func (s *DeliveryStore) Reload(ctx context.Context) bool {
	return s.retrySetRequest(ctx, "read", s.loadEventIDs)
}

func (s *DeliveryStore) loadEventIDs(ctx context.Context) error {
	_, _, err := s.mergeIDConfigMap(ctx)
	return err
}

// mergeIDConfigMap reads the ConfigMap and merges its ids. It returns an empty ConfigMap if none exists.
func (s *DeliveryStore) mergeIDConfigMap(ctx context.Context) (m *corev1.ConfigMap, exists bool, err error) {
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
	if bad := s.ids.mergeExpiryLines(m.Data[dataKey]) + s.times.mergeEventTimes(m.Data[timesKey]); bad > 0 {
		klog.FromContext(ctx).Info("Invalid lines in the ConfigMap skipped", "configMap", s.configMapName, "lines", bad)
	}
	return m, true, nil
}

// saveEventIDs writes the ids if any was added since the last write. Each attempt reads first, so that ids of other writers stay.
func (s *DeliveryStore) saveEventIDs(ctx context.Context) error {
	var err error
	for range maxConflicts {
		if !s.clearSetDirty() {
			return nil
		}
		if err = s.writeIDConfigMap(ctx); err == nil {
			return nil
		}
		s.markSetDirty()
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return err
}

// clearSetDirty reports whether ids are unwritten, and marks them as written. The next write has the ids added after it.
func (s *DeliveryStore) clearSetDirty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.dirty
	s.dirty = false
	return was
}

func (s *DeliveryStore) markSetDirty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
}

func (s *DeliveryStore) writeIDConfigMap(ctx context.Context) error {
	m, exists, err := s.mergeIDConfigMap(ctx)
	if err != nil {
		return err
	}
	if m.Data == nil {
		m.Data = map[string]string{}
	}
	s.encodeIDData(m.Data)
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

// encodeIDData writes the ids and the times that have not expired.
func (s *DeliveryStore) encodeIDData(data map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.pruneEventIDsLocked(now)
	s.times.forgetEventTimes(now)
	data[dataKey] = s.ids.encodeExpiryLines()
	delete(data, timesKey)
	if len(s.times) > 0 {
		data[timesKey] = s.times.encodeEventTimes()
	}
}
