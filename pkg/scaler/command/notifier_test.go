package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// TestUndelivered: a message of --notify that the receiver rejects is an error of the command, and after a success the exit code says that
// the change stays.
func TestUndelivered(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	defer receiver.Close()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(receiver.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("rolled back")
	for _, outcome := range []error{nil, failed} {
		names := []string{"webhook:" + file}
		err := withCommandNotifiers(t.Context(), names, func(_ context.Context, queue *notify.MessageQueue) error {
			return errors.Join(outcome, queue.Post(names, notify.Message{Kind: notify.KindUp, Outcome: "up: 2 replicas"}))
		})
		if err == nil || !strings.Contains(err.Error(), "up: 2 replicas") || !errors.Is(err, outcome) && outcome != nil {
			t.Fatalf("after %v: %v", outcome, err)
		}
		if coded := (exitError{}); errors.As(err, &coded) != (outcome == nil) || outcome == nil && coded.code != ExitUnfinished {
			t.Errorf("after %v: exit code %d", outcome, coded.code)
		}
	}
}

// startMessageReceiver returns the name of a notifier, and a function that returns the messages that its receiver has.
func startMessageReceiver(t *testing.T) (name string, listMessages func() []notify.Message) {
	t.Helper()
	var mu sync.Mutex // guards received
	var received []notify.Message
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m notify.Message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		received = append(received, m)
	}))
	t.Cleanup(receiver.Close)
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(receiver.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	return "webhook:" + file, func() []notify.Message {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(received)
	}
}

// addReadyPods adds n ready pods of deployment/shop.
func (a *fakeAPI) addReadyPods(n int) {
	for i := range n {
		name := fmt.Sprintf("shop-%d", i)
		a.objects["/api/v1/namespaces/sale/pods/"+name] = map[string]any{
			"apiVersion": "v1", "kind": "Pod", "spec": map[string]any{},
			"metadata": map[string]any{"name": name, "namespace": "sale", "creationTimestamp": "2026-11-27T00:00:00Z", "labels": map[string]any{"app": "shop"}},
			"status":   map[string]any{"phase": "Running", "conditions": []any{map[string]any{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-27T00:00:05Z"}}},
		}
	}
}

// addAutoscaler adds an autoscaler of deployment/shop, from 2 to 10 replicas.
func (a *fakeAPI) addAutoscaler() {
	a.objects["/apis/autoscaling/v2/namespaces/sale/horizontalpodautoscalers/shop"] = map[string]any{
		"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": map[string]any{"name": "shop", "namespace": "sale", "uid": "shop"},
		"spec": map[string]any{"minReplicas": 2, "maxReplicas": 10, "scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}},
	}
}

// TestD11SetNotifies: set posts one message to each notifier of --notify. Without --wait it says what the hold asks for, with --wait its outcome.
func TestD11SetNotifies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		code int
		want notify.Message // without what all have in common
	}{
		"without --wait": {nil, ExitDone, notify.Message{Kind: notify.KindStarted, Severity: notify.SeverityInfo, Outcome: "asked for 3 replicas, from 2"}},
		"with --wait":    {[]string{"--wait"}, ExitDone, notify.Message{Kind: notify.KindUp, Severity: notify.SeverityInfo, Outcome: "up: 3 replicas", Why: "no verification"}},
		"rejected": {[]string{"--replicas", "11"}, ExitFailed, notify.Message{
			Kind: notify.KindRolledBack, Severity: notify.SeverityCritical, Outcome: "failed: 2 replicas",
			Why: "rejected: autoscaler shop allows at most 10 replicas; the hold asks for 11: raise its maxReplicas, or set the hold's maxReplicas",
		}},
		"dry run": {[]string{"--dry-run"}, ExitDone, notify.Message{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newFakeAPI(t)
			a.addReadyPods(3)
			if c.code == ExitFailed {
				a.addAutoscaler()
			}
			one, listMessagesOfOne := startMessageReceiver(t)
			two, listMessagesOfTwo := startMessageReceiver(t)
			args := append([]string{"set", "deploy/shop", "--replicas", "3", "--within", "20s", "--reason", "launch", "--notify", one, "--notify", two}, c.args...)
			before := time.Now()
			out, errs, code := a.run(t, args...)
			if code != c.code {
				t.Fatalf("exit code %d: %s%s", code, out, errs)
			}
			var want []notify.Message
			if m := c.want; m.Kind != "" {
				m.Workload = hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
				m.Hold, m.Reason, m.By = "set/launch", "launch", IdentifyCaller()
				want = append(want, m)
			}
			for _, got := range [][]notify.Message{listMessagesOfOne(), listMessagesOfTwo()} {
				for i := range got {
					if at := &got[i].Time; at.Before(before) || at.After(time.Now()) {
						t.Errorf("the message is of %s", at)
					}
					got[i].Time = time.Time{}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("messages (-want +got):\n%s", diff)
				}
			}
		})
	}
}
