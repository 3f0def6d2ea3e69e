package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// toldStore is the owner's side of an outbox: it stores receipts.
type toldStore struct {
	mu       sync.Mutex // guards receipts
	receipts []string
}

func (s *toldStore) storeReceipt(r Receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := r.Notifier + " " + r.Key
	if r.Err != nil {
		text += " failed"
	}
	s.receipts = append(s.receipts, text)
}

func (s *toldStore) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.receipts)
}

func postKey(t *testing.T, q *Queue, key string, names ...string) {
	t.Helper()
	if err := q.Post(names, Message{Key: key, Kind: KindRolledBack, Hold: key}); err != nil {
		t.Fatal(err)
	}
}

// TestD12AlertIsToldOnce: a key that is posted again and again is sent once, and each later post gets the receipt again.
func TestD12AlertIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, store := &recordingSender{errs: []error{errors.New("down")}}, &toldStore{}
		q := NewQueue(map[string]Sender{"slack": r}, QueueOptions{Told: store.storeReceipt})
		stop := startQueue(t, q)
		for range 5 {
			postKey(t, q, "a", "slack")
			synctest.Wait()
		}
		if got := store.list(); len(got) != 0 {
			t.Errorf("told %v before the receiver took it", got)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble, where it takes no time
		postKey(t, q, "a", "slack")
		synctest.Wait()
		if diff := cmp.Diff([]string{"slack a", "slack a"}, store.list()); diff != "" {
			t.Errorf("receipts (-want +got):\n%s", diff)
		}
		if _, holds := r.listSends(); len(holds) != 1 {
			t.Errorf("sent %v", holds)
		}
		time.Sleep(2 * toldTTL) //nolint:forbidigo // in a bubble, where it takes no time
		postKey(t, q, "a", "slack")
		synctest.Wait()
		if _, holds := r.listSends(); len(holds) != 2 {
			t.Errorf("long after: sent %v", holds)
		}
		stop()
	})
}

// TestD12KilledWhileItWaits: a message that waits when the process stops has no receipt, so that the next process sends it.
func TestD12KilledWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &toldStore{}
		down := &recordingSender{always: &webhook.Error{Status: http.StatusTooManyRequests, RetryAfter: 30 * time.Second}}
		first := NewQueue(map[string]Sender{"slack": down}, QueueOptions{Told: store.storeReceipt})
		stop := startQueue(t, first)
		postKey(t, first, "a", "slack")
		postKey(t, first, "b", "slack")
		synctest.Wait()
		stop()
		if got := store.list(); len(got) != 0 {
			t.Fatalf("told %v, though nobody was", got)
		}
		if err := first.Undelivered(); err == nil || strings.Count(err.Error(), "\n") != 1 {
			t.Errorf("undelivered: %v; want two messages", err)
		}
		up := &recordingSender{}
		second := NewQueue(map[string]Sender{"slack": up}, QueueOptions{Told: store.storeReceipt})
		stop = startQueue(t, second)
		postKey(t, second, "a", "slack")
		postKey(t, second, "b", "slack")
		stop()
		if diff := cmp.Diff([]string{"slack a", "slack b"}, store.list()); diff != "" {
			t.Errorf("receipts (-want +got):\n%s", diff)
		}
	})
}

// TestD11GivingUpIsNotSilent: a message that the receiver rejects has a receipt with the error, and stands in Undelivered.
func TestD11GivingUpIsNotSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &toldStore{}
		q := NewQueue(map[string]Sender{"slack": &recordingSender{always: &webhook.Error{Status: http.StatusBadRequest}}, "ok": &recordingSender{}}, QueueOptions{Told: store.storeReceipt})
		stop := startQueue(t, q)
		if q.Undelivered() != nil {
			t.Error("undelivered before the first message")
		}
		postKey(t, q, "a", "slack", "ok")
		synctest.Wait()
		got := store.list()
		slices.Sort(got)
		if diff := cmp.Diff([]string{"ok a", "slack a failed"}, got); diff != "" {
			t.Errorf("receipts (-want +got):\n%s", diff)
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
		store := &toldStore{}
		down := &recordingSender{always: &webhook.Error{Status: http.StatusTooManyRequests, RetryAfter: 10 * time.Minute}}
		q := NewQueue(map[string]Sender{"slack": down, "gone": hangingSender{}}, QueueOptions{Told: store.storeReceipt})
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
		got := store.list()
		slices.Sort(got)
		if diff := cmp.Diff([]string{"gone a failed", "gone b failed", "new c", "slack a", "slack b"}, got); diff != "" {
			t.Errorf("receipts (-want +got):\n%s", diff)
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
		q := NewQueue(map[string]Sender{"deaf": deaf, "ok": ok}, QueueOptions{})
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

// TestSeverities: a notifier gets the messages from its severity on, and messages of no known kind.
func TestSeverities(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, store := &recordingSender{}, &toldStore{}
		q := NewQueue(map[string]Sender{"pager": &severitySender{Sender: r, lowest: SeverityWarning}}, QueueOptions{Told: store.storeReceipt})
		stop := startQueue(t, q)
		for _, k := range []Kind{KindStarted, KindUp, KindYielded, KindRolledBack, KindEnded, ""} {
			if err := q.Post([]string{"pager"}, Message{Kind: k, Key: "key " + string(k), Hold: string(k)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if _, holds := r.listSends(); !slices.Equal(holds, []string{"Yielded", "RolledBack", ""}) {
			t.Errorf("sent %q", holds)
		}
		if got := store.list(); len(got) != 6 || q.countNotifications("pager", outcomeSkipped) != 3 {
			t.Errorf("receipts %q, %v skipped", got, q.countNotifications("pager", outcomeSkipped))
		}
		stop()
	})
}

// TestKeysAreBounded: receipts are forgotten.
func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(map[string]Sender{"slack": &recordingSender{}}, QueueOptions{})
		stop := startQueue(t, q)
		for i := range maxTold + 500 {
			postKey(t, q, fmt.Sprint(i), "slack")
			synctest.Wait()
		}
		if n := len(q.senders["slack"].keys); n > maxTold {
			t.Errorf("%d keys", n)
		}
		stop()
	})
}
