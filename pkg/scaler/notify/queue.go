package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// QueueOptions are what a Queue does without.
type QueueOptions struct {
	// Registerer takes the metrics; nil: none.
	Registerer prometheus.Registerer
	// Length is how many messages wait for each sender; 0: DefaultLength.
	Length int
	// MaxAttempts at one message, within Patience of its Post; 0: DefaultAttempts, DefaultPatience.
	MaxAttempts int
	SendTimeout time.Duration
	// DrainTimeout is how long messages are still sent after Run's context has ended; 0: DefaultDrain.
	DrainTimeout time.Duration
}

const (
	// DefaultLength is more than a day's holds; what comes faster is a flood that nobody reads.
	DefaultLength = 100
	// DefaultMaxAttempts are about four minutes, with the pauses between them: a restart, or a limit for each minute.
	DefaultMaxAttempts = 9
	// DefaultSendTimeout is what a receiver's own Retry-After may take: later, the news is none.
	DefaultSendTimeout = 15 * time.Minute
	// DefaultDrainTimeout is a part of the 30 s that Kubernetes leaves a pod, and of the patience of a person at a terminal.
	DefaultDrainTimeout = 5 * time.Second

	firstRetryPause = time.Second
	maxRetryPause   = time.Minute
	// attemptTimeout bounds a sender that does not bound itself.
	attemptTimeout = 10 * time.Second
)

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

// Queue sends messages in the background, for each sender in their order. Post may be called concurrently, before Run too.
type Queue struct {
	opts          QueueOptions
	senders       map[string]*senderQueue
	notifications *prometheus.CounterVec

	mu     sync.Mutex // guards closed, and sending into a closed line
	closed bool
}

// senderQueue is what waits for a sender.
type senderQueue struct {
	name    string
	sender  Sender
	waiting chan queuedMessage
}

type queuedMessage struct {
	Message
	postedAt time.Time
}

// The outcomes that are counted.
const (
	outcomeSent    = "sent"
	outcomeRetried = "retried"
	outcomeFailed  = "failed"
	outcomeDropped = "dropped"
)

// NewQueue returns a queue for senders by name. It starts nothing before Run.
func NewQueue(senders map[string]Sender, opts QueueOptions) *Queue {
	q := &Queue{opts: opts.withDefaults(), senders: map[string]*senderQueue{}, notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_scaler_notifications_total",
		Help: "Notifications by what came of them: sent, failed, or dropped since too many waited; retried counts the attempts that were followed by another.",
	}, []string{"sender", "outcome"})}
	for name, s := range senders {
		q.senders[name] = &senderQueue{name: name, sender: s, waiting: make(chan queuedMessage, q.opts.Length)}
		for _, outcome := range []string{outcomeSent, outcomeRetried, outcomeFailed, outcomeDropped} {
			q.notifications.WithLabelValues(name, outcome)
		}
	}
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(q.notifications)
	}
	return q
}

// Post has a message sent to all that are named, and does not wait for anything. The error tells to whom it will not be: names
// that are unknown, those for whom too many messages wait, and all once Run's context has ended.
func (q *Queue) Post(names []string, m Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var errs []error
	for _, name := range names {
		if err := q.enqueueMessage(name, m); err != nil {
			errs = append(errs, fmt.Errorf("notify %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// enqueueMessage is Post for one name, under the lock.
func (q *Queue) enqueueMessage(name string, m Message) error {
	l := q.senders[name]
	switch {
	case l == nil:
		return errors.New("nobody of this name is configured")
	case q.closed:
		q.notifications.WithLabelValues(name, outcomeDropped).Inc()
		return errors.New("messages are taken no more, the scaler stops")
	}
	select {
	case l.waiting <- queuedMessage{m, time.Now()}:
		return nil
	default:
		q.notifications.WithLabelValues(name, outcomeDropped).Inc()
		return fmt.Errorf("%d messages wait already", q.opts.Length)
	}
}

// Run sends what is posted until ctx ends, and then for at most Drain what still waits. It is called once.
func (q *Queue) Run(ctx context.Context) error {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var working sync.WaitGroup
	for _, l := range q.senders {
		working.Go(func() { q.sendQueuedMessages(ctx, last, l) })
	}
	<-ctx.Done()
	q.closeSenderQueues()
	timer := time.AfterFunc(q.opts.DrainTimeout, cancel)
	defer timer.Stop()
	working.Wait()
	return nil
}

func (q *Queue) closeSenderQueues() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, l := range q.senders {
		close(l.waiting)
	}
}

// sendQueuedMessages sends what waits in a line, until it is closed and empty. ctx is that of Run, last that of its end.
func (q *Queue) sendQueuedMessages(ctx, last context.Context, l *senderQueue) {
	log := klog.FromContext(ctx).WithValues("sender", l.name)
	for m := range l.waiting {
		outcome := outcomeSent
		if err := q.deliverMessage(ctx, last, l, m); err != nil {
			outcome = outcomeFailed
			log.Error(err, "Notification given up", "target", m.Workload.String(), "hold", m.Hold, "outcome", m.Outcome)
		}
		q.notifications.WithLabelValues(l.name, outcome).Inc()
	}
}

// deliverMessage sends one message, again and again while there is hope.
func (q *Queue) deliverMessage(ctx, last context.Context, l *senderQueue, m queuedMessage) error {
	for i := 1; ; i++ {
		err := sendOnce(last, l.sender, m.Message)
		if err == nil {
			return nil
		}
		var e *webhook.Error
		asked := errors.As(err, &e)
		if i >= q.opts.MaxAttempts || last.Err() != nil || asked && e.IsPermanent() {
			return fmt.Errorf("send message, attempt %d: %w", i, err)
		}
		wait := retryPause(i)
		if asked {
			wait = max(wait, e.RetryAfter)
		}
		if time.Since(m.postedAt)+wait > q.opts.SendTimeout {
			return fmt.Errorf("send message, attempt %d, with %s to wait for the next: %w", i, wait.Round(time.Second), err)
		}
		klog.FromContext(ctx).Info("Notification cannot be sent yet", "sender", l.name, "err", err.Error(), "again in", wait.Round(time.Millisecond).String())
		if !q.waitForRetry(ctx, last, wait) {
			return fmt.Errorf("send message, attempt %d, until the scaler stopped: %w", i, err)
		}
		q.notifications.WithLabelValues(l.name, outcomeRetried).Inc()
	}
}

func sendOnce(ctx context.Context, s Sender, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return s.Send(ctx, m)
}

// retryPause is how long to wait after the i-th attempt, from 1: a second, doubling up to a minute, and up to half of it more, so
// that what failed together does not come back together.
func retryPause(i int) time.Duration {
	d := min(firstRetryPause<<min(i-1, 16), maxRetryPause)
	return d + rand.N(d/2+1) //nolint:gosec // it only spreads
}

// waitForRetry waits. It tells whether there is time for another attempt: once ctx has ended, within Drain.
func (q *Queue) waitForRetry(ctx, last context.Context, wait time.Duration) bool {
	due := time.Now().Add(wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	}
	if time.Until(due) >= q.opts.DrainTimeout {
		return false
	}
	select {
	case <-timer.C:
		return true
	case <-last.Done():
		return false
	}
}
