package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

func parseTemplate(t *testing.T, text string) *template.Template {
	t.Helper()
	parsed, err := template.New("webhook").Funcs(notificationTemplateFuncs).Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestTemplateOfManyPods: an alert about a verification of many pods is sent, without the pods if they are too many for a message.
func TestTemplateOfManyPods(t *testing.T) {
	t.Parallel()
	for pods, kept := range map[int]int{20: 20, 500: 0} {
		m := Message{Outcome: "failed and rolled back", Why: strings.Repeat("x", 2048), Report: &verify.Report{Verdicts: []verify.Verdict{{What: "p99"}}}}
		for i := range pods {
			m.Report.Pods = append(m.Report.Pods, verify.PodReport{
				Name: fmt.Sprintf("shop-7cd6d9d6f4-%05d", i), Readiness: "ok",
				Summary: verify.Summary{Requests: 100, Causes: map[string]int{"status 503 Service Unavailable": 3}},
			})
		}
		body, err := renderMessageTemplate(parseTemplate(t, `{"text": {{json .}}}`), m)
		if err != nil {
			t.Errorf("%d pods: %v", pods, err)
			continue
		}
		var got struct{ Text Message }
		if err := json.Unmarshal(body, &got); err != nil || got.Text.Why != m.Why || len(got.Text.Report.Pods) != kept || len(got.Text.Report.Verdicts) != 1 {
			t.Errorf("%d pods: %v, %d bytes, %d pods in it", pods, err, len(body), len(got.Text.Report.Pods))
		}
		if len(m.Report.Pods) != pods {
			t.Errorf("the message itself lost its pods: %d", len(m.Report.Pods))
		}
	}
}

// TestTemplateStopsAtItsBound: a template that writes without end stops at the bound, and not with the memory of the process.
func TestTemplateStopsAtItsBound(t *testing.T) {
	t.Parallel()
	_, err := renderMessageTemplate(parseTemplate(t, `{{range 9000000000000}}"0123456789"{{end}}`), Message{Report: &verify.Report{Pods: make([]verify.PodReport, 1)}})
	if !errors.Is(err, errTemplateTooLong) {
		t.Errorf("error %v", err)
	}
}
