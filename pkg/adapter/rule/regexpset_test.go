package rule

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
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
		if got := matchersNeverAgree(tc.must, tc.mustNot); got != tc.never {
			t.Errorf("%s: matchersNeverAgree(%q, %q) = %v, want %v", tc.name, tc.must, tc.mustNot, got, tc.never)
		}
	}
}

// TestExclusionOfValues: matchers with few values, which are tried one by one, exclude each other exactly if the search says so.
func TestExclusionOfValues(t *testing.T) {
	t.Parallel()
	var all []*labels.Matcher
	for _, kind := range []labels.MatchType{labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp} {
		for _, value := range []string{"", "a", "a|b", "a.*", "(?i)a", "[ab]", "a(b|c)d", "^a$", "a\n", ".+", "ä"} {
			all = append(all, labels.MustNewMatcher(kind, "l", value))
		}
	}
	for _, a := range all {
		for _, b := range all {
			for _, further := range [][]string{nil, {"[a-z]+"}, {"(?s:.+)", "a.*"}} {
				must, mustNot := listMatchedRegexps([]*labels.Matcher{a, b})
				want := matchersNeverAgree(append(must, further...), mustNot)
				if got := ExcludeEachOther([]*labels.Matcher{a, b}, further...); got != want {
					t.Errorf("%s, %s and %q exclude each other: %v, want %v", a, b, further, got, want)
				}
			}
		}
	}
	if ExcludeEachOther([]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "l", "a")}, "(") {
		t.Error("an invalid expression excludes a value")
	}
}

// TestLongMetricNamesAreCheap: anybody who may read names metrics, and every new name is looked up.
func TestLongMetricNamesAreCheap(t *testing.T) { //nolint:paralleltest // it measures what the process allocates
	cfg := config.Default()
	set, err := Compile(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const lookups = 100
	for i := range lookups {
		if _, err := set.Lookup("pods", fmt.Sprintf("m_%03d_%s", i, strings.Repeat("abcdefghij", 24))); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / lookups; each > 200<<10 {
		t.Errorf("a lookup of a name of 246 bytes allocates %d KiB, want at most 200", each>>10)
	}
}

// FuzzRegexpSearch compares a found text with package regexp.
func FuzzRegexpSearch(f *testing.F) {
	f.Add("a.*", "a.+")
	f.Add(`(?i)x\b`, "[^x]")
	f.Add("^a|b$", "")
	f.Fuzz(func(t *testing.T, must, mustNot string) {
		text, found, _ := searchTextForMatchers([]string{must}, []string{mustNot})
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
