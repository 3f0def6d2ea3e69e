package notify

import (
	"errors"
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// This file is the queue's side of an outbox that survives the process. The owner of a message stores that it is owed, posts it with a Key as
// often as it likes, and stores each Receipt. A process that dies in between leaves the message owed, and the next process posts it.

// Receipt is the end of a message for one notifier. A message that waits when the queue stops has no receipt: it is still owed.
type Receipt struct {
	Key      string
	Kind     Kind
	Workload hold.Workload
	Hold     string
	Notifier string
	// Err is nil if the receiver took the message, or the notifier is not for it. Otherwise the queue has given up.
	Err error
	At  time.Time
}

const (
	// toldTTL is how long a queue remembers the receipt of a key: longer than any owner needs to store it.
	toldTTL = time.Hour
	// maxTold bounds the remembered receipts of a notifier.
	maxTold = 1000
	// maxUndelivered bounds the errors that Undelivered returns.
	maxUndelivered = 100
)

// errRemoved is the error of messages for a notifier that a new configuration lacks.
var errRemoved = errors.New("the configuration no longer has the notifier")

// errNotMeant is the error of a sender that is not for messages of this kind or severity.
var errNotMeant = errors.New("the notifier is not for this message")

// postedKey is the state of a key at a notifier: on its way, or told.
type postedKey struct {
	told    bool
	receipt Receipt
}

// registerNotificationKey reports whether a message is new to the notifier. For a key that was told, the receipt is queued again: its owner
// may have lost it. The caller holds mu.
func (s *senderQueue) registerNotificationKey(m *Message, now time.Time) bool {
	if m.Key == "" {
		return true
	}
	known, ok := s.keys[m.Key]
	switch {
	case ok && !known.told:
		return false
	case ok && now.Sub(known.receipt.At) < toldTTL:
		s.receipts = append(s.receipts, known.receipt)
		s.signalSenderQueueChange()
		return false
	}
	s.keys[m.Key] = postedKey{}
	return true
}

// settleNotification remembers the end of a message, and tells its owner.
func (q *Queue) settleNotification(s *senderQueue, m *Message, err error) {
	r := Receipt{Key: m.Key, Kind: m.Kind, Workload: m.Workload, Hold: m.Hold, Notifier: s.name, Err: err, At: time.Now()}
	q.mu.Lock()
	if m.Key != "" {
		s.keys[m.Key] = postedKey{told: true, receipt: r}
		s.forgetNotificationKeys(r.At)
	}
	if err != nil && len(q.undelivered) < maxUndelivered {
		q.undelivered = append(q.undelivered, fmt.Errorf("notify %s: %s: %w", s.name, m.notificationTitle(), err))
	}
	q.mu.Unlock()
	if q.opts.Told != nil {
		q.opts.Told(r)
	}
}

// abandonNotification forgets the key of a message that waits when the queue stops.
func (q *Queue) abandonNotification(s *senderQueue, m *Message, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(s.keys, m.Key)
	if len(q.undelivered) < maxUndelivered {
		q.undelivered = append(q.undelivered, fmt.Errorf("notify %s: %s: %w", s.name, m.notificationTitle(), err))
	}
}

// forgetNotificationKeys forgets old receipts once there are many. The caller holds mu.
func (s *senderQueue) forgetNotificationKeys(now time.Time) {
	if len(s.keys) <= maxTold {
		return
	}
	for key, k := range s.keys {
		if k.told && (now.Sub(k.receipt.At) >= toldTTL || len(s.keys) > maxTold) {
			delete(s.keys, key)
		}
	}
}

// Undelivered returns an error for the messages that the queue gave up or did not send before it stopped; nil if it sent all messages.
func (q *Queue) Undelivered() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return errors.Join(q.undelivered...)
}
