// The answers of rules about the metrics in a plan are remembered for the next plan: a rule for a name costs more than the rest of a plan.

package discovery

// plannedRules remembers the rules' answers about the metrics of the plan before, and of the plan under construction. It is
// not safe for concurrent use.
type plannedRules struct {
	rules          Rules
	before, latest map[ruledMetric][]string // nobody changes an answer
}

// ruledMetric identifies a question about a metric; asked is the namespace of an external metric's Namespaces.
type ruledMetric struct {
	resource, metric, asked string
	question                ruleQuestion
}

type ruleQuestion int8

const (
	questionFamilies ruleQuestion = iota
	questionExternalFamilies
	questionNamespaces
	questionTargetSources
)

// startRulePlan begins a plan with rules, which may be other rules than before.
func (r *plannedRules) startRulePlan(rules Rules, changed bool) {
	r.rules, r.before, r.latest = rules, r.latest, map[ruledMetric][]string{}
	if changed {
		r.before = nil
	}
}

func (r *plannedRules) askRememberedRules(m ruledMetric, ask func() []string) []string {
	if answer, ok := r.latest[m]; ok {
		return answer
	}
	answer, ok := r.before[m]
	if !ok {
		answer = ask()
	}
	r.latest[m] = answer
	return answer
}

// Families implements Rules.
func (r *plannedRules) Families(resource, metric string, external bool) []string {
	question := questionFamilies
	if external {
		question = questionExternalFamilies
	}
	return r.askRememberedRules(ruledMetric{resource, metric, "", question}, func() []string { return r.rules.Families(resource, metric, external) })
}

// Namespaces implements Rules.
func (r *plannedRules) Namespaces(metric, asked string) []string {
	return r.askRememberedRules(ruledMetric{"", metric, asked, questionNamespaces}, func() []string { return r.rules.Namespaces(metric, asked) })
}

// TargetSources implements Rules.
func (r *plannedRules) TargetSources(resource, metric string) []string {
	return r.askRememberedRules(ruledMetric{resource, metric, "", questionTargetSources}, func() []string { return r.rules.TargetSources(resource, metric) })
}
