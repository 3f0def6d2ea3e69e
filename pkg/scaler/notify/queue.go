// This file queues messages, and sends them with retries; outbox.go has the deliveries.

package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// MessageQueueOptions are the optional settings of a MessageQueue.
type MessageQueueOptions struct {
	// Registerer takes the metrics; nil: no metrics.
	Registerer prometheus.Registerer
	// Length bounds the waiting messages of each sender; 0: DefaultLength.
	Length int
	// MaxAttempts bounds the attempts to send a message, and SendTimeout the time since its Post; 0: DefaultMaxAttempts and
	// DefaultSendTimeout.
	MaxAttempts int
	SendTimeout time.Duration
	// DrainTimeout is how long Run continues to send after its context has ended; 0: DefaultDrainTimeout.
	DrainTimeout time.Duration
}

const (
	// DefaultLength is above the holds of a day. More messages are a flood that people do not read.
	DefaultLength = 100
	// DefaultMaxAttempts take about four minutes with the pauses between them: longer than a restart, or a rate limit per minute.
	DefaultMaxAttempts = 9
	// DefaultSendTimeout leaves time for a receiver's Retry-After. A later message is no news.
	DefaultSendTimeout = 15 * time.Minute
	// DefaultDrainTimeout is a part of the 30 s in which Kubernetes stops a pod, and short for a person at a terminal.
	DefaultDrainTimeout = 5 * time.Second

	firstRetryPause = time.Second
	maxRetryPause   = time.Minute
	// maxReceiverPause bounds the pause that a receiver asks for: a person waits for the message, and the next messages wait behind it.
	maxReceiverPause = 5 * time.Minute
	// attemptTimeout bounds a sender without a timeout of its own.
	attemptTimeout = 10 * time.Second
)

// retryBackoff has jitter, so that senders that failed together do not retry together.
var retryBackoff = retry.Backoff{First: firstRetryPause, Max: maxRetryPause, Jitter: 0.5}

func (o MessageQueueOptions) withDefaults() MessageQueueOptions {
	if o.Length == 0 {
		o.Length = DefaultLength
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = DefaultMaxAttempts
	}
	if o.SendTimeout == 0 {
		o.SendTimeout = DefaultSendTimeout
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = DefaultDrainTimeout
	}
	return o
}

// MessageQueue sends messages in the background. Each sender gets them in their order, and none waits for another. Its methods may be called
// concurrently, also before Run.
type MessageQueue struct {
	opts    MessageQueueOptions
	metrics *metrics

	mu          sync.Mutex // guards all below, and the senders' queues
	senders     map[string]*senderQueue
	closed      bool
	startWorker func(*senderQueue) // nil: Run has not begun
	undelivered []error
}

// senderQueue holds the waiting messages of a sender.
type senderQueue struct {
	name     string
	changed  chan struct{} // has an element after a change
	inFlight chan struct{} // has an element while the sender is called

	// The queue's mu guards all below.
	sender      Sender
	version     int // of sender
	withdrawals int // calls of Withdraw
	removed     bool
	waiting     []queuedMessage
	keys        map[string]settledDelivery
}

type queuedMessage struct {
	Message
	postedAt    time.Time
	withdrawals int // of its notifier when it was taken
}

// NewMessageQueue returns a queue for senders by name. It sends no message before Run.
func NewMessageQueue(senders map[string]Sender, opts MessageQueueOptions) *MessageQueue {
	q := &MessageQueue{opts: opts.withDefaults(), senders: map[string]*senderQueue{}, metrics: newMetrics(opts.Registerer)}
	q.SetSenders(senders)
	return q
}

// SetSenders replaces the senders. Messages that wait for a name go to its new sender, at once also where they wait for a retry. Messages for a
// name that is gone are given up.
func (q *MessageQueue) SetSenders(senders map[string]Sender) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, s := range q.senders {
		if senders[name] == nil {
			s.removed = true
			s.signalSenderQueueChange()
			delete(q.senders, name)
		}
	}
	for name, sender := range senders {
		if s := q.senders[name]; s != nil {
			s.sender = sender
			s.version++
			s.signalSenderQueueChange()
			continue
		}
		s := &senderQueue{name: name, sender: sender, changed: make(chan struct{}, 1), inFlight: make(chan struct{}, 1), keys: map[string]settledDelivery{}}
		q.senders[name] = s
		q.metrics.initSenderCounters(name)
		if q.startWorker != nil && !q.closed {
			q.startWorker(s)
		}
	}
}

// signalSenderQueueChange wakes the worker of the sender.
func (s *senderQueue) signalSenderQueueChange() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Post queues a message for each named sender, and does not block. A key that was posted is not queued again. The error lists the
// senders that will not get the message: unknown names, senders with a full queue, and all senders once Run's context has ended.
func (q *MessageQueue) Post(names []string, m Message) error {
	m = m.withMessageSeverity().withCleanTexts()
	q.mu.Lock()
	defer q.mu.Unlock()
	var errs []error
	for _, name := range names {
		if err := q.enqueueNotifierMessage(name, m); err != nil {
			errs = append(errs, fmt.Errorf("notify %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// enqueueNotifierMessage queues a message for a sender. The caller holds mu.
func (q *MessageQueue) enqueueNotifierMessage(name string, m Message) error {
	s := q.senders[name]
	switch {
	case s == nil:
		return errors.New("unknown notifier")
	case q.closed:
		q.metrics.countSendOutcome(name, outcomeDropped)
		return errors.New("not queued, the scaler is stopping")
	case s.keys[m.Key].Posted: // a full queue has it too
	case len(s.waiting) >= q.opts.Length:
		q.metrics.countSendOutcome(name, outcomeDropped)
		return fmt.Errorf("%d messages are waiting already", q.opts.Length)
	case s.registerMessageKey(&m):
		s.waiting = append(s.waiting, queuedMessage{Message: m, postedAt: time.Now()})
		s.signalSenderQueueChange()
	}
	return nil
}

// Run sends messages until ctx ends. It then sends the waiting messages for at most DrainTimeout, and returns nil. It is called once.
func (q *MessageQueue) Run(ctx context.Context) error {
	drainCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var workers sync.WaitGroup
	q.mu.Lock()
	q.startWorker = func(s *senderQueue) {
		workers.Go(func() { q.sendQueuedMessages(ctx, drainCtx, s) })
	}
	for _, s := range q.senders {
		q.startWorker(s)
	}
	q.mu.Unlock()
	<-ctx.Done()
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	timer := time.AfterFunc(q.opts.DrainTimeout, cancel)
	defer timer.Stop()
	workers.Wait()
	return nil
}

// sendQueuedMessages sends the messages of a sender until ctx has ended or the sender is removed, and its queue is empty. ctx is the
// context of Run; drainCtx ends DrainTimeout later.
func (q *MessageQueue) sendQueuedMessages(ctx, drainCtx context.Context, s *senderQueue) {
	log := klog.FromContext(ctx).WithValues("sender", s.name)
	for {
		m := q.takeQueuedMessage(ctx, s)
		if m == nil {
			return
		}
		err := q.deliverNotifierMessage(ctx, drainCtx, s, m)
		outcome := outcomeSuccess
		switch {
		case errors.Is(err, errNotMeant):
			err, outcome = nil, outcomeSkipped
		case errors.Is(err, errWithdrawn):
			q.abandonNotifierMessage(s, &m.Message, err)
			continue
		case err != nil:
			outcome = outcomeError
			log.Error(err, "Notification not sent, giving up", "workload", m.Workload.String(), "hold", m.Hold, "outcome", m.Outcome)
		}
		q.metrics.countSendOutcome(s.name, outcome)
		if err != nil && ctx.Err() != nil {
			q.abandonNotifierMessage(s, &m.Message, err)
		} else {
			q.settleNotifierMessage(s, &m.Message, err)
		}
	}
}

// takeQueuedMessage waits for a message, and removes it. It returns nil if none will follow.
func (q *MessageQueue) takeQueuedMessage(ctx context.Context, s *senderQueue) *queuedMessage {
	for {
		q.mu.Lock()
		if len(s.waiting) > 0 {
			m := s.waiting[0]
			s.waiting = s.waiting[1:]
			m.withdrawals = s.withdrawals
			q.mu.Unlock()
			return &m
		}
		ended := s.removed || q.closed || ctx.Err() != nil
		q.mu.Unlock()
		if ended {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-s.changed:
		}
	}
}

// deliverNotifierMessage sends a message, and retries until the attempts or the time are used up, the error is permanent, or the notifier is
// removed.
func (q *MessageQueue) deliverNotifierMessage(ctx, drainCtx context.Context, s *senderQueue, m *queuedMessage) error {
	for i := 1; ; i++ {
		sender, version, withdrawn := q.currentNotifierSender(s, m)
		switch {
		case withdrawn:
			return errWithdrawn
		case sender == nil:
			return errRemoved
		}
		err := s.sendMessageOnce(drainCtx, guardedSender{sender, s.name, q.metrics.panics}, m.Message)
		if err == nil || errors.Is(err, errNotMeant) {
			return err
		}
		var postErr *webhook.Error
		isPostErr := errors.As(err, &postErr)
		if i >= q.opts.MaxAttempts || drainCtx.Err() != nil || isPostErr && postErr.IsPermanent() {
			return fmt.Errorf("send message, attempt %d: %w", i, err)
		}
		pause := retryBackoff.Delay(i)
		if isPostErr {
			pause = max(pause, min(postErr.RetryAfter, maxReceiverPause))
		}
		left := q.opts.SendTimeout - time.Since(m.postedAt)
		if left <= 0 {
			return fmt.Errorf("send message, attempt %d, %s after the first: %w", i, q.opts.SendTimeout, err)
		}
		pause = min(pause, left) // the last attempt
		klog.FromContext(ctx).Info("Notification not sent, retrying", "sender", s.name, "err", err, "retryIn", pause.Round(time.Millisecond))
		if !q.waitForSendRetry(ctx, drainCtx, s, m, version, pause) {
			return fmt.Errorf("send message, attempt %d, stopped before the next: %w", i, err)
		}
		q.metrics.countSendOutcome(s.name, outcomeRetried)
	}
}

// currentNotifierSender returns the sender with its version, or nil if it is removed, and whether the message was withdrawn.
func (q *MessageQueue) currentNotifierSender(s *senderQueue, m *queuedMessage) (sender Sender, version int, withdrawn bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	withdrawn = m.Key != "" && m.withdrawals != s.withdrawals
	if s.removed {
		return nil, -1, withdrawn
	}
	return s.sender, s.version, withdrawn
}

// guardedSender sends messages by a sender, whose panic is the error of its attempt.
type guardedSender struct {
	Sender

	name  string
	guard *panics.Guard
}

// Send implements Sender.
func (g guardedSender) Send(ctx context.Context, m Message) (err error) {
	defer g.guard.Catch(ctx, &err, func() []any { return []any{"sender", g.name, "workload", m.Workload.String()} })
	return g.Sender.Send(ctx, m)
}

// sendMessageOnce calls the sender. It does not wait for a sender that ignores its context, and does not call it again before it returns.
func (s *senderQueue) sendMessageOnce(ctx context.Context, sender Sender, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	select {
	case s.inFlight <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("the last attempt has not ended: %w", ctx.Err())
	}
	sent := make(chan error, 1)
	go func() {
		defer func() { <-s.inFlight }()
		sent <- sender.Send(ctx, m)
	}()
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no response in time: %w", ctx.Err())
	}
}

// waitForSendRetry waits for the pause, or until the sender is replaced or the message withdrawn, and reports whether time for another
// attempt is left. After the end of ctx it continues to wait only if the pause ends within DrainTimeout.
func (q *MessageQueue) waitForSendRetry(ctx, drainCtx context.Context, s *senderQueue, m *queuedMessage, version int, pause time.Duration) bool {
	due := time.Now().Add(pause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-s.changed:
			if _, current, withdrawn := q.currentNotifierSender(s, m); withdrawn || current != version {
				return true
			}
			continue
		case <-ctx.Done():
		}
		break
	}
	left := time.Until(due)
	return left < q.opts.DrainTimeout && retry.Sleep(drainCtx, left)
}
