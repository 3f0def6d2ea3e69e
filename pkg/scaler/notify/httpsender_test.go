package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

func newTestMessage() Message {
	ms := func(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Millisecond} }
	slow := verify.Summary{Requests: 20, Failed: 1, Success: 0.95, P50: ms(80), P95: ms(290), P99: ms(312), Max: ms(340), Causes: map[string]int{"status 503": 1}}
	return Message{
		Time: time.Date(2026, 11, 27, 8, 0, 5, 0, time.FixedZone("", 3600)), Outcome: "failed and rolled back to 2 replicas",
		Workload: hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"},
		Hold:     "event/flash-sale/black-friday", Reason: "Black Friday <!channel> & more", By: "event 4711", Why: "p99 312ms, at most 250ms",
		Report: &verify.Report{
			Pods:     []verify.PodReport{{Name: "shop-1", Readiness: "ok", Summary: slow}},
			New:      slow,
			Verdicts: []verify.Verdict{{What: "p99", Got: "312ms", Limit: "at most 250ms"}},
		},
	}
}

// startMessageReceiver starts a receiver that keeps its last body and header, and returns its URL.
func startMessageReceiver(t *testing.T, body *[]byte, header *http.Header) func() (string, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		*body, _ = io.ReadAll(r.Body)
		*header = r.Header
	}))
	t.Cleanup(server.Close)
	return func() (string, error) { return server.URL + "/hush", nil }
}

func compareGoldenJSON(t *testing.T, name string, got []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got, "", "  "); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	pretty.WriteByte('\n')
	file := filepath.Join("testdata", name)
	golden.Compare(t, file, pretty.String())
}

func TestGolden(t *testing.T) {
	t.Parallel()
	short := newTestMessage()
	short.Reason, short.By, short.Why, short.Report = "", "", "", nil
	short.Outcome = "up: 20 replicas"
	failed := newTestMessage()
	critical := newTestMessage()
	critical.Kind, critical.Key, critical.Why = KindRolledBack, "8d3f/RolledBack/3", "p99 312ms, at most 250ms [see](http://there)"
	resolved := short
	resolved.Kind = KindUp
	yielded := short
	yielded.Kind, yielded.Outcome = KindYielded, "somebody set 3 replicas; it is left so"
	for name, m := range map[string]Message{
		"failed": failed, "up": short, "critical": critical.withMessageSeverity(), "resolved": resolved.withMessageSeverity(), "yielded": yielded.withMessageSeverity(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var body []byte
			var header http.Header
			url := startMessageReceiver(t, &body, &header)
			if err := NewWebhook(url, SenderOptions{Headers: map[string]string{"x-team": "shop"}}).Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			compareGoldenJSON(t, "webhook-"+name+".json", body)
			if header.Get("X-Team") != "shop" {
				t.Errorf("header %v", header)
			}
			var back Message
			if err := json.Unmarshal(body, &back); err != nil || !back.Time.Equal(m.Time) || back.Workload != m.Workload || back.Hold != m.Hold {
				t.Errorf("read back as %+v, %v", back, err)
			}
			if err := NewSlack(url, SenderOptions{}).Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			compareGoldenJSON(t, "slack-"+name+".json", body)
			for kind, s := range map[string]Sender{
				"teams": NewTeams(url, SenderOptions{}), "alertmanager": NewAlertmanager(url, SenderOptions{}),
				"pagerduty": NewPagerDuty(url, func() (string, error) { return "R0UTE", nil }, SenderOptions{}),
			} {
				if err := s.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				compareGoldenJSON(t, kind+"-"+name+".json", body)
			}
		})
	}
}

// TestSlackBounds checks the limits of Slack's reference: 50 blocks, 3000 characters of text, 2000 a field.
func TestSlackBounds(t *testing.T) {
	t.Parallel()
	m := newTestMessage()
	long := strings.Repeat("<&ü>", 5000)
	m.Outcome, m.Hold, m.Reason, m.By, m.Why, m.Workload.Name = long, long, long, long, long, long
	for i := range 500 {
		m.Report.Pods = append(m.Report.Pods, verify.PodReport{Name: fmt.Sprintf("shop-<%d>", i), Readiness: "ok"})
	}
	body := newSlackBody(m)
	for _, b := range body.Blocks {
		if b.Text != nil && utf8.RuneCountInString(b.Text.Text) > 3000 {
			t.Errorf("text of %d", utf8.RuneCountInString(b.Text.Text))
		}
		for _, f := range b.Fields {
			if utf8.RuneCountInString(f.Text) > 2000 {
				t.Errorf("field of %d", utf8.RuneCountInString(f.Text))
			}
		}
	}
	data, err := json.Marshal(body)
	if err != nil || len(body.Blocks) > 50 {
		t.Fatalf("%d blocks, %v", len(body.Blocks), err)
	}
	if !bytes.Contains(data, []byte("at most 250ms")) {
		t.Error("the verdict is cut off")
	}
}

func TestTableOfAnything(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*verify.Report{
		"empty":         {},
		"one long line": {Verdicts: []verify.Verdict{{What: strings.Repeat("<", 9000)}}},
	} {
		if got := utf8.RuneCountInString(formatSlackTable(r)); got > 3000 {
			t.Errorf("%s: %d characters", name, got)
		}
	}
}

// TestTableStaysPreformatted: no text of a report ends the preformatted text of its table.
func TestTableStaysPreformatted(t *testing.T) {
	t.Parallel()
	table := formatSlackTable(&verify.Report{Verdicts: []verify.Verdict{{What: "a ``` *rolled back* ```"}}})
	if got := strings.Count(table, "`"); got != len("``````") {
		t.Errorf("%d backquotes in %q; want those at the start and the end", got, table)
	}
}

// TestIncidentsAreApart: two holds with a long name have incidents of their own.
func TestIncidentsAreApart(t *testing.T) {
	t.Parallel()
	keys := map[string]bool{}
	for _, name := range []string{"a", "b"} {
		for _, id := range []string{name, strings.Repeat("é", 300) + name} {
			key := newPagerDutyBody("", Message{Hold: id}).DedupKey
			if n := utf8.RuneCountInString(key); n > maxDedupKeyChars {
				t.Errorf("%d characters", n)
			}
			keys[key] = true
		}
	}
	if len(keys) != 4 {
		t.Errorf("%d keys of 4 holds: %v", len(keys), keys)
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"<!channel>": "&lt;!ch…", "a&b": "a&amp;b", "ab": "ab", "üüüüüüü": "üüüüüüü", "üüüüüüüü": "üüüüüüü…", "": "",
	} {
		if got := escapeSlackText(in, 7); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := escapeSlackText("<!channel>", 100); got != "&lt;!channel&gt;" {
		t.Errorf("got %q", got)
	}
}

// TestTextsMakeNoLinks: a text of others makes no link, no mention and no line of its own in a chat.
func TestTextsMakeNoLinks(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`[a](http://there)`: `\[a\](http://there)`, `\[a\](http://there)`: `\\\[a\\\](http://there)`, `![a](b)`: `!\[a\](b)`, `C:\dir`: `C:\\dir`,
	} {
		if got := escapeTeamsText(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	m := newTestMessage()
	m.By, m.Why = "ci @channel http://there <http://there|x>\n*Hold*", "a\u202eb\u009b\r\nc"
	q := NewMessageQueue(map[string]Sender{"chat": nil}, MessageQueueOptions{})
	if err := q.Post([]string{"chat"}, m); err != nil {
		t.Fatal(err)
	}
	posted := q.senders["chat"].waiting[0].Message
	if posted.By != "ci @channel http://there <http://there|x> *Hold*" || posted.Why != `a\u202eb\u009b  c` {
		t.Errorf("posted by %q: %q", posted.By, posted.Why)
	}
	for _, b := range newSlackBody(posted).Blocks {
		for _, text := range append(append(b.Fields, b.Elements...), slackText{Verbatim: true}) {
			if !text.Verbatim || strings.Contains(text.Text, "<http") || b.Text != nil && !b.Text.Verbatim {
				t.Errorf("Slack makes links of %+v", b)
			}
		}
	}
}

func TestSendersHideTheURL(t *testing.T) {
	t.Parallel()
	gone := errors.New("no such Secret")
	for name, url := range map[string]func() (string, error){
		"dead port": func() (string, error) { return "http://127.0.0.1:1/hush", nil },
		"no URL":    func() (string, error) { return "hush", nil },
		"unread":    func() (string, error) { return "", gone },
	} {
		for _, s := range []Sender{
			NewSlack(url, SenderOptions{}), NewWebhook(url, SenderOptions{}), NewTeams(url, SenderOptions{}), NewAlertmanager(url, SenderOptions{}),
			NewPagerDuty(url, func() (string, error) { return "hush", nil }, SenderOptions{}),
		} {
			err := s.Send(t.Context(), newTestMessage())
			if err == nil || strings.Contains(err.Error(), "hush") {
				t.Errorf("%s: %v", name, err)
			}
			var e *webhook.Error
			if !errors.As(err, &e) && !errors.Is(err, gone) {
				t.Errorf("%s: the cause is lost: %v", name, err)
			}
		}
	}
}

// TestNewsIsNoIncident: receivers of trouble are not told that a hold begins, for the first time or after a pause.
func TestNewsIsNoIncident(t *testing.T) {
	t.Parallel()
	url := func() (string, error) { return "http://127.0.0.1:1/hush", nil }
	for _, s := range []Sender{NewAlertmanager(url, SenderOptions{}), NewPagerDuty(url, url, SenderOptions{})} {
		for _, k := range []Kind{KindStarted, KindResumed} {
			if err := s.Send(t.Context(), Message{Kind: k}); !errors.Is(err, errNotMeant) {
				t.Errorf("%T, %s: %v", s, k, err)
			}
		}
	}
}

// TestAlertmanagerURL: the path of the API may be in the URL.
func TestAlertmanagerURL(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"http://a:9093", "http://a:9093/", "http://a:9093/api/v2/alerts"} {
		a := NewAlertmanager(func() (string, error) { return text, nil }, SenderOptions{})
		if got, err := a.readURL(); err != nil || got != "http://a:9093/api/v2/alerts" {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}

// TestLongMessagesFit: Teams takes a card of 28 KB, PagerDuty a summary of 1024 and a key of 255 characters.
func TestLongMessagesFit(t *testing.T) {
	t.Parallel()
	m := newTestMessage()
	for _, text := range []string{"[", "<", `"`, "ü", "😀"} {
		long := strings.Repeat(text, 50_000)
		m.Kind, m.Outcome, m.Hold, m.Reason, m.By, m.Why, m.Workload.Name = KindRolledBack, long, long, long, long, long, long
		card, err := json.Marshal(newTeamsBody(m))
		if err != nil || len(card) > 28<<10 {
			t.Errorf("a card of %d bytes of %q, %v", len(card), text, err)
		}
		p := newPagerDutyBody("key", m)
		if utf8.RuneCountInString(p.Payload.Summary) > 1024 || utf8.RuneCountInString(p.DedupKey) > 255 {
			t.Errorf("a summary of %d and a key of %d", len(p.Payload.Summary), len(p.DedupKey))
		}
	}
}

// TestLoopbackMustBeListed: a notifier of the configuration does not reach the scaler's own machine, unless it says so. A person's does.
func TestLoopbackMustBeListed(t *testing.T) {
	t.Parallel()
	var body []byte
	var header http.Header
	file := writeURLFile(t, startMessageReceiver(t, &body, &header))
	c, err := decodeNotifyYAML("webhook: {urlFile: " + file + "}")
	if err != nil {
		t.Fatal(err)
	}
	var e *webhook.Error
	if err := c.NewSender(SenderOptions{}).Send(t.Context(), newTestMessage()); !errors.As(err, &e) || !e.IsPermanent() || !strings.Contains(err.Error(), "allowAddresses") || strings.Contains(err.Error(), "127") {
		t.Errorf("%v", err)
	}
	own, err := ParseSender("webhook:"+file, SenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Send(t.Context(), newTestMessage()); err != nil {
		t.Error(err)
	}
}
