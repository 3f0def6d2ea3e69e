package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestFamiliesPage(t *testing.T) {
	t.Parallel()
	page := familiesPage(3, 2*time.Second)
	if got := bytes.Count(page, []byte("\n")) - bytes.Count(page, []byte("#")); got != 6 {
		t.Errorf("%d series, want 6:\n%s", got, page)
	}
	if want := orders + `{code="200",route="/v1/orders/2/{id}"} 102` + "\n"; !strings.HasSuffix(string(page), want) {
		t.Errorf("page ends with other than %q:\n%s", want, page)
	}
}

func TestMemoryReport(t *testing.T) {
	t.Parallel()
	var all []*holding
	for i, p := range measurable {
		h := &holding{population: p}
		h.resident, h.elapsed = []int64{50e6, 60e6, 82e6, 140e6}[i], time.Second
		all = append(all, h)
	}
	report := (&memory{}).formatMemory(all)
	const want = "20.0 KB a target with two series and its pod; 1.00 KB a series"
	if !strings.Contains(report, want) {
		t.Errorf("the report lacks %q:\n%s", want, report)
	}
}
