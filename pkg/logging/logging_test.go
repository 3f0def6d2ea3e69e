package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2/textlogger"
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

// TestLinesAreHarmless: a terminal obeys no text of a line, neither by characters below a blank nor by C1 controls, marks of direction or unseen
// letters. The texts stay as they are.
func TestLinesAreHarmless(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger, _ := factory{"tachometer-scaler"}.Create(logsapi.LoggingConfiguration{}, logsapi.LoggingOptions{ErrorStream: &out})
	text := "\x1b[2J\u009b2J\x7f \u202edrow\u202c \u2066x\u2069 \u200b\u200d\ufeff\U000e0041 \u2028 \"ä\""
	logger.Error(errors.New(text), "Event not taken", "event", text, text, 1)
	obeyed := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if i := strings.IndexFunc(out.String(), obeyed); i >= 0 {
		t.Errorf("%q", out.String()[i:])
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["err"] != text || line["event"] != text || line[text] != 1. {
		t.Errorf("%q", line)
	}
}

// TestTextIsHarmless: with --logging-format=text a value of several lines contains nothing that a terminal obeys.
func TestTextIsHarmless(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(harmlessTextWriter{&out})))
	logger.Error(errors.New("denied\n\x1b[2J\u009b2J\u202edrow"), "Event not taken")
	obeyed := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if i := strings.IndexFunc(out.String(), obeyed); i >= 0 || !strings.Contains(out.String(), `\x1b[2J`) {
		t.Errorf("%q", &out)
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
