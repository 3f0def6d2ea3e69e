package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	logsapi "k8s.io/component-base/logs/api/v1"
)

func TestLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger, _ := factory{"tachometer-scaler"}.Create(logsapi.LoggingConfiguration{Verbosity: 1}, logsapi.LoggingOptions{ErrorStream: &out})
	logger.Info("Workload raised", "workload", "shop", "retryIn", 1500*time.Millisecond)
	logger.V(1).Info("Page read")
	logger.V(2).Info("Not written")
	logger.Error(errors.New("connection refused"), "Pod not reached", "pod", "shop-1")

	want := []map[string]any{
		{"level": "info", "service": "tachometer-scaler", "msg": "Workload raised", "workload": "shop", "retryIn": "1.5s", "v": 0.},
		{"level": "debug", "service": "tachometer-scaler", "msg": "Page read", "v": 1.},
		{"level": "error", "service": "tachometer-scaler", "msg": "Pod not reached", "pod": "shop-1", "err": "connection refused"},
	}
	var got []map[string]any
	for dec := json.NewDecoder(&out); dec.More(); {
		var line map[string]any
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		ts, _ := line["ts"].(string)
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`).MatchString(ts) {
			t.Errorf("ts %q is not RFC 3339 in UTC with milliseconds", ts)
		}
		if caller, _ := line["caller"].(string); !regexp.MustCompile(`^logging/logging_test\.go:\d+$`).MatchString(caller) {
			t.Errorf("caller %q", caller)
		}
		delete(line, "ts")
		delete(line, "caller")
		got = append(got, line)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestConfigurationIsJSON(t *testing.T) {
	t.Parallel()
	for range 2 { // two programs in one process
		c := NewConfiguration("test")
		if c.Format != logsapi.JSONLogFormat {
			t.Fatalf("format %q", c.Format)
		}
		if err := logsapi.Validate(c, nil, nil).ToAggregate(); err != nil {
			t.Error(err)
		}
	}
}
