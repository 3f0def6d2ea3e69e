package rule

import (
	"strings"
	"testing"
)

// TestMadeLabelsAreBounded: an expression that multiplies the length of a label is a fault, because the engine makes it for each series.
func TestMadeLabelsAreBounded(t *testing.T) {
	t.Parallel()
	grown := func(inner string, count int) string {
		return nestReviewedQuery(count, "label_replace(", inner, `, "x", "$1$1$1$1$1$1$1$1$1$1", "x", "(.+)")`)
	}
	joined := nestReviewedQuery(7, "label_join(", "a", `, "x", "-", "x", "x")`)
	for name, tc := range map[string]struct{ query, want string }{
		"one call":       {`label_replace(a, "app", "$1-$2", "pod", "(.*)-(.*)-.*")`, ""},
		"different ones": {`label_replace(label_replace(a, "b", "$1$2$3$4$5$6$7$8$9", "c", "(.)"), "d", "$1$2$3$4$5$6$7$8$9", "e", "(.)")`, ""},
		"one of ten":     {grown("a", 1), ""},
		"ten of ten":     {grown("a", 2), `may make a label "x" of 102620 bytes from one of 1024, and the limit is 65536`},
		"many":           {grown("a", 30), `may make a label "x" of `},
		"joined":         {joined, `may make a label "x" of 131199 bytes from one of 1024`},
		"in parentheses": {strings.ReplaceAll(grown("a", 2), `"x"`, `("x")`), `may make a label "x" of `},
		"beside":         {"a or " + grown("b", 2), `may make a label "x" of `},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const head = "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules:\n- metric: m\n  query: '"
			_, _, err := Load([]byte(head + "sum by (namespace, pod) (" + tc.query + ")'\n"))
			switch {
			case tc.want == "" && err != nil, tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// TestEvaluationCost: the bound of the labels of an evaluation grows with its operations, its series and the labels that it makes.
func TestEvaluationCost(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]int{
		`a`:                              1 * (1000 + 10*100),
		`rate(a[1m])`:                    2 * (1000 + 10*100),
		`sum by (x) (a + b)`:             3 * (1000 + 10*100),
		`a * on (x) group_left (y, z) b`: 2 * (1000 + 10*(100+2*200)),
		`label_replace(a, "x", "pre-$1", "y", "(.*)")`: 2 * (1000 + 10*(100+6+200)),
	} {
		tree, err := parseRuleExpr(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := measureExprCost(tree.root).LabelBytes(10, 1000, 200); got != want {
			t.Errorf("%s: %d bytes, want %d", query, got, want)
		}
	}
}
