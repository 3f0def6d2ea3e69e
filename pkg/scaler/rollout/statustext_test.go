package rollout

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestStatusTextsAreHarmless: what a Hold, a pod or an autoscaler says reaches a status and an Event as one line, and within their limits.
func TestStatusTextsAreHarmless(t *testing.T) {
	t.Parallel()
	p := &workloadPass{Engine: &Engine{Options: Options{Identity: "me"}}, workload: hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "n", Name: "w"}}
	for in, want := range map[string]string{
		"by x\x1b[2J\u009b\u202e\r\nWARNING: all is lost": `by x\x1b[2J\u009b\u202e  WARNING: all is lost`,
		strings.Repeat("ü", 3000):                         strings.Repeat("ü", maxEventMessageBytes/2-2) + "…",
		"\xff\xfe":                                        `\xff\xfe`,
	} {
		event := p.newStepEvent(Step{Message: in})
		if event.Message != want || !strings.HasPrefix(shortenHoldStatus(in), strings.TrimSuffix(want, "…")) || !utf8.ValidString(shortenHoldStatus(in)) {
			t.Errorf("%.40q became %.40q in an Event and %.40q in a status", in, event.Message, shortenHoldStatus(in))
		}
	}
}
