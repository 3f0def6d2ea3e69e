package command

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		err := withCommandNotifiers(t.Context(), names, func(_ context.Context, queue *notify.Queue) error {
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
