// This file sends messages to Slack.

package notify

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// slackKind is the kind slack of the configuration.
var slackKind = senderKind{newSender: func(c SenderConfig, opts SenderOptions) Sender { return NewSlack(c.ReadURL, opts) }}

// Slack posts messages to an incoming webhook of Slack.
type Slack struct {
	readURL func() (string, error)
	client  *http.Client
}

var _ Sender = (*Slack)(nil)

// NewSlack returns a sender to an incoming webhook. It calls url before each attempt.
func NewSlack(url func() (string, error), opts SenderOptions) *Slack {
	return &Slack{readURL: url, client: webhook.NewClient(opts.Client)}
}

// Send posts a message with blocks.
func (s *Slack) Send(ctx context.Context, m Message) error {
	return postMessageJSON(ctx, s.client, s.readURL, nil, newSlackBody(m))
}

// Slack's limits, in characters, are 3000 for the text of a block and 2000 for a field. Escaped characters count in full.
const (
	maxBlockChars = 2800
	maxFieldChars = 1800
)

// slackBody is the body of a request to an incoming webhook. Text is for places without blocks, such as a phone's lock screen.
type slackBody struct {
	Text   string       `json:"text"`
	Blocks []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Fields   []slackText `json:"fields,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

// slackText is a text. Verbatim keeps Slack from making links of URLs, channels and mentions in it.
type slackText struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim"`
}

func newSlackBody(m Message) slackBody {
	workload := escapeSlackText(m.Workload.String(), maxFieldChars)
	outcome := escapeSlackText(m.Outcome, maxFieldChars/2)
	body := slackBody{Text: workload + ": " + outcome, Blocks: []slackBlock{newSlackSection("*" + workload + "*\n" + outcome)}}
	if m.Why != "" {
		body.Blocks = append(body.Blocks, newSlackSection(escapeSlackText(m.Why, maxBlockChars)))
	}
	if m.Report != nil {
		body.Blocks = append(body.Blocks, newSlackSection(formatSlackTable(m.Report)))
	}
	fields := []slackText{}
	for _, f := range []struct{ name, value string }{{"Hold", m.Hold}, {"Reason", m.Reason}, {"By", m.By}} {
		if f.value != "" {
			fields = append(fields, newSlackMarkdown("*"+f.name+"*\n"+escapeSlackText(f.value, maxFieldChars)))
		}
	}
	if len(fields) > 0 {
		body.Blocks = append(body.Blocks, slackBlock{Type: "section", Fields: fields})
	}
	at := m.Time.UTC().Format(time.RFC3339)
	if m.Severity != "" {
		at = string(m.Severity) + ", " + at
	}
	return slackBody{body.Text, append(body.Blocks, slackBlock{Type: "context", Elements: []slackText{newSlackMarkdown(at)}})}
}

func newSlackSection(text string) slackBlock {
	t := newSlackMarkdown(text)
	return slackBlock{Type: "section", Text: &t}
}

func newSlackMarkdown(text string) slackText { return slackText{"mrkdwn", text, true} }

// formatSlackTable returns a report as preformatted text. A report of many pods is cut at the start: the verdicts are at the end.
func formatSlackTable(r *verify.Report) string {
	var b strings.Builder
	r.WriteTable(&b)
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(b.String(), "`", "'")), "\n") // a backquote may end the preformatted text
	for utf8.RuneCountInString(slackEscapes.Replace(strings.Join(lines, "\n"))) > maxBlockChars && len(lines) > 1 {
		lines = append([]string{"…"}, lines[min(2, len(lines)):]...)
	}
	return "```\n" + escapeSlackText(strings.Join(lines, "\n"), maxBlockChars) + "\n```"
}

// slackEscapes prevents text from becoming a link or a mention of the whole channel.
var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escapeSlackText escapes text for Slack, and cuts it to at most maxChars characters.
func escapeSlackText(text string, maxChars int) string {
	var b strings.Builder
	length := 0
	for _, r := range text {
		part := slackEscapes.Replace(string(r))
		if length += utf8.RuneCountInString(part); length > maxChars {
			return b.String() + "…"
		}
		b.WriteString(part)
	}
	return b.String()
}
