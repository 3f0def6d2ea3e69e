// This file sends messages to Microsoft Teams.

package notify

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

// teamsKind is the kind teams of the configuration.
var teamsKind = senderKind{newSender: func(c SenderConfig, opts SenderOptions) Sender { return NewTeams(c.ReadURL, opts) }}

// Teams posts messages to a workflow of Microsoft Teams that begins with a webhook request.
type Teams struct {
	readURL func() (string, error)
	client  *http.Client
}

var _ Sender = (*Teams)(nil)

// NewTeams returns a sender to a workflow. It calls url before each attempt.
func NewTeams(url func() (string, error), opts SenderOptions) *Teams {
	return &Teams{readURL: url, client: webhook.NewClient(opts.Client)}
}

// Send posts a message as an adaptive card.
func (t *Teams) Send(ctx context.Context, m Message) error {
	return postMessageJSON(ctx, t.client, t.readURL, nil, newTeamsBody(m))
}

// maxCardChars bounds a text of a card. A card has at most 28 KB, and JSON has six bytes for a character such as <.
const maxCardChars = 600

// teamsBody is the body of a request to a workflow.
type teamsBody struct {
	Type        string            `json:"type"`
	Attachments []teamsAttachment `json:"attachments"`
}

type teamsAttachment struct {
	ContentType string    `json:"contentType"`
	ContentURL  *string   `json:"contentUrl"`
	Content     teamsCard `json:"content"`
}

// teamsCard is an adaptive card.
type teamsCard struct {
	Schema  string         `json:"$schema"`
	Type    string         `json:"type"`
	Version string         `json:"version"`
	Body    []teamsElement `json:"body"`
}

// teamsElement is a TextBlock or a FactSet. Its texts are Markdown.
type teamsElement struct {
	Type     string      `json:"type"`
	Text     string      `json:"text,omitempty"`
	Weight   string      `json:"weight,omitempty"`
	Color    string      `json:"color,omitempty"`
	FontType string      `json:"fontType,omitempty"`
	Wrap     bool        `json:"wrap,omitempty"`
	Facts    []teamsFact `json:"facts,omitempty"`
}

type teamsFact struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

// teamsColors are the colours of the severities.
var teamsColors = map[Severity]string{SeverityInfo: "good", SeverityWarning: "warning", SeverityCritical: "attention"}

func newTeamsBody(m Message) teamsBody {
	elements := []teamsElement{
		{Type: "TextBlock", Text: escapeTeamsText(m.Workload.String()), Weight: "bolder", Wrap: true},
		{Type: "TextBlock", Text: escapeTeamsText(m.Outcome), Color: teamsColors[m.Severity], Wrap: true},
	}
	if m.Why != "" {
		elements = append(elements, teamsElement{Type: "TextBlock", Text: escapeTeamsText(m.Why), Wrap: true})
	}
	if m.Report != nil {
		elements = append(elements, teamsElement{Type: "TextBlock", Text: escapeTeamsText(m.Report.SummaryLine()), FontType: "monospace", Wrap: true})
	}
	facts := []teamsFact{}
	for _, f := range []teamsFact{
		{"Hold", m.Hold}, {"Reason", m.Reason}, {"By", m.By}, {"Severity", string(m.Severity)}, {"Time", m.Time.UTC().Format(time.RFC3339)},
	} {
		if f.Value != "" {
			facts = append(facts, teamsFact{f.Title, escapeTeamsText(f.Value)})
		}
	}
	card := teamsCard{
		Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
		Body: append(elements, teamsElement{Type: "FactSet", Facts: facts}),
	}
	return teamsBody{Type: "message", Attachments: []teamsAttachment{{ContentType: "application/vnd.microsoft.card.adaptive", Content: card}}}
}

// teamsEscapes prevents text from becoming a link or a picture. A backslash of the text would undo an escape.
var teamsEscapes = strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`)

// escapeTeamsText cuts and escapes a text of a card.
func escapeTeamsText(text string) string {
	return teamsEscapes.Replace(cutNotifierMessageText(text, maxCardChars))
}

// cutNotifierMessageText cuts a text to at most maxChars characters.
func cutNotifierMessageText(text string, maxChars int) string {
	n := 0
	for i := range text {
		if n == maxChars {
			return text[:i] + "…"
		}
		n++
	}
	return text
}
