package output

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

func TestPrintObject(t *testing.T) {
	t.Parallel()
	object := struct {
		B int `json:"b"`
	}{7}
	for format, want := range map[string]string{
		"yaml": "apiVersion: kubectl.tachometer.dev/v1alpha1\nb: 7\nkind: Thing\n",
		"json": "{\n  \"apiVersion\": \"kubectl.tachometer.dev/v1alpha1\",\n  \"b\": 7,\n  \"kind\": \"Thing\"\n}\n",
	} {
		var out bytes.Buffer
		if err := PrintObject(&out, format, "Thing", object); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

// TestPrintObjectIsHarmlessText: a text of others keeps its characters, and a terminal obeys none of them.
func TestPrintObjectIsHarmlessText(t *testing.T) {
	t.Parallel()
	const hostile = "x\x1b[2J\u009b2J\u202e\x7f"
	for _, format := range []string{"json", "yaml"} {
		var out bytes.Buffer
		if err := PrintObject(&out, format, "Thing", map[string]string{hostile: hostile}); err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := yaml.Unmarshal(out.Bytes(), &got); err != nil || got[hostile] != hostile || strings.ContainsAny(out.String(), "\x1b\u009b\u202e\x7f") {
			t.Errorf("-o %s: %v in %q", format, err, out.String())
		}
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	if got := Age(now.Add(-192*time.Second), now); got != "3m12s" {
		t.Errorf("got %s", got)
	}
	if got := Age(time.Time{}, now); got != "<unknown>" {
		t.Errorf("got %s", got)
	}
}

// TestPrintTemplate: a template prints fields in plain words: whole numbers whole, and no control characters.
func TestPrintTemplate(t *testing.T) {
	t.Parallel()
	object := map[string]any{"name": "web\x1b[2J", "replicas": 12345678, "items": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}}
	for template, want := range map[string]string{
		"{.replicas}": "12345678", ".replicas": "12345678", "{.items[*].name}": "a b", `{range .items[*]}{.name}{"\t"}{end}`: "a\tb\t", "{.nothing}": "",
		"{.name}": `web\x1b[2J`, "{.apiVersion} {.kind}": APIVersion + " Report",
	} {
		var out strings.Builder
		if err := PrintTemplate(&out, template, "Report", object); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v, want %q", template, out.String(), err, want)
		}
	}
	for _, template := range []string{"", "{.a", "{.items[}"} {
		if CheckTemplate(template) == nil || PrintTemplate(io.Discard, template, "Report", object) == nil {
			t.Errorf("%q is no error", template)
		}
	}
}

// TestWindow: a window at the bound is shown as such.
func TestWindow(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{0: "0s", 10 * time.Second: "10s", hpa.MaxWindow - time.Second: "364d", hpa.MaxWindow: "365d or more"} {
		if got := Window(d); got != want {
			t.Errorf("%v: %s; want %s", d, got, want)
		}
	}
}
