// This file renders messages with the template of a webhook. A template has the fields of Message, and the function json, which quotes.

package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	template "github.com/DataDog/datadog-agent/pkg/template/text"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// maxTemplateBytes bounds a rendered message.
const maxTemplateBytes = 64 << 10

// maxTemplateFaultBytes has room for the words of text/template: name, line, expression and cause.
const maxTemplateFaultBytes = 200

// notifierTemplateFromYAML decodes a template. It renders messages of each kind with quotes and line ends in their texts, so that a template that forgets to
// quote is a fault, and not a lost message.
func notifierTemplateFromYAML(d *strict.Decoder, path string, n *yaml.Node) *template.Template {
	var text string
	if d.Text(&text)(path, n); d.HasFault(path) {
		return nil
	}
	t, err := parseMessageTemplate(text)
	if err != nil {
		d.AddFault(path, "not a template: %s", plaintext.Clip(err.Error(), maxTemplateFaultBytes))
		return nil
	}
	const hard = "\"a\"\nb \\"
	short := Message{Time: time.Unix(0, 0).UTC(), Outcome: hard, Workload: hold.Workload{Kind: "Deployment", Namespace: "n", Name: "w"}, Hold: hard}
	long := short
	long.Reason, long.By, long.Why, long.Report = hard, hard, hard, &verify.Report{}
	for _, k := range slices.Concat(troubleKinds, calmKinds) {
		for _, m := range []Message{short, long} {
			m.Kind = k
			if _, err := renderMessageTemplate(t, m.withMessageSeverity()); err != nil {
				d.AddFault(path, "a message of the kind %s: %s", k, plaintext.Clip(err.Error(), maxTemplateFaultBytes))
				return nil
			}
		}
	}
	return t
}

// errTemplateTooLong is the error of a rendered message above maxTemplateBytes.
var errTemplateTooLong = fmt.Errorf("more than %d bytes", maxTemplateBytes)

// templateBuffer takes a rendered message up to maxTemplateBytes.
type templateBuffer struct{ bytes.Buffer }

// Write implements io.Writer.
func (b *templateBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxTemplateBytes {
		return 0, errTemplateTooLong
	}
	return b.Buffer.Write(p)
}

// renderMessageTemplate returns the body of a request. A report of so many pods that the message is out of its bounds leaves its pods out: a message
// without them is better than none.
func renderMessageTemplate(t *template.Template, m Message) ([]byte, error) {
	body, err := executeMessageTemplate(t, m)
	isOutOfBounds := errors.Is(err, errTemplateTooLong) || errors.Is(err, errTemplateTooManySteps)
	if isOutOfBounds && m.Report != nil && len(m.Report.Pods) > 0 {
		short := *m.Report
		short.Pods = nil
		m.Report = &short
		return executeMessageTemplate(t, m)
	}
	return body, err
}

// executeMessageTemplate renders a message as it is.
func executeMessageTemplate(t *template.Template, m Message) ([]byte, error) {
	var b templateBuffer
	own, err := t.Clone() // messages may be rendered at the same time
	if err != nil {
		return nil, fmt.Errorf("render the template: %w", err)
	}
	if err := own.Funcs(messageTemplateFuncs()).Execute(&b, m); err != nil {
		return nil, fmt.Errorf("render the template: %w", err)
	}
	if !json.Valid(b.Bytes()) {
		return nil, errors.New("render the template: the result is not JSON; write {{json .Outcome}} for a text with its quotes")
	}
	return b.Bytes(), nil
}
