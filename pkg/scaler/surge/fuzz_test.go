package surge

import "testing"

// FuzzSurgeTerms reads annotations of tenants: what is taken is within its bounds.
func FuzzSurgeTerms(f *testing.F) {
	for _, text := range []string{"", "maxReplicas=40,budget=3/h", "budget=61/h", "maxReplicas=-1", "maxReplicas=2147483648", "budget=1/h,,", "\x00=\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		terms, err := parseSurgeTerms(text)
		if err == nil && (terms.MaxReplicas < 0 || terms.Budget < 0 || terms.Budget > maxBudget) {
			t.Errorf("%q: %+v", text, terms)
		}
	})
}
