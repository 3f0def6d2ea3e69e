package notify

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recordingSender records its messages and their times. It returns its errors in turn, and then succeeds.
type recordingSender struct {
	mu     sync.Mutex // guards all below
	errs   []error
	always error
	times  []time.Time
	holds  []string
}

func (r *recordingSender) Send(_ context.Context, m Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = append(r.times, time.Now())
	if r.always != nil {
		return r.always
	}
	if len(r.errs) > 0 {
		err := r.errs[0]
		r.errs = r.errs[1:]
		return err
	}
	r.holds = append(r.holds, m.Hold)
	return nil
}

// listSends returns the pauses between attempts, and the holds of the sent messages.
func (r *recordingSender) listSends() (pauses []time.Duration, holds []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := 1; i < len(r.times); i++ {
		pauses = append(pauses, r.times[i].Sub(r.times[i-1]))
	}
	return pauses, r.holds
}

func (r *recordingSender) countAttempts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.times)
}

// hangingSender returns only when its context ends.
type hangingSender struct{}

func (hangingSender) Send(ctx context.Context, _ Message) error {
	<-ctx.Done()
	return ctx.Err()
}

// startQueue runs a queue; stop ends it and returns how long that took.
func startQueue(t *testing.T, q *MessageQueue) (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	return func() time.Duration {
		begin := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		return time.Since(begin)
	}
}

func postMessage(t *testing.T, q *MessageQueue, name, hold string) {
	t.Helper()
	if err := q.Post([]string{name}, Message{Hold: hold}); err != nil {
		t.Fatal(err)
	}
}

func (q *MessageQueue) countNotifications(name, outcome string) float64 {
	return testutil.ToFloat64(q.metrics.notifications.WithLabelValues(name, outcome))
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		r := &recordingSender{errs: []error{down, down, down, down}}
		q := NewMessageQueue(map[string]Sender{"slack": r}, MessageQueueOptions{})
		stop := startQueue(t, q)
		postMessage(t, q, "slack", "a")
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble, where it takes no time
		pauses, holds := r.listSends()
		if diff := cmp.Diff([]string{"a"}, holds); diff != "" {
			t.Error(diff)
		}
		least := time.Second
		for i, p := range pauses {
			if p < least || p > least*3/2 {
				t.Errorf("pause %d is %s, want from %s to half more", i, p, least)
			}
			least *= 2
		}
		if len(pauses) != 4 || q.countNotifications("slack", outcomeRetried) != 4 || q.countNotifications("slack", outcomeSuccess) != 1 || q.countNotifications("slack", outcomeError) != 0 {
			t.Errorf("%d pauses, %v retried, %v sent", len(pauses), q.countNotifications("slack", outcomeRetried), q.countNotifications("slack", outcomeSuccess))
		}
		stop()
	})
}

func TestPauseIsBounded(t *testing.T) {
	t.Parallel()
	for _, i := range []int{7, 8, 63, 64, 1000} {
		if p := retryBackoff.Delay(i); p < maxRetryPause || p > maxRetryPause*3/2 {
			t.Errorf("pause %d is %s", i, p)
		}
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recordingSender{errs: []error{&webhook.Error{Status: http.StatusTooManyRequests, RetryAfter: 90 * time.Second}}}
		q := NewMessageQueue(map[string]Sender{"slack": r}, MessageQueueOptions{})
		stop := startQueue(t, q)
		postMessage(t, q, "slack", "a")
		postMessage(t, q, "slack", "b")
		time.Sleep(2 * time.Minute) //nolint:forbidigo // in a bubble, where it takes no time
		pauses, holds := r.listSends()
		if diff := cmp.Diff([]time.Duration{90 * time.Second, 0}, pauses); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"a", "b"}, holds); diff != "" {
			t.Error(diff)
		}
		stop()
	})
}

// panickingSender panics over a text of the message's receiver, and then sends.
type panickingSender struct{ recordingSender }

func (p *panickingSender) Send(ctx context.Context, m Message) error {
	if p.countAttempts() == 0 {
		_ = p.recordingSender.Send(ctx, m)
		panic("text of a receiver")
	}
	return p.recordingSender.Send(ctx, m)
}

// TestPanicEndsOneAttempt: an attempt that panics is counted and made again, and the queue goes on.
func TestPanicEndsOneAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := NewMessageQueue(map[string]Sender{"slack": &panickingSender{}}, MessageQueueOptions{})
		stop := startQueue(t, q)
		postMessage(t, q, "slack", "a")
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble, where it takes no time
		if n := testutil.ToFloat64(q.metrics.panics.Counter()); n != 1 || q.countNotifications("slack", outcomeRetried) != 1 || q.countNotifications("slack", outcomeSuccess) != 1 {
			t.Errorf("%v panics, %v retried, %v sent; want 1 each", n, q.countNotifications("slack", outcomeRetried), q.countNotifications("slack", outcomeSuccess))
		}
		stop()
	})
}

func TestGivesUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"after so many attempts":                       {errors.New("down"), DefaultMaxAttempts},
		"at once, where there is no hope":              {&webhook.Error{Status: http.StatusBadRequest}, 1},
		"after the time, not after a pause of an hour": {&webhook.Error{Status: http.StatusServiceUnavailable, RetryAfter: time.Hour}, 4},
		"after the time, with a last attempt then":     {&webhook.Error{Status: http.StatusServiceUnavailable, RetryAfter: 4 * time.Minute}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &recordingSender{always: c.err}
				q := NewMessageQueue(map[string]Sender{"slack": r}, MessageQueueOptions{})
				stop := startQueue(t, q)
				postMessage(t, q, "slack", "a")
				time.Sleep(time.Hour) //nolint:forbidigo // in a bubble, where it takes no time
				if got := r.countAttempts(); got != c.want || q.countNotifications("slack", outcomeError) != 1 || q.countNotifications("slack", outcomeSuccess) != 0 {
					t.Errorf("%d attempts, want %d; %v failed", got, c.want, q.countNotifications("slack", outcomeError))
				}
				stop()
			})
		})
	}
}

// neverSender asks to be asked again in centuries, as a receiver does with a date of the year 9999.
type neverSender struct{}

func (neverSender) Send(context.Context, Message) error {
	time.Sleep(time.Millisecond) //nolint:forbidigo // in a bubble, where it takes no time
	return &webhook.Error{Status: http.StatusServiceUnavailable, RetryAfter: math.MaxInt64}
}

// TestGivesUpOnADateThatNeverComes: the longest pause is too long, too, and blocks no other message.
func TestGivesUpOnADateThatNeverComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := NewMessageQueue(map[string]Sender{"slack": neverSender{}}, MessageQueueOptions{})
		stop := startQueue(t, q)
		postMessage(t, q, "slack", "a")
		postMessage(t, q, "slack", "b")
		time.Sleep(time.Hour) //nolint:forbidigo // in a bubble, where it takes no time
		if got := q.countNotifications("slack", outcomeError); got != 2 {
			t.Errorf("%v of 2 messages are given up", got)
		}
		stop()
	})
}

func TestOneHangsOthersAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recordingSender{}
		q := NewMessageQueue(map[string]Sender{"dead": hangingSender{}, "webhook": r}, MessageQueueOptions{})
		stop := startQueue(t, q)
		begin := time.Now()
		if err := q.Post([]string{"dead", "webhook"}, Message{Hold: "a"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %s", took)
		}
		if _, holds := r.listSends(); len(holds) != 1 {
			t.Errorf("the other was told %v", holds)
		}
		if took := stop(); took > DefaultDrainTimeout {
			t.Errorf("the end took %s", took)
		}
	})
}

func TestPostNeverBlocks(t *testing.T) {
	t.Parallel()
	q := NewMessageQueue(map[string]Sender{"slack": hangingSender{}}, MessageQueueOptions{Length: 3}) // without Run every queue is stuck
	for range 3 {
		postMessage(t, q, "slack", "a")
	}
	err := q.Post([]string{"slack"}, Message{})
	if err == nil || err.Error() != "notify slack: 3 messages are waiting already" {
		t.Errorf("got %v", err)
	}
	if got := q.countNotifications("slack", outcomeDropped); got != 1 {
		t.Errorf("%v dropped", got)
	}
}

func TestPostToNobodyKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recordingSender{}
		q := NewMessageQueue(map[string]Sender{"slack": r}, MessageQueueOptions{})
		stop := startQueue(t, q)
		err := q.Post([]string{"oncal", "slack"}, Message{Hold: "a"})
		if err == nil || err.Error() != "notify oncal: unknown notifier" {
			t.Errorf("got %v", err)
		}
		stop()
		if _, holds := r.listSends(); len(holds) != 1 {
			t.Errorf("those who are known were told %v", holds)
		}
		if err := q.Post([]string{"slack"}, Message{}); err == nil {
			t.Error("a message was taken that nobody sends")
		}
	})
}

func TestDrainSendsWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recordingSender{errs: []error{errors.New("down")}} // one pause of at most 1.5 s
		q := NewMessageQueue(map[string]Sender{"slack": r}, MessageQueueOptions{})
		for _, hold := range []string{"a", "b", "c"} {
			postMessage(t, q, "slack", hold)
		}
		if took := startQueue(t, q)(); took > 2*time.Second {
			t.Errorf("the end took %s", took)
		}
		if _, holds := r.listSends(); len(holds) != 3 {
			t.Errorf("sent %v", holds)
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Sender{
		"hangs":   hangingSender{},
		"refuses": &recordingSender{always: errors.New("down")},
		"pauses":  &recordingSender{always: &webhook.Error{Status: http.StatusTooManyRequests, RetryAfter: time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := NewMessageQueue(map[string]Sender{"slack": s}, MessageQueueOptions{})
				for range 20 {
					postMessage(t, q, "slack", "a")
				}
				if took := startQueue(t, q)(); took > DefaultDrainTimeout {
					t.Errorf("the end took %s", took)
				}
				if got := q.countNotifications("slack", outcomeError); got != 20 {
					t.Errorf("%v failed", got)
				}
			})
		})
	}
}

func TestNobodyToTell(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stop := startQueue(t, NewMessageQueue(nil, MessageQueueOptions{}))
		synctest.Wait()
		if took := stop(); took != 0 {
			t.Errorf("the end took %s", took)
		}
	})
}

// TestSecretStaysSecret sends to a dead port until the queue gives up, and searches log and metrics for the URL.
func TestSecretStaysSecret(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var mu sync.Mutex // guards log
	logger := funcr.New(func(_, line string) {
		mu.Lock()
		defer mu.Unlock()
		log.WriteString(line + "\n")
	}, funcr.Options{Verbosity: 10})
	reg := prometheus.NewRegistry()
	url := func() (string, error) { return "http://127.0.0.1:1/services/hush", nil }
	q := NewMessageQueue(map[string]Sender{"slack": NewSlack(url, SenderOptions{})}, MessageQueueOptions{Registerer: reg, MaxAttempts: 2})
	postMessage(t, q, "slack", "a")
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logger))
	cancel()
	if err := q.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "connection refused") || strings.Contains(text, "hush") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("logged:\n%s", text)
	}
	want := `
# HELP tachometer_scaler_notification_panics_total Attempts to send a notification that panicked, and were retried: each a bug in this program.
# TYPE tachometer_scaler_notification_panics_total counter
tachometer_scaler_notification_panics_total 0
# HELP tachometer_scaler_notifications_total Notifications by outcome: success, error, skipped because the notifier is not for it, or dropped because the queue was full; retried counts failed attempts that another attempt followed.
# TYPE tachometer_scaler_notifications_total counter
tachometer_scaler_notifications_total{outcome="dropped",sender="slack"} 0
tachometer_scaler_notifications_total{outcome="error",sender="slack"} 1
tachometer_scaler_notifications_total{outcome="retried",sender="slack"} 1
tachometer_scaler_notifications_total{outcome="skipped",sender="slack"} 0
tachometer_scaler_notifications_total{outcome="success",sender="slack"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
