package strict_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// TestValuesAreHidden: the faults of a section with secrets name its keys, and show no value.
func TestValuesAreHidden(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"hunter2", "[hunter2]", "{file: [hunter2]}", "{file: 5}", "{file: {hunter2: }}", "{hunter2: }", "{hunter2: x}", "{? [hunter2] : x}", "{file: &a hunter2, other: *a}",
		`{other: "hunter2"}`, "{other: hunter2 }", "{other: !!binary hunter2}",
	} {
		d := strict.NewDecoder()
		root := d.ParseDocument([]byte(text))
		if root == nil {
			t.Fatalf("%s: %v", text, d.Faults)
		}
		var file string
		d.HideValues(root, func() {
			d.DecodeMapping("secret", root, map[string]strict.FieldDecoder{
				"file":  d.Text(&file),
				"other": func(path string, n *yaml.Node) { d.DecodeEnum(path, n, "this", "that") },
			})
		})
		if faults := d.Faults.Error(); len(d.Faults) == 0 || strings.Contains(faults, "hunter2") {
			t.Errorf("%s: %s", text, faults)
		}
	}
	d := strict.NewDecoder()
	if d.ParseDocument([]byte("password: *hunter2")); len(d.Faults) != 1 || strings.Contains(d.Faults[0].Message, "hunter2") {
		t.Errorf("a value that looks like an alias: %v", d.Faults)
	}
}
