package scrape

import (
	"net/url"
	"slices"
	"testing"
)

// FuzzAppendNameParams asks for any families, beside any query: the target must see every family under its own name, and the
// query unchanged.
func FuzzAppendNameParams(f *testing.F) {
	f.Add("", "http_requests_total", "a")
	f.Add("token=x&y=%20", "http_request_duration_seconds", "queue_age_count")
	f.Add("a", "with.dots", "with space&=#ü\xff")
	f.Fuzz(func(t *testing.T, query, a, b string) {
		own, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got, err := url.ParseQuery(appendNameParams(query, []string{a, b}, len(a)%2 == 0))
		if err != nil {
			t.Fatalf("query cannot be parsed: %v", err)
		}
		for _, family := range []string{a, b} {
			if !slices.Contains(got["name[]"], family) {
				t.Errorf("asked for %q, not for %q", got["name[]"], family)
			}
		}
		for k, values := range own {
			if len(got[k]) < len(values) || !slices.Equal(got[k][:len(values)], values) {
				t.Errorf("%q was %q and is %q", k, values, got[k])
			}
		}
	})
}
