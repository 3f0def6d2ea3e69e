package rule

import (
	"regexp"
	"testing"
)

func TestRegexpsThatNeverMatchTogether(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		must, mustNot []string
		never         bool
	}{
		{"one expression", []string{"a.*"}, nil, false},
		{"an expression and its opposite", []string{"a.*"}, []string{"a.*"}, true},
		{"the same in other words", []string{"(a|b)c+"}, []string{"[ab]cc*"}, true},
		{"a part of it remains", []string{"a.*"}, []string{"a.+"}, false},
		{"different beginnings", []string{"a_.*", "(?s:.*)(?:^b)(?s:.*)"}, nil, true},
		{"different endings", []string{".*_total", ".*_sum"}, nil, true},
		{"an ending within", []string{".*_total", ".*_sum.*"}, nil, false},
		{"classes without a common character", []string{"[0-4]", "[5-9]"}, nil, true},
		{"classes with one", []string{"[0-5]", "[5-9]"}, nil, false},
		{"everything excluded", nil, []string{"(?s:.*)"}, true},
		{"all but line breaks excluded", nil, []string{".*"}, false},
		{"upper and lower case", []string{"(?i)abc"}, []string{"abc|ABC"}, false},
		{"all cases", []string{"(?i)ab"}, []string{"ab|AB|aB|Ab"}, true},
		{"a repetition", []string{"5.."}, []string{"5[0-9]{2}"}, false},
		{"three digits", []string{"[0-9]{3}"}, []string{"[0-9]+"}, true},
		{"a border of words", []string{`a\bb`}, nil, true},
		{"a border of words at the end", []string{`a\b`}, nil, false},
		{"empty and not", []string{"", ".+"}, nil, true},
		{"no expression at all", nil, nil, false},
		{"an invalid expression", []string{"("}, nil, false},
		{"too large for an answer", []string{"(.*a){20}.{40}", "(.*b){20}.{40}"}, []string{".*c.{60}"}, false},
	} {
		if got := NeverMatchTogether(tc.must, tc.mustNot); got != tc.never {
			t.Errorf("%s: NeverMatchTogether(%q, %q) = %v, want %v", tc.name, tc.must, tc.mustNot, got, tc.never)
		}
	}
}

// FuzzRegexpSearch compares a found text with package regexp.
func FuzzRegexpSearch(f *testing.F) {
	f.Add("a.*", "a.+")
	f.Add(`(?i)x\b`, "[^x]")
	f.Add("^a|b$", "")
	f.Fuzz(func(t *testing.T, must, mustNot string) {
		text, found, _ := searchTextOfRegexps([]string{must}, []string{mustNot})
		if !found {
			return
		}
		if re, err := regexp.Compile("^(?:" + must + ")$"); err == nil && !re.MatchString(text) {
			t.Errorf("%q does not match %q", text, must)
		}
		if re, err := regexp.Compile("^(?:" + mustNot + ")$"); err == nil && re.MatchString(text) {
			t.Errorf("%q matches %q", text, mustNot)
		}
	})
}
