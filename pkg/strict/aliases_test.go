package strict_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// TestAliasesAreBounded: aliases that stand for themselves, or for ever more values, are a fault. Others are what they stand for.
func TestAliasesAreBounded(t *testing.T) {
	t.Parallel()
	names := strings.Repeat("x,", 2000) + "x"
	doubled := "a0: &a0 [x, x]\n"
	for i := range 60 {
		doubled += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"itself":                     {"a: &a [*a]", false},
		"itself in a mapping":        {"a: &a {b: {c: *a}}", false},
		"each other":                 {"a: &a [1, &b {c: *a}]\nb: *b", false},
		"doubled again and again":    {doubled, false},
		"a long list, many times":    {"a: &a [" + names + "]\nb: [" + strings.Repeat("*a,", 2000) + "*a]", false},
		"none":                       {"a: [" + names + "]", true},
		"a list, twice":              {"a: &a [" + names + "]\nb: *a\nc: *a", true},
		"a text, a thousand times":   {"a: &a x\nb: [" + strings.Repeat("*a,", 1000) + "*a]", true},
		"an anchor without an alias": {"a: &a x", true},
	} {
		d := strict.NewDecoder()
		root := d.ParseDocument([]byte(c.text))
		if got := root != nil && len(d.Faults) == 0; got != c.want {
			t.Errorf("%s: %v; want it taken: %t", name, d.Faults, c.want)
		}
	}
}
