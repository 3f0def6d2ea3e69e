package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// auditLogLine returns a line as kube-apiserver writes it, with the read fields only.
func auditLogLine(at time.Time, user, verb, uri, stage, resource string, code int) string {
	return fmt.Sprintf(`{"kind":"Event","stage":%q,"verb":%q,"requestURI":%q,"user":{"username":%q,"groups":["g"]},"objectRef":{"resource":%q},`+
		`"responseStatus":{"code":%d,"message":"why"},"requestReceivedTimestamp":%q,"stageTimestamp":%q}`+"\n",
		stage, verb, uri, user, resource, code, at.Format(time.RFC3339Nano), at.Add(3*time.Millisecond).Format(time.RFC3339Nano))
}

func TestParseAudit(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const hpa = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	log := auditLogLine(at(-1), hpa, "list", "/a", "ResponseComplete", "pods", 200) + // before
		auditLogLine(at(1), hpa, "list", "/a", "ResponseComplete", "pods", 200) +
		auditLogLine(at(2), hpa, "list", "/b", "ResponseComplete", "pods", 503) +
		auditLogLine(at(16), hpa, "list", "/a", "ResponseComplete", "pods", 200) +
		auditLogLine(at(17.5), hpa, "list", "/b", "ResponseComplete", "pods", 200) +
		auditLogLine(at(3), adapterUser, "create", "/r", "ResponseComplete", "subjectaccessreviews", 201) +
		auditLogLine(at(4), adapterUser, "watch", "/p", "ResponseStarted", "pods", 200) +
		auditLogLine(at(4), adapterUser, "watch", "/p", "ResponseComplete", "pods", 200) + // the same watch
		auditLogLine(at(5), adapterUser, "get", "/apis?timeout=1s", "ResponseComplete", "", 200) +
		auditLogLine(at(99), hpa, "list", "/a", "ResponseComplete", "pods", 200) + // after
		`{"stage":"Respo` // an unfinished line
	a, err := parseAudit(strings.NewReader(log), start, at(60))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"/a": 2, "/b": 2}, a.read); diff != "" || a.reads != 4 || a.refused != 1 || a.reason != "503 why" {
		t.Errorf("reads %d, %d refused (%s): %s", a.reads, a.refused, a.reason, diff)
	}
	if diff := cmp.Diff(figures{15 * time.Second, 15500 * time.Millisecond}, a.periods); diff != "" {
		t.Errorf("periods: %s", diff)
	}
	if got := a.latency.nearestFigureRank(1); got != 3*time.Millisecond {
		t.Errorf("latency %v, want 3 ms", got)
	}
	if got, want := a.listAuditedRequestKinds(), "create subjectaccessreviews 1, get /apis 1, watch pods 1"; got != want || a.requests != 3 {
		t.Errorf("%d requests of the adapter: %q, want %q", a.requests, got, want)
	}
	if _, err := parseAudit(strings.NewReader("no JSON\n"), start, at(60)); err == nil {
		t.Error("a log that is none was read")
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	var f figures
	for i := 20; i > 0; i-- {
		f = append(f, time.Duration(i)*time.Second)
	}
	for q, want := range map[float64]time.Duration{0: time.Second, 0.5: 10 * time.Second, 0.95: 19 * time.Second, 1: 20 * time.Second} {
		if got := f.nearestFigureRank(q); got != want {
			t.Errorf("quantile %v = %v, want %v", q, got, want)
		}
	}
	if got, want := f.formatFigureRange(), "10.0 (1.0 to 20.0)"; got != want {
		t.Errorf("range = %q, want %q", got, want)
	}
	if got := figures(nil).nearestFigureRank(0.5); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
}
