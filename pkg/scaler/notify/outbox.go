// This file is the queue's side of an outbox that survives the process. The owner of a message stores it, posts it with a Key as often as it
// likes, and removes it after its Delivery is done. A process that dies in between leaves the message stored, and the next process posts it.

package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// Delivery is the state of a message at a notifier. The zero Delivery is of a message that was not posted to this queue.
type Delivery struct {
	Posted bool
	// Done is set when the queue will not send the message again: the receiver took it, the notifier is not for it, or Err says why nobody
	// will get it.
	Done bool
	Err  error
}

const (
	// maxSettled bounds the remembered deliveries of a notifier: far above the messages that owners store at a time.
	maxSettled = 1000
	// maxUndelivered bounds the errors that Undelivered returns.
	maxUndelivered = 100
	// withdrawInterval is the interval at which Withdraw looks for calls that have not returned.
	withdrawInterval = 10 * time.Millisecond
)

// errRemoved is the error of messages for a notifier that the configuration lacks.
var errRemoved = errors.New("the configuration has no such notifier")

// errNotMeant is the error of a sender that is not for messages of this kind or severity.
var errNotMeant = errors.New("the notifier is not for this message")

// errWithdrawn is the error of a message that was withdrawn: another process sends it.
var errWithdrawn = errors.New("withdrawn")

// settledDelivery is the state of a key, and when it was done.
type settledDelivery struct {
	Delivery
	doneAt time.Time
}

// Delivery returns the state of the message with a key at a notifier. A notifier that the configuration lacks delivers nothing.
func (q *MessageQueue) Delivery(name, key string) Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.senders[name]
	if s == nil {
		return Delivery{Done: true, Err: errRemoved}
	}
	return s.keys[key].Delivery
}

// registerMessageKey reports whether a message is new to the notifier. The caller holds mu.
func (s *senderQueue) registerMessageKey(m *Message) bool {
	if m.Key == "" {
		return true
	}
	if s.keys[m.Key].Posted {
		return false
	}
	s.keys[m.Key] = settledDelivery{Delivery: Delivery{Posted: true}}
	return true
}

// settleNotifierMessage remembers the end of a message. err is nil if the receiver took it, or the notifier is not for it.
func (q *MessageQueue) settleNotifierMessage(s *senderQueue, m *Message, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m.Key != "" {
		s.keys[m.Key] = settledDelivery{Delivery{Posted: true, Done: true, Err: err}, time.Now()}
		s.forgetMessageKeys()
	}
	q.addUndeliveredMessage(s, m, err)
}

// addUndeliveredMessage keeps the error of a message that nobody gets. The caller holds mu.
func (q *MessageQueue) addUndeliveredMessage(s *senderQueue, m *Message, err error) {
	if err != nil && len(q.undelivered) < maxUndelivered {
		q.undelivered = append(q.undelivered, fmt.Errorf("notify %s: %s: %w", s.name, m.notifierMessageTitle(), err))
	}
}

// abandonNotifierMessage forgets the key of a message that waits when the queue stops, or was withdrawn.
func (q *MessageQueue) abandonNotifierMessage(s *senderQueue, m *Message, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(s.keys, m.Key)
	if !errors.Is(err, errWithdrawn) {
		q.addUndeliveredMessage(s, m, err)
	}
}

// forgetMessageKeys forgets the oldest delivery once there are many. The caller holds mu.
func (s *senderQueue) forgetMessageKeys() {
	if len(s.keys) <= maxSettled {
		return
	}
	oldest, at := "", time.Now()
	for key, k := range s.keys {
		if k.Done && !k.doneAt.After(at) {
			oldest, at = key, k.doneAt
		}
	}
	delete(s.keys, oldest)
}

// Withdraw takes back the messages with a key that no sender is called for, and waits until the called senders return or ctx ends. Their owner
// can then store which messages are done, and another process can send the others.
func (q *MessageQueue) Withdraw(ctx context.Context) {
	q.mu.Lock()
	for _, s := range q.senders {
		s.withdrawals++
		kept := s.waiting[:0]
		for _, m := range s.waiting {
			if m.Key == "" {
				kept = append(kept, m)
				continue
			}
			delete(s.keys, m.Key)
		}
		s.waiting = kept
		s.signalSenderQueueChange()
	}
	q.mu.Unlock()
	for q.isSendingMessage() && retry.Sleep(ctx, withdrawInterval) {
	}
}

// isSendingMessage reports whether a message with a key is on its way.
func (q *MessageQueue) isSendingMessage() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.senders {
		for _, k := range s.keys {
			if !k.Done {
				return true
			}
		}
	}
	return false
}

// Undelivered returns an error for the messages that the queue gave up or did not send before it stopped; nil if it sent all messages.
func (q *MessageQueue) Undelivered() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return errors.Join(q.undelivered...)
}
