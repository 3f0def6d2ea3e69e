package discovery

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// countedRules count what they are asked.
type countedRules struct {
	prefixRules
	asked *int
}

func (r countedRules) Families(resource, metric string, external bool) []string {
	*r.asked++
	return r.prefixRules.Families(resource, metric, external)
}

func (r countedRules) Namespaces(metric, asked string) []string {
	*r.asked++
	return r.prefixRules.Namespaces(metric, asked)
}

// TestRulesAreAskedOnce: a plan asks the rules only about metrics that the plan before lacks, and remembers no others.
func TestRulesAreAskedOnce(t *testing.T) {
	t.Parallel()
	asked := 0
	r := plannedRules{}
	plan := func(changed bool, metrics ...string) (count int, answers []string) {
		before := asked
		r.startRulePlan(countedRules{asked: &asked}, changed)
		for _, m := range metrics {
			answers = append(answers, r.Families("pods", m, false)...)
			answers = append(answers, r.Families("", m, true)...)
			answers = append(answers, r.Namespaces(m, "shop")...)
			answers = append(answers, r.Namespaces(m, "bank")...)
		}
		return asked - before, answers
	}
	n, first := plan(true, "a", "b")
	if n != 8 {
		t.Errorf("the first plan asks %d times, want 8", n)
	}
	n, second := plan(false, "b", "a")
	if n != 0 || len(second) != len(first) || second[0] != "pods_b" || second[4] != "pods_a" {
		t.Errorf("the second plan asks %d times, and gets %q", n, second)
	}
	if n, _ = plan(false, "b", "c"); n != 4 {
		t.Errorf("a plan with one new metric asks %d times, want 4", n)
	}
	if n, _ = plan(false, "a"); n != 4 {
		t.Errorf("what a plan lacks is remembered: asked %d times, want 4", n)
	}
	n, changed := plan(true, "a")
	if diff := cmp.Diff(first[:4], changed); n != 4 || diff != "" {
		t.Errorf("after a change of rules a plan asks %d times, want 4 (-want +got):\n%s", n, diff)
	}
}

// TestNamesOfManyNamespaces: a name is no part of another namespace's answers.
func TestNamesOfManyNamespaces(t *testing.T) {
	t.Parallel()
	asked := 0
	r := plannedRules{}
	r.startRulePlan(countedRules{asked: &asked}, true)
	for range 2 {
		for i := range 10 {
			namespace := fmt.Sprint("namespace-", i)
			if got := r.Namespaces("waiting", namespace); len(got) != 1 || got[0] != namespace {
				t.Errorf("%s gets %q", namespace, got)
			}
		}
	}
	if asked != 10 {
		t.Errorf("asked %d times, want 10", asked)
	}
}
