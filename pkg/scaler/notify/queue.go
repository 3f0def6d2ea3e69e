package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// QueueOptions are the optional settings of a Queue.
type QueueOptions struct {
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
	// attemptTimeout bounds a sender without a timeout of its own.
	attemptTimeout = 10 * time.Second
)

// retryBackoff has jitter, so that senders that failed together do not retry together.
var retryBackoff = retry.Backoff{First: firstRetryPause, Max: maxRetryPause, Jitter: 0.5}

func (o QueueOptions) withDefaults() QueueOptions {
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

// Queue sends messages in the background. Each sender gets them in their order. Post may be called concurrently, also before Run.
type Queue struct {
	opts    QueueOptions
	senders map[string]*senderQueue
	metrics *metrics

	mu     sync.Mutex // guards closed, and sends to the queues, which are closed with it
	closed bool
}

// senderQueue holds the waiting messages of a sender.
type senderQueue struct {
	name    string
	sender  Sender
	waiting chan queuedMessage
}

type queuedMessage struct {
	Message
	postedAt time.Time
}

// NewQueue returns a queue for senders by name. It sends no message before Run.
func NewQueue(senders map[string]Sender, opts QueueOptions) *Queue {
	q := &Queue{opts: opts.withDefaults(), senders: map[string]*senderQueue{}, metrics: newMetrics(opts.Registerer, senders)}
	for name, s := range senders {
		q.senders[name] = &senderQueue{name: name, sender: s, waiting: make(chan queuedMessage, q.opts.Length)}
	}
	return q
}

// Post queues a message for each named sender, and does not block. The error lists the senders that will not get it: unknown names,
// senders with a full queue, and all senders once Run's context has ended.
func (q *Queue) Post(names []string, m Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var errs []error
	for _, name := range names {
		if err := q.enqueueNotification(name, m); err != nil {
			errs = append(errs, fmt.Errorf("notify %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// enqueueNotification queues a message for a sender. The caller holds mu.
func (q *Queue) enqueueNotification(name string, m Message) error {
	s := q.senders[name]
	switch {
	case s == nil:
		return errors.New("unknown notifier")
	case q.closed:
		q.metrics.countNotificationOutcome(name, outcomeDropped)
		return errors.New("not queued, the scaler is stopping")
	}
	select {
	case s.waiting <- queuedMessage{m, time.Now()}:
		return nil
	default:
		q.metrics.countNotificationOutcome(name, outcomeDropped)
		return fmt.Errorf("%d messages are waiting already", q.opts.Length)
	}
}

// Run sends messages until ctx ends. It then sends the waiting messages for at most DrainTimeout, and returns nil. It is called once.
func (q *Queue) Run(ctx context.Context) error {
	drainCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var workers sync.WaitGroup
	for _, s := range q.senders {
		workers.Go(func() { q.sendQueuedNotifications(ctx, drainCtx, s) })
	}
	<-ctx.Done()
	q.closeNotificationQueues()
	timer := time.AfterFunc(q.opts.DrainTimeout, cancel)
	defer timer.Stop()
	workers.Wait()
	return nil
}

func (q *Queue) closeNotificationQueues() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, s := range q.senders {
		close(s.waiting)
	}
}

// sendQueuedNotifications sends the messages of a sender until its queue is closed and empty. ctx is the context of Run; drainCtx ends
// DrainTimeout later.
func (q *Queue) sendQueuedNotifications(ctx, drainCtx context.Context, s *senderQueue) {
	log := klog.FromContext(ctx).WithValues("sender", s.name)
	for m := range s.waiting {
		outcome := outcomeSuccess
		if err := q.deliverNotification(ctx, drainCtx, s, m); err != nil {
			outcome = outcomeError
			log.Error(err, "Notification not sent, giving up", "workload", m.Workload.String(), "hold", m.Hold, "outcome", m.Outcome)
		}
		q.metrics.countNotificationOutcome(s.name, outcome)
	}
}

// deliverNotification sends a message, and retries until the attempts or the time are used up, or the error is permanent.
func (q *Queue) deliverNotification(ctx, drainCtx context.Context, s *senderQueue, m queuedMessage) error {
	for i := 1; ; i++ {
		err := sendNotificationOnce(drainCtx, s.sender, m.Message)
		if err == nil {
			return nil
		}
		var postErr *webhook.Error
		isPostErr := errors.As(err, &postErr)
		if i >= q.opts.MaxAttempts || drainCtx.Err() != nil || isPostErr && postErr.IsPermanent() {
			return fmt.Errorf("send message, attempt %d: %w", i, err)
		}
		pause := retryBackoff.Delay(i)
		if isPostErr {
			pause = max(pause, postErr.RetryAfter)
		}
		if time.Since(m.postedAt)+pause > q.opts.SendTimeout {
			return fmt.Errorf("send message, attempt %d, no time for the next in %s: %w", i, pause.Round(time.Second), err)
		}
		klog.FromContext(ctx).Info("Notification not sent, retrying", "sender", s.name, "err", err, "retryIn", pause.Round(time.Millisecond))
		if !q.waitForNotificationRetry(ctx, drainCtx, pause) {
			return fmt.Errorf("send message, attempt %d, stopped before the next: %w", i, err)
		}
		q.metrics.countNotificationOutcome(s.name, outcomeRetried)
	}
}

func sendNotificationOnce(ctx context.Context, s Sender, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return s.Send(ctx, m)
}

// waitForNotificationRetry waits for the pause, and reports whether time for another attempt is left. After the end of ctx it continues to wait only
// if the pause ends within DrainTimeout.
func (q *Queue) waitForNotificationRetry(ctx, drainCtx context.Context, pause time.Duration) bool {
	due := time.Now().Add(pause)
	if retry.Sleep(ctx, pause) {
		return true
	}
	left := time.Until(due)
	return left < q.opts.DrainTimeout && retry.Sleep(drainCtx, left)
}
