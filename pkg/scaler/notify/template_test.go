package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

func parseTemplate(t *testing.T, text string) *template.Template {
	t.Helper()
	parsed, err := parseMessageTemplate(text)
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

// TestTemplateWithoutEnd: a template that repeats, calls itself or doubles its texts ends soon, with its bound, and needs little memory. It is a fault of
// the configuration.
func TestTemplateWithoutEnd(t *testing.T) { //nolint:paralleltest // the memory of each is measured
	const define, end = `{{define "a"}}`, `{{end}}`
	calls := `"" {{template "t0" .}}`
	for i := range 40 {
		calls += fmt.Sprintf(`{{define "t%d"}}{{template "t%d" .}}{{template "t%d" .}}{{end}}`, i, i+1, i+1)
	}
	calls += `{{define "t40"}}{{end}}`
	double := func(f string) string { return `{{$x := "\\\\\\"&"}}{{range 60}}{{$x = ` + f + `}}{{end}}""` }
	for name, text := range map[string]string{
		"a number":          `"" {{range 1000000000}}{{end}}`,
		"a float":           `"" {{range 1e9}}{{end}}`,
		"nested":            `"" {{range 10000}}{{range 10000}}{{range 10000}}{{end}}{{end}}{{end}}`,
		"in a condition":    `"" {{if true}}{{with 1}}{{range 1000000000}}{{continue}}{{end}}{{end}}{{end}}`,
		"in an else":        `"" {{range 0}}{{else}}{{if false}}{{else}}{{range 1000000000}}{{end}}{{end}}{{end}}`,
		"of a text":         `{{$x := ""}}{{range 16}}{{$x = print $x $x "a"}}{{end}}{{range 1000000}}{{range (len $x)}}{{end}}{{end}}""`,
		"calls itself":      `"" ` + define + `{{template "a" .}}` + end + `{{template "a" .}}`,
		"calls two":         calls,
		"a block":           `"" {{block "b" .}}{{range 1000000000}}{{end}}{{end}}`,
		"print doubles":     double(`print $x $x`),
		"println doubles":   double(`println $x $x`),
		"printf doubles":    double(`printf "%s%s" $x $x`),
		"quotes double":     double(`printf "%q" $x`),
		"json doubles":      double(`json $x`),
		"js doubles":        double(`js $x`),
		"html doubles":      double(`html $x $x`),
		"urlquery doubles":  double(`urlquery $x $x`),
		"a wide format":     `{{printf "%1000000d" 1}}`,
		"a width beside":    `{{printf "%*d" 100000000 1}}`,
		"many wide formats": `{{printf "` + strings.Repeat("%[1]9999d", 10000) + `" 1}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			parsed, err := parseMessageTemplate(text)
			if err == nil {
				_, err = renderMessageTemplate(parsed, Message{Kind: KindUp})
			}
			runtime.ReadMemStats(&after)
			if took, bytes := time.Since(start), after.TotalAlloc-before.TotalAlloc; err == nil || took > 10*time.Second || bytes > 256<<20 {
				t.Errorf("error %v after %s and %d bytes", err, took, bytes)
			}
		})
	}
}

// TestTemplateOfTheMostPods: a template may look at each pod of the largest hold, and each time anew.
func TestTemplateOfTheMostPods(t *testing.T) {
	t.Parallel()
	parsed := parseTemplate(t, `{{$bad := 0}}{{range .Report.Pods}}{{if .Readiness}}{{$bad = .Readiness}}{{end}}{{end}}{"text": {{json .Outcome}}}`)
	m := Message{Outcome: "up", Report: &verify.Report{Pods: make([]verify.PodReport, hold.MaxReplicas)}}
	for range 3 {
		if body, err := renderMessageTemplate(parsed, m); err != nil || string(body) != `{"text": "up"}` {
			t.Fatalf("%v: %s", err, body)
		}
	}
}
