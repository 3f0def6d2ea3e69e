package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// Slack posts messages to an incoming webhook of Slack.
type Slack struct {
	url    func() (string, error)
	client *http.Client
}

var _ Sender = (*Slack)(nil)

// NewSlack returns a sender to the incoming webhook whose URL the function returns before each attempt.
func NewSlack(url func() (string, error), opts SenderOptions) *Slack {
	return &Slack{url: url, client: webhook.Client(opts.Client)}
}

// Send posts a message.
func (s *Slack) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(slackMessage(m))
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return webhook.Post(ctx, s.client, s.url, nil, body)
}

// Slack's bounds, in characters, are 3000 for the text of a block and 2000 for a field. Escaping counts.
const (
	maxBlock = 2800
	maxField = 1800
)

// slackBody is what an incoming webhook takes: text for what shows no blocks, such as a phone's lock screen.
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

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func slackMessage(m Message) slackBody {
	what := escape(m.Target.String(), maxField)
	outcome := escape(m.Outcome, maxField/2)
	body := slackBody{Text: what + ": " + outcome, Blocks: []slackBlock{section("*" + what + "*\n" + outcome)}}
	if m.Why != "" {
		body.Blocks = append(body.Blocks, section(escape(m.Why, maxBlock)))
	}
	if m.Report != nil {
		body.Blocks = append(body.Blocks, section(table(m.Report)))
	}
	fields := []slackText{}
	for _, f := range []struct{ name, value string }{{"Hold", m.Hold}, {"Reason", m.Reason}, {"By", m.By}} {
		if f.value != "" {
			fields = append(fields, marked("*"+f.name+"*\n"+escape(f.value, maxField)))
		}
	}
	if len(fields) > 0 {
		body.Blocks = append(body.Blocks, slackBlock{Type: "section", Fields: fields})
	}
	at := m.Time.UTC().Format(time.RFC3339)
	return slackBody{body.Text, append(body.Blocks, slackBlock{Type: "context", Elements: []slackText{marked(at)}})}
}

func section(text string) slackBlock {
	t := marked(text)
	return slackBlock{Type: "section", Text: &t}
}

func marked(text string) slackText { return slackText{"mrkdwn", text} }

// table is a report in a block of its own; of many pods it shows the end, where the verdicts are.
func table(r *verify.Report) string {
	var b strings.Builder
	r.Table(&b)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for utf8.RuneCountInString(slackEscapes.Replace(strings.Join(lines, "\n"))) > maxBlock && len(lines) > 1 {
		lines = append([]string{"…"}, lines[min(2, len(lines)):]...)
	}
	return "```\n" + escape(strings.Join(lines, "\n"), maxBlock) + "\n```"
}

// slackEscapes are what keeps text from being a link or a call to everybody in the channel.
var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape is text for Slack, cut to at most a number of characters.
func escape(text string, most int) string {
	var b strings.Builder
	length := 0
	for _, r := range text {
		part := slackEscapes.Replace(string(r))
		if length += utf8.RuneCountInString(part); length > most {
			return b.String() + "…"
		}
		b.WriteString(part)
	}
	return b.String()
}
