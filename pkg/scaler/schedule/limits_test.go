package schedule

import (
	"fmt"
	"strings"
	"testing"
)

// TestTooManyWindows: a schedule with more windows than the leader can search is a fault, found before any window is searched.
func TestTooManyWindows(t *testing.T) {
	t.Parallel()
	for windows, want := range map[int]string{maxWindows: "", maxWindows + 1: "windows: has 501 elements", 10_000: "windows: has 10000 elements"} {
		var text strings.Builder
		text.WriteString(scheduleHeader + "- name: s\n  namespace: n\n  workloads: [deploy/a]\n  windows:\n")
		for i := range windows {
			fmt.Fprintf(&text, "  - {cron: \"%d %d * * *\", for: 24h, minReplicas: 3}\n", i%60, i/60%24)
		}
		if _, err := loadSchedules([]byte(text.String())); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d windows: %v; want %q", windows, err, want)
		}
	}
}
