package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// alertReceiver is a receiver of messages that rejects all of them until it is up.
type alertReceiver struct {
	url string

	mu       sync.Mutex // guards the fields below
	up       bool
	rejected int
	taken    map[string]int // by key
}

func newAlertReceiver(t *testing.T) *alertReceiver {
	t.Helper()
	r := &alertReceiver{taken: map[string]int{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// ServeHTTP implements http.Handler.
func (r *alertReceiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var m notify.Message
	err := json.NewDecoder(request.Body).Decode(&m)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case !r.up:
		r.rejected++
		http.Error(w, "away", http.StatusServiceUnavailable)
	default:
		r.taken[m.Key]++
	}
}

// judgeMessages returns how many messages were rejected, and an error unless one was taken, and none twice.
func (r *alertReceiver) judgeMessages() (rejected int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.taken) == 0 {
		err = fmt.Errorf("no message came; %d were rejected", r.rejected)
	}
	for key, times := range r.taken {
		if times > 1 {
			err = fmt.Errorf("message %s came %d times", key, times)
		}
	}
	return r.rejected, err
}

// longestReloadPause is far below the time for which the alert waits.
const longestReloadPause = 5 * time.Second

// newAlertConfig returns a configuration with a notifier, and a schedule of a kind that is not installed.
func newAlertConfig(t *testing.T, url string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(url), 0o600); err != nil {
		t.Fatal(err)
	}
	schedules := "schedules:\n- name: trade\n  namespace: NAMESPACE\n  workloads: [argoproj.io/v1alpha1/Rollout/web]\n" +
		"  windows: [{start: \"00:00\", end: \"24:00\", minReplicas: 4}]\n"
	config := strings.Replace(saleConfig, "schedules:\n", schedules, 1)
	config = strings.Replace(config, "workloads: [deploy/shop]\n", "workloads: [deploy/shop]\n  notify: [oncall]\n", 1)
	return config + fmt.Sprintf("notify:\n  oncall: {webhook: {urlFile: %s, allowAddresses: [127.0.0.0/8]}}\n", file)
}

// TestD34ReloadWithWaitingAlert: while an alert waits for its receiver, a change of the configuration may interrupt the delivery of an event (status 503:
// send it again), but the next attempts are taken, and the alert comes once. A kind that is not installed (D7) ends neither the program nor the other
// workloads' holds.
func TestD34ReloadWithWaitingAlert(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	receiver := newAlertReceiver(t)
	s := startScalerWith(t, buildScaler(t), namespace, newAlertConfig(t, receiver.url))
	awaitMinReplicas(t, namespace, 4)
	eventually(t, time.Minute, func(context.Context) error {
		if rejected, _ := receiver.judgeMessages(); rejected == 0 {
			return errors.New("no message waits")
		}
		return nil
	})
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	for reload := range 3 {
		s.configure(t, string(text)+fmt.Sprintf("# change %d\n", reload))
		for i := range 30 {
			id, began := fmt.Sprintf("sale-%d-%d", reload, i), time.Now()
			eventually(t, time.Minute, func(ctx context.Context) error { return s.post(ctx, id, "END") })
			if took := time.Since(began); took > longestReloadPause {
				t.Errorf("change %d, event %d: taken after %s, want at most %s", reload, i, took, longestReloadPause)
			}
			retry.Sleep(t.Context(), 100*time.Millisecond)
		}
	}
	receiver.mu.Lock()
	receiver.up = true
	receiver.mu.Unlock()
	eventually(t, 2*time.Minute, func(context.Context) error { _, err := receiver.judgeMessages(); return err })
	if err := s.process.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the program has ended: %v", err)
	}
	if out, err := shared.Kubectl(t.Context(), "-n", namespace, "get", "holds", "-o", "yaml"); err != nil || !strings.Contains(string(out), "kind: Rollout") {
		t.Errorf("%v: no hold of the kind that is not installed:\n%s", err, out)
	}
	if err := s.post(t.Context(), "start", "START"); err != nil {
		t.Fatal(err)
	}
	awaitMinReplicas(t, namespace, 9)
}
