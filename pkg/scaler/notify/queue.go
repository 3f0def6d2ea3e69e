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
	// Attempts at one message, within Patience of its Post; 0: DefaultAttempts, DefaultPatience.
	Attempts int
	Patience time.Duration
	// Drain is how long messages are still sent after Run's context has ended; 0: DefaultDrain.
	Drain time.Duration
}

const (
	// DefaultLength is more than a day's holds; what comes faster is a flood that nobody reads.
	DefaultLength = 100
	// DefaultAttempts are about four minutes, with the pauses between them: a restart, or a limit for each minute.
	DefaultAttempts = 9
	// DefaultPatience is what a receiver's own Retry-After may take: later, the news is none.
	DefaultPatience = 15 * time.Minute
	// DefaultDrain is a part of the 30 s that Kubernetes leaves a pod, and of the patience of a person at a terminal.
	DefaultDrain = 5 * time.Second

	firstPause = time.Second
	lastPause  = time.Minute
	// perAttempt bounds a sender that does not bound itself.
	perAttempt = 10 * time.Second
)

func (o QueueOptions) complete() QueueOptions {
	if o.Length == 0 {
		o.Length = DefaultLength
	}
	if o.Attempts == 0 {
		o.Attempts = DefaultAttempts
	}
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	if o.Drain == 0 {
		o.Drain = DefaultDrain
	}
	return o
}

// Queue sends messages in the background, for each sender in their order. Post may be called concurrently, before Run too.
type Queue struct {
	opts  QueueOptions
	lines map[string]*line
	total *prometheus.CounterVec

	mu     sync.Mutex // guards closed, and sending into a closed line
	closed bool
}

// line is what waits for a sender.
type line struct {
	name    string
	sender  Sender
	waiting chan letter
}

type letter struct {
	Message
	posted time.Time
}

// The outcomes that are counted.
const (
	sent    = "sent"
	retried = "retried"
	failed  = "failed"
	dropped = "dropped"
)

// NewQueue returns a queue for senders by name. It starts nothing before Run.
func NewQueue(senders map[string]Sender, opts QueueOptions) *Queue {
	q := &Queue{opts: opts.complete(), lines: map[string]*line{}, total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tachometer_scaler_notifications_total",
		Help: "Notifications by what came of them: sent, failed, or dropped since too many waited; retried counts the attempts that were followed by another.",
	}, []string{"sender", "outcome"})}
	for name, s := range senders {
		q.lines[name] = &line{name: name, sender: s, waiting: make(chan letter, q.opts.Length)}
		for _, outcome := range []string{sent, retried, failed, dropped} {
			q.total.WithLabelValues(name, outcome)
		}
	}
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(q.total)
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
		if err := q.put(name, m); err != nil {
			errs = append(errs, fmt.Errorf("notify %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// put is Post for one name, under the lock.
func (q *Queue) put(name string, m Message) error {
	l := q.lines[name]
	switch {
	case l == nil:
		return errors.New("nobody of this name is configured")
	case q.closed:
		q.total.WithLabelValues(name, dropped).Inc()
		return errors.New("messages are taken no more, the scaler stops")
	}
	select {
	case l.waiting <- letter{m, time.Now()}:
		return nil
	default:
		q.total.WithLabelValues(name, dropped).Inc()
		return fmt.Errorf("%d messages wait already", q.opts.Length)
	}
}

// Run sends what is posted until ctx ends, and then for at most Drain what still waits. It is called once.
func (q *Queue) Run(ctx context.Context) error {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var working sync.WaitGroup
	for _, l := range q.lines {
		working.Go(func() { q.work(ctx, last, l) })
	}
	<-ctx.Done()
	q.close()
	timer := time.AfterFunc(q.opts.Drain, cancel)
	defer timer.Stop()
	working.Wait()
	return nil
}

func (q *Queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, l := range q.lines {
		close(l.waiting)
	}
}

// work sends what waits in a line, until it is closed and empty. ctx is that of Run, last that of its end.
func (q *Queue) work(ctx, last context.Context, l *line) {
	log := klog.FromContext(ctx).WithValues("sender", l.name)
	for m := range l.waiting {
		outcome := sent
		if err := q.deliver(ctx, last, l, m); err != nil {
			outcome = failed
			log.Error(err, "Notification given up", "target", m.Target.String(), "hold", m.Hold, "outcome", m.Outcome)
		}
		q.total.WithLabelValues(l.name, outcome).Inc()
	}
}

// deliver sends one message, again and again while there is hope.
func (q *Queue) deliver(ctx, last context.Context, l *line, m letter) error {
	for i := 1; ; i++ {
		err := attempt(last, l.sender, m.Message)
		if err == nil {
			return nil
		}
		var e *webhook.Error
		asked := errors.As(err, &e)
		if i >= q.opts.Attempts || last.Err() != nil || asked && e.Hopeless() {
			return fmt.Errorf("send message, attempt %d: %w", i, err)
		}
		wait := pause(i)
		if asked {
			wait = max(wait, e.After)
		}
		if time.Since(m.posted)+wait > q.opts.Patience {
			return fmt.Errorf("send message, attempt %d, with %s to wait for the next: %w", i, wait.Round(time.Second), err)
		}
		klog.FromContext(ctx).Info("Notification cannot be sent yet", "sender", l.name, "err", err.Error(), "again in", wait.Round(time.Millisecond).String())
		if !q.rest(ctx, last, wait) {
			return fmt.Errorf("send message, attempt %d, until the scaler stopped: %w", i, err)
		}
		q.total.WithLabelValues(l.name, retried).Inc()
	}
}

func attempt(ctx context.Context, s Sender, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, perAttempt)
	defer cancel()
	return s.Send(ctx, m)
}

// pause is how long to wait after the i-th attempt, from 1: a second, doubling up to a minute, and up to half of it more, so
// that what failed together does not come back together.
func pause(i int) time.Duration {
	d := min(firstPause<<min(i-1, 16), lastPause)
	return d + rand.N(d/2+1) //nolint:gosec // it only spreads
}

// rest waits. It tells whether there is time for another attempt: once ctx has ended, within Drain.
func (q *Queue) rest(ctx, last context.Context, wait time.Duration) bool {
	due := time.Now().Add(wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	}
	if time.Until(due) >= q.opts.Drain {
		return false
	}
	select {
	case <-timer.C:
		return true
	case <-last.Done():
		return false
	}
}
