package strict

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestRequire(t *testing.T) {
	t.Parallel()
	d := NewDecoder()
	var name, kind, zone string
	d.DecodeMapping("", d.ParseDocument([]byte("rule:\n  name: a\n  kind: [b]\n")), map[string]FieldDecoder{"rule": func(path string, n *yaml.Node) {
		d.DecodeMapping(path, n, map[string]FieldDecoder{"name": d.Text(&name), "kind": d.Text(&kind), "zone": d.Text(&zone)})
	}})
	before := len(d.Faults)
	d.Require("rule", "name", "kind", "zone")
	if diff := cmp.Diff(Faults{{Path: "rule.zone", Line: 1, Message: "required"}}, d.Faults[before:]); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}
