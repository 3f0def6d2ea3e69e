package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// listDeliveries returns the deliveries that are done, as an owner stores them.
func (q *MessageQueue) listDeliveries() (all []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, s := range q.senders {
		for key, k := range s.keys {
			switch {
			case k.Done && k.Err != nil:
				all = append(all, name+" "+key+" failed")
			case k.Done:
				all = append(all, name+" "+key)
			}
		}
	}
	slices.Sort(all)
	return all
}

func postKey(t *testing.T, q *MessageQueue, key string, names ...string) {
	t.Helper()
	if err := q.Post(names, Message{Key: key, Kind: KindRolledBack, Hold: key}); err != nil {
		t.Fatal(err)
	}
}

// TestD12AlertIsToldOnce: a key that is posted again and again is sent once, and its delivery is known from then on.
func TestD12AlertIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &recordingSender{errs: []error{errors.New("down")}}
		q := NewMessageQueue(map[string]Sender{"slack": r}, MessageQueueOptions{})
		stop := startQueue(t, q)
		if d := q.Delivery("slack", "a"); d.Posted || d.Done {
			t.Errorf("before the post: %+v", d)
		}
		for range 5 {
			postKey(t, q, "a", "slack")
			synctest.Wait()
		}
		if d := q.Delivery("slack", "a"); !d.Posted || d.Done {
			t.Errorf("before the receiver took it: %+v", d)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble, where it takes no time
		for range 5 {
			postKey(t, q, "a", "slack")
			synctest.Wait()
		}
		if d := q.Delivery("slack", "a"); !d.Done || d.Err != nil {
			t.Errorf("after the receiver took it: %+v", d)
		}
		if _, holds := r.listSends(); len(holds) != 1 {
			t.Errorf("sent %v", holds)
		}
		if d := q.Delivery("gone", "a"); !d.Done || d.Err == nil {
			t.Errorf("no notifier: %+v", d)
		}
		stop()
	})
}

// TestD12KilledWhileItWaits: a message that waits when the process stops is not delivered, so that the next process sends it.
func TestD12KilledWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := &recordingSender{always: &webhook.Error{Status: http.StatusTooManyRequests, RetryAfter: 30 * time.Second}}
		first := NewMessageQueue(map[string]Sender{"slack": down}, MessageQueueOptions{})
		stop := startQueue(t, first)
		postKey(t, first, "a", "slack")
		postKey(t, first, "b", "slack")
		synctest.Wait()
		stop()
		if got := first.listDeliveries(); len(got) != 0 {
			t.Fatalf("delivered %v, though nobody was told", got)
		}
		if err := first.Undelivered(); err == nil || strings.Count(err.Error(), "\n") != 1 {
			t.Errorf("undelivered: %v; want two messages", err)
		}
		second := NewMessageQueue(map[string]Sender{"slack": &recordingSender{}}, MessageQueueOptions{})
		stop = startQueue(t, second)
		postKey(t, second, "a", "slack")
		postKey(t, second, "b", "slack")
		stop()
		if diff := cmp.Diff([]string{"slack a", "slack b"}, second.listDeliveries()); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	})
}

// slowSender returns after a while, whatever its context says.
type slowSender struct{ recordingSender }

func (s *slowSender) Send(ctx context.Context, m Message) error {
	time.Sleep(time.Second) //nolint:forbidigo // in a bubble, where it takes no time
	return s.recordingSender.Send(ctx, m)
}

// TestD12Withdraw: a process that stops to lead takes its messages back, but for the one that a receiver is getting: its owner learns the end.
func TestD12Withdraw(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := &slowSender{}
		down := &recordingSender{always: &webhook.Error{Status: http.StatusTooManyRequests, RetryAfter: 30 * time.Second}}
		q := NewMessageQueue(map[string]Sender{"slow": slow, "down": down}, MessageQueueOptions{})
		stop := startQueue(t, q)
		for _, key := range []string{"a", "b"} {
			postKey(t, q, key, "slow", "down")
		}
		synctest.Wait()
		q.Withdraw(t.Context())
		if diff := cmp.Diff([]string{"slow a"}, q.listDeliveries()); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
		for _, name := range []string{"slow", "down"} {
			if d := q.Delivery(name, "b"); d.Posted {
				t.Errorf("%s still has the message: %+v", name, d)
			}
		}
		time.Sleep(time.Hour) //nolint:forbidigo // in a bubble, where it takes no time
		if _, holds := slow.listSends(); len(holds) != 1 || down.countAttempts() != 1 || q.Undelivered() != nil {
			t.Errorf("sent %v; %d attempts; %v", holds, down.countAttempts(), q.Undelivered())
		}
		postKey(t, q, "b", "slow") // it leads again
		time.Sleep(time.Hour)      //nolint:forbidigo // in a bubble, where it takes no time
		if d := q.Delivery("slow", "b"); !d.Done {
			t.Errorf("after another post: %+v", d)
		}
		stop()
	})
}

// TestD11GivingUpIsNotSilent: the delivery of a message that the receiver rejects has the error, and stands in Undelivered.
func TestD11GivingUpIsNotSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := NewMessageQueue(map[string]Sender{"slack": &recordingSender{always: &webhook.Error{Status: http.StatusBadRequest}}, "ok": &recordingSender{}}, MessageQueueOptions{})
		stop := startQueue(t, q)
		if q.Undelivered() != nil {
			t.Error("undelivered before the first message")
		}
		postKey(t, q, "a", "slack", "ok")
		synctest.Wait()
		if diff := cmp.Diff([]string{"ok a", "slack a failed"}, q.listDeliveries()); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
		if err := q.Undelivered(); err == nil || !strings.Contains(err.Error(), "notify slack") {
			t.Errorf("undelivered: %v", err)
		}
		stop()
	})
}

// TestD34QueueOutlivesAReload: messages wait across a change of the senders, and go to the new one at once.
func TestD34QueueOutlivesAReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := &recordingSender{always: &webhook.Error{Status: http.StatusTooManyRequests, RetryAfter: 10 * time.Minute}}
		q := NewMessageQueue(map[string]Sender{"slack": down, "gone": hangingSender{}}, MessageQueueOptions{})
		stop := startQueue(t, q)
		postKey(t, q, "a", "slack", "gone")
		postKey(t, q, "b", "slack", "gone")
		synctest.Wait()
		begin, up, other := time.Now(), &recordingSender{}, &recordingSender{}
		q.SetSenders(map[string]Sender{"slack": up, "new": other})
		synctest.Wait()
		if _, holds := up.listSends(); !slices.Equal(holds, []string{"a", "b"}) || time.Since(begin) != 0 {
			t.Errorf("after %s the new sender had %v", time.Since(begin), holds)
		}
		postKey(t, q, "c", "new")
		if err := q.Post([]string{"gone"}, Message{}); err == nil {
			t.Error("a removed notifier takes a message")
		}
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble, where it takes no time
		if diff := cmp.Diff([]string{"new c", "slack a", "slack b"}, q.listDeliveries()); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
		stop()
	})
}

// deafSender ignores its context.
type deafSender struct{ release chan struct{} }

func (s deafSender) Send(context.Context, Message) error { <-s.release; return nil }

// TestDeafSenderHoldsUpNobody: a sender that ignores its context delays neither other senders nor the end, and is called once at a time.
func TestDeafSenderHoldsUpNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		deaf, ok := deafSender{make(chan struct{})}, &recordingSender{}
		q := NewMessageQueue(map[string]Sender{"deaf": deaf, "ok": ok}, MessageQueueOptions{})
		stop := startQueue(t, q)
		for i := range 3 {
			postKey(t, q, fmt.Sprint(i), "deaf", "ok")
		}
		time.Sleep(time.Hour) //nolint:forbidigo // in a bubble, where it takes no time
		if _, holds := ok.listSends(); len(holds) != 3 {
			t.Errorf("the other has %v", holds)
		}
		if took := stop(); took > DefaultDrainTimeout {
			t.Errorf("the end took %s", took)
		}
		close(deaf.release)
	})
}

// TestSeveritiesAndKinds: a notifier gets the messages of its kinds, from its severity on, messages of no known kind and, if it keeps trouble open until
// then, those that end trouble.
func TestSeveritiesAndKinds(t *testing.T) {
	t.Parallel()
	few := []Kind{KindStarted, KindRolledBack}
	for _, c := range []struct {
		config  SenderConfig
		want    []string
		skipped float64
	}{
		{SenderConfig{kind: "slack", severity: SeverityWarning}, []string{"Yielded", "RolledBack", ""}, 3},
		{SenderConfig{kind: "pagerduty", severity: SeverityWarning}, []string{"Up", "Yielded", "RolledBack", "Ended", ""}, 1},
		{SenderConfig{kind: "slack", kinds: few}, []string{"Started", "RolledBack", ""}, 3},
		{SenderConfig{kind: "alertmanager", kinds: few}, []string{"Started", "Up", "RolledBack", "Ended", ""}, 1},
		{SenderConfig{kind: "slack", severity: SeverityWarning, kinds: few}, []string{"RolledBack", ""}, 4},
		{SenderConfig{kind: "slack", severity: SeverityCritical, kinds: few}.Unfiltered(), []string{"Started", "Up", "Yielded", "RolledBack", "Ended", ""}, 0},
	} {
		checkSentKinds(t, c.config, c.want, c.skipped)
	}
}

func checkSentKinds(t *testing.T, config SenderConfig, want []string, skipped float64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &recordingSender{}
		q := NewMessageQueue(map[string]Sender{"pager": &filteredSender{Sender: r, SenderConfig: config}}, MessageQueueOptions{})
		stop := startQueue(t, q)
		for _, k := range []Kind{KindStarted, KindUp, KindYielded, KindRolledBack, KindEnded, ""} {
			if err := q.Post([]string{"pager"}, Message{Kind: k, Key: "key " + string(k), Hold: string(k)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if _, holds := r.listSends(); !slices.Equal(holds, want) {
			t.Errorf("sent %q, want %q", holds, want)
		}
		if got := q.listDeliveries(); len(got) != 6 || q.countNotifications("pager", outcomeSkipped) != skipped {
			t.Errorf("deliveries %q, %v skipped", got, q.countNotifications("pager", outcomeSkipped))
		}
		stop()
	})
}

// TestKeysAreBounded: old deliveries are forgotten.
func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := NewMessageQueue(map[string]Sender{"slack": &recordingSender{}}, MessageQueueOptions{})
		stop := startQueue(t, q)
		for i := range maxSettled + 500 {
			postKey(t, q, fmt.Sprint(i), "slack")
			synctest.Wait()
		}
		if n := len(q.senders["slack"].keys); n > maxSettled {
			t.Errorf("%d keys", n)
		}
		stop()
	})
}
