package hold

import (
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// specProperty is the schema of a field of the spec, as far as it has limits.
type specProperty struct {
	Maximum, MaxLength, MaxItems int
	Items                        struct {
		MaxLength int
		Pattern   string
		Rules     []celRule `json:"x-kubernetes-validations"`
	}
	Properties map[string]specProperty
	Rules      []celRule `json:"x-kubernetes-validations"`
}

type celRule struct{ Rule string }

// compilePlainLine returns the regular expression of a rule on a text.
func (r celRule) compilePlainLine(t *testing.T) *regexp.Regexp {
	t.Helper()
	text, isMatch := strings.CutPrefix(r.Rule, `self.matches(r"`)
	text, isWhole := strings.CutSuffix(text, `")`)
	if !isMatch || !isWhole {
		t.Fatalf("rule %s", r.Rule)
	}
	return regexp.MustCompile(text)
}

// readHoldSchema returns the schema in the shipped definition, as far as a type has its fields.
func readHoldSchema[T any](t *testing.T) (schema T) {
	t.Helper()
	data, err := os.ReadFile("../../../manifests/scaler/crd/crd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct{ Schema struct{ OpenAPIV3Schema T } }
		}
	}
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// readSpecProperties returns the fields of the spec in the shipped definition.
func readSpecProperties(t *testing.T) map[string]specProperty {
	t.Helper()
	type holdProperties struct {
		Properties struct {
			Spec struct{ Properties map[string]specProperty }
		}
	}
	return readHoldSchema[holdProperties](t).Properties.Spec.Properties
}

// TestD24LimitsOfTheSchema: a hold that the API server would reject is rejected before, and final: no event is delivered again for it.
func TestD24LimitsOfTheSchema(t *testing.T) {
	t.Parallel()
	p := readSpecProperties(t)
	list := func(n int) []string { return make([]string, n) }
	for name, c := range map[string]struct {
		limit int
		hold  func(n int) Hold
	}{
		"replicas":    {p["replicas"].Maximum, func(n int) Hold { return Hold{ID: "a", Replicas: int32(n)} }},
		"minReplicas": {p["minReplicas"].Maximum, func(n int) Hold { return Hold{ID: "a", Replicas: int32(n), MinReplicas: int32(n)} }},
		"maxReplicas": {p["maxReplicas"].Maximum, func(n int) Hold { return Hold{ID: "a", MaxReplicas: int32(n)} }},
		"id":          {p["id"].MaxLength, func(n int) Hold { return Hold{ID: strings.Repeat("ä", n)} }},
		"reason":      {p["reason"].MaxLength, func(n int) Hold { return Hold{ID: "a", Reason: strings.Repeat("ä", n)} }},
		"by":          {p["by"].MaxLength, func(n int) Hold { return Hold{ID: "a", By: strings.Repeat("ä", n)} }},
		"gates":       {p["gates"].MaxItems, func(n int) Hold { return Hold{ID: "a", Gates: list(n)} }},
		"notify":      {p["notify"].MaxItems, func(n int) Hold { return Hold{ID: "a", Notify: list(n)} }},
	} {
		fits, above := c.hold(c.limit), c.hold(c.limit+1)
		if err := fits.Validate(); c.limit == 0 || err != nil {
			t.Errorf("%s: %d: %v", name, c.limit, err)
		}
		if err := above.Validate(); !errors.Is(err, ErrRejected) {
			t.Errorf("%s: %d: %v", name, c.limit+1, err)
		}
	}
}

// TestD24NamesOfNotifiers: the names are those of the schema.
func TestD24NamesOfNotifiers(t *testing.T) {
	t.Parallel()
	items := readSpecProperties(t)["notify"].Items
	pattern, line := regexp.MustCompile(items.Pattern), items.Rules[0].compilePlainLine(t)
	for _, name := range []string{"", "oncall", "team/oncall", "slack:oncall", "on call", "Bereitschaft-ä", "on\ncall", "on\x1b[2Jcall", "on\u202ecall", strings.Repeat("ä", items.MaxLength), strings.Repeat("a", items.MaxLength+1)} {
		if want := pattern.MatchString(name) && line.MatchString(name) && len([]rune(name)) <= items.MaxLength; IsNotifierName(name) != want {
			t.Errorf("%.20q: %v", name, !want)
		}
	}
}

// TestTextsAreOneLine: kubectl prints the texts of a Hold as they are, so the schema and the program reject each that a terminal obeys, and no other.
func TestTextsAreOneLine(t *testing.T) {
	t.Parallel()
	p := readSpecProperties(t)
	for field, set := range map[string]func(*Hold, string){
		"id":     func(h *Hold, text string) { h.ID = text },
		"reason": func(h *Hold, text string) { h.Reason = text },
		"by":     func(h *Hold, text string) { h.By = text },
	} {
		schema := p[field].Rules[0].compilePlainLine(t)
		for r := range rune(0x11000) {
			if 0xd800 <= r && r <= 0xdfff {
				continue
			}
			text := "a" + string(r) + "b"
			h := Hold{ID: "a"}
			set(&h, text)
			if err := h.Validate(); (err == nil) != schema.MatchString(text) {
				t.Errorf("%s %q: program %v, schema %t", field, text, err, schema.MatchString(text))
			}
		}
		for text, valid := range map[string]bool{
			"flash sale — Größe 2": true, "\U0001f468\u200d\U0001f469": true, "می\u200cخواهم": true, "a\x1b[2Jb": false, "a\nb": false, "a\tb": false, "a\u009b1mb": false, "a\u202eb": false, "a\u2066b": false, "a\u2028b": false,
		} {
			if schema.MatchString(text) != valid {
				t.Errorf("%s %q: %t", field, text, !valid)
			}
		}
	}
}

// TestLimitsOfVerifications: the schema takes no verification with more than the scaler tests, and each up to that.
func TestLimitsOfVerifications(t *testing.T) {
	t.Parallel()
	p := readSpecProperties(t)["verify"].Properties
	for name, c := range map[string]struct {
		limit int
		spec  func(n int) verify.Spec
	}{
		"requests":    {p["requests"].Maximum, func(n int) verify.Spec { return verify.Spec{Requests: n} }},
		"concurrency": {p["concurrency"].Maximum, func(n int) verify.Spec { return verify.Spec{Concurrency: n} }},
		"success":     {p["success"].Maximum, func(n int) verify.Spec { return verify.Spec{Success: float64(n)} }},
		"url":         {p["url"].MaxLength, func(n int) verify.Spec { return verify.Spec{URL: "/" + strings.Repeat("a", n-1)} }},
		"slower":      {findRuleMaximum(p["slower"].Rules), func(n int) verify.Spec { return verify.Spec{URL: "/", Slower: float64(n)} }},
	} {
		if err := c.spec(c.limit).WithDefaults().Validate(); c.limit == 0 || err != nil {
			t.Errorf("%s: %d: %v", name, c.limit, err)
		}
		if c.spec(c.limit+1).WithDefaults().Validate() == nil {
			t.Errorf("%s: %d is taken", name, c.limit+1)
		}
	}
}

// findRuleMaximum returns the greatest number that the first rule takes; 0: it has none.
func findRuleMaximum(rules []celRule) (n int) {
	if len(rules) > 0 {
		_, text, _ := strings.Cut(rules[0].Rule, "self <= ")
		n, _ = strconv.Atoi(strings.TrimSuffix(text, ".0"))
	}
	return n
}
