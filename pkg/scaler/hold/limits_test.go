package hold

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// specProperty is the schema of a field of the spec, as far as it has limits.
type specProperty struct {
	Maximum, MaxLength, MaxItems int
	Items                        struct {
		MaxLength int
		Pattern   string
	}
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
	pattern := regexp.MustCompile(items.Pattern)
	for _, name := range []string{"", "oncall", "team/oncall", "slack:oncall", "on call", "Bereitschaft-ä", strings.Repeat("ä", items.MaxLength), strings.Repeat("a", items.MaxLength+1)} {
		if want := pattern.MatchString(name) && len([]rune(name)) <= items.MaxLength; IsNotifierName(name) != want {
			t.Errorf("%.20q: %v", name, !want)
		}
	}
}
