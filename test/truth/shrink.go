package truth

// Shrink: the smallest scenario that still fails.

import "slices"

// Shrink removes statements and simplifies them as long as the scenario fails, with at most so many trials.
func Shrink(s Scenario, fails func(Scenario) bool, trials int) Scenario {
	for changed := true; changed && trials > 0; {
		changed = false
		for i := len(s.Statements) - 1; i >= 0 && trials > 0; i-- {
			for _, smaller := range simplifyStatement(s, i) {
				trials--
				if fails(smaller) {
					s, changed = smaller, true
					break
				}
			}
		}
	}
	return s
}

// simplifyStatement returns scenarios in which a statement is missing or has fewer options.
func simplifyStatement(s Scenario, i int) []Scenario {
	without := s
	without.Statements = slices.Delete(slices.Clone(s.Statements), i, i+1)
	out := []Scenario{without}
	for k := range s.Statements[i].Options {
		smaller := s
		smaller.Statements = slices.Clone(s.Statements)
		smaller.Statements[i].Options = slices.Delete(slices.Clone(s.Statements[i].Options), k, k+1)
		out = append(out, smaller)
	}
	return out
}
