package notify

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// newWindowStory returns the messages about a window of a schedule: it begins and ends, and one pod is lost in between.
func newWindowStory() (all []Message) {
	at := time.Date(2026, 11, 27, 7, 0, 0, 0, time.UTC)
	for _, m := range []Message{
		{Kind: KindStarted, Outcome: "asked for 8 replicas, from 2"},
		{Kind: KindUp, Outcome: "up: 8 replicas"},
		{Kind: KindRolledBack, Outcome: "failed and rolled back to 2 replicas", Why: "1 of 8 pods not ready after 5m0s: 1 pending"},
		{Kind: KindUp, Outcome: "up: 8 replicas"},
		{Kind: KindEnded, Outcome: "ended: 2 replicas"},
	} {
		m.Time, m.Hold, m.By = at, "schedule/office-hours", "schedule office-hours"
		m.Workload = hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web"}
		all, at = append(all, m.withMessageSeverity()), at.Add(time.Hour)
	}
	return all
}

// TestWindowStory is the story that a receiver of each kind shows of a window, one line a message: each names the workload and the hold, and incidents end.
func TestWindowStory(t *testing.T) {
	t.Parallel()
	var body []byte
	var header http.Header
	url := startMessageReceiver(t, &body, &header)
	file, key := writeURLFile(t, url), writeSecretFile(t, "R0UTE")
	var story strings.Builder
	for _, config := range []string{
		"slack: {urlFile: FILE}", "teams: {urlFile: FILE}", "pagerduty: {urlFile: FILE, routingKeyFile: KEY}", "webhook: {urlFile: FILE}",
		"slack: {urlFile: FILE, kinds: [rolledBack, ended]}", "pagerduty: {urlFile: FILE, routingKeyFile: KEY, kinds: [rolledBack]}", "slack: {urlFile: FILE, kinds: [up, rolledBack], severity: critical}",
	} {
		c, err := decodeNotifyYAML(strings.NewReplacer("FILE", file, "KEY", key, "}", ", allowAddresses: [127.0.0.1]}").Replace(config))
		if err != nil {
			t.Fatal(err)
		}
		story.WriteString(config + "\n")
		for _, m := range newWindowStory() {
			body = nil
			if err := c.NewSender(SenderOptions{}).Send(t.Context(), m); err != nil && !errors.Is(err, errNotMeant) {
				t.Fatal(err)
			}
			story.WriteString("\t" + string(m.Kind) + ": " + describeShownMessage(t, body) + "\n")
		}
	}
	golden.Compare(t, "testdata/window.txt", story.String())
}

// describeShownMessage returns the texts of a body in their order; a dash without a body.
func describeShownMessage(t *testing.T, body []byte) string {
	t.Helper()
	if body == nil {
		return "-"
	}
	var m struct {
		Text    string `json:"text"`
		Action  string `json:"event_action"`
		Key     string `json:"dedup_key"`
		Payload struct {
			Summary  string `json:"summary"`
			Severity string `json:"severity"`
		} `json:"payload"`
		Attachments []struct {
			Content struct {
				Body []teamsElement `json:"body"`
			} `json:"content"`
		} `json:"attachments"`
		Outcome  string `json:"outcome"`
		Hold     string `json:"hold"`
		Severity string `json:"severity"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	shown := []string{m.Text, m.Action, m.Key, m.Payload.Severity, m.Payload.Summary, m.Outcome, m.Hold, m.Severity}
	for _, a := range m.Attachments {
		for _, e := range a.Content.Body {
			shown = append(shown, e.Text)
			for _, f := range e.Facts {
				shown = append(shown, f.Title+" "+f.Value)
			}
		}
	}
	return strings.Join(strings.FieldsFunc(strings.Join(shown, "\n"), func(r rune) bool { return r == '\n' }), " | ")
}
