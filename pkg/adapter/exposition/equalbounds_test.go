package exposition

import (
	"strings"
	"testing"
	"time"
)

// TestEqualBounds: a histogram with a bucket twice, or a summary with a quantile twice, is rejected, with a type and without.
func TestEqualBounds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ page, want string }{
		"a bound twice":                 {"a_bucket{le=\"1\"} 3\na_bucket{le=\"1.0\"} 4\na_bucket{le=\"+Inf\"} 4\n", `a_bucket has le="1.0" twice`},
		"equal values too":              {"a_bucket{le=\"1\"} 3\na_bucket{le=\"1.0\"} 3\na_bucket{le=\"+Inf\"} 4\n", `a_bucket has le="1.0" twice`},
		"with a type":                   {"# TYPE a histogram\na_bucket{le=\"1\"} 3\na_bucket{le=\"1.0\"} 4\na_bucket{le=\"+Inf\"} 4\n", "duplicate series"},
		"two infinities":                {"a_bucket{le=\"+Inf\"} 3\na_bucket{le=\"Inf\"} 3\n", `a_bucket has le="Inf" twice`},
		"in two histograms":             {"a_bucket{le=\"1\",x=\"1\"} 3\na_bucket{le=\"1.0\",x=\"2\"} 4\n", ""},
		"other names":                   {"a_bucket{le=\"1\"} 3\na_bucket{le=\"2\"} 4\na_count 4\n", ""},
		"a bound that is no number":     {"a_bucket{le=\"all\"} 3\na_bucket{le=\"every\"} 4\n", ""},
		"a quantile twice":              {"a{quantile=\"0.5\"} 3\na{quantile=\"0.50\"} 4\n", `a has quantile="0.50" twice`},
		"a quantile twice, with a type": {"# TYPE a summary\na{quantile=\"0.5\"} 3\na{quantile=\"0.50\"} 4\n", "duplicate series"},
		"a quantile that is no number":  {"# TYPE a summary\na{quantile=\"max\"} 3\na{quantile=\"min\"} 4\n", ""},
		"quantiles":                     {"a{quantile=\"0.5\"} 3\na{quantile=\"0.9\"} 4\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, want := NewParser(testOwn), c.want
			for i := range 4 { // also once all series are known
				o := PageOptions{Families: NewFamilies([]string{"a", "b"}), Now: time.UnixMilli(int64(i+5) * 2000), FindBeginnings: true}
				r, err := p.Parse(o, []byte(c.page+"b 1\n"))
				if err != nil || len(r.Families) != 2 || r.Families[1].Err != nil {
					t.Fatalf("page %d: %v, %v", i, r.Families, err)
				}
				switch got := r.Families[0].Err; {
				case want == "" && got != nil, want != "" && (got == nil || got.Kind != KindDuplicate || !strings.Contains(got.Detail, want)):
					t.Errorf("page %d: %v, want %q", i, got, want)
				}
			}
		})
	}
}

// TestEqualBoundAppears: a bound that appears once more on a later page rejects the histogram, until it is gone.
func TestEqualBoundAppears(t *testing.T) {
	t.Parallel()
	p, good := NewParser(testOwn), "a_bucket{le=\"1\"} 3\na_bucket{le=\"+Inf\"} 4\nb 1\n"
	for i, page := range []string{good, good + "a_bucket{le=\"1.0\"} 3\n", good + "a_bucket{le=\"1.0\"} 3\n", good, good} {
		o := PageOptions{Families: NewFamilies([]string{"a", "b"}), Now: time.UnixMilli(int64(i+5) * 2000), FindBeginnings: true}
		r, err := p.Parse(o, []byte(page))
		if err != nil || (r.Families[0].Err != nil) != (page != good) {
			t.Errorf("page %d: %v, %v", i, r.Families, err)
		}
	}
}
