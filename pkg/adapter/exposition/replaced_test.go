package exposition

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// TestReplacedSeries: a page replaces the samples of a family that is another type now, and of a histogram with other buckets.
func TestReplacedSeries(t *testing.T) {
	t.Parallel()
	const (
		histogram = "# TYPE a histogram\n"
		old       = "a_bucket{le=\"0.5\"} 2\na_bucket{le=\"1.0\"} 3\na_bucket{le=\"+Inf\"} 3\na_count 3\na_sum 1\n"
		more      = "a_bucket{le=\"0.7\"} 3\n" + old
	)
	for name, c := range map[string]struct{ before, after, want string }{
		"a gauge becomes a counter":          {gaugeType + "a 5\n", counterType + "a 5000\n", "a{}"},
		"a counter becomes a gauge":          {counterType + "a 5000\n", gaugeType + "a 5\n", "a{}"},
		"a page without a type":              {counterType + "a 5000\n", "a 5010\n", ""},
		"a type for the first time":          {"a 5000\n", counterType + "a 5010\n", ""},
		"another series of a new type":       {gaugeType + "a{x=\"1\"} 5\n", counterType + "a{x=\"2\"} 5000\n", ""},
		"the same buckets":                   {histogram + old, histogram + old, ""},
		"a further bucket":                   {histogram + old, histogram + more, "+Inf 0.5 0.7 1.0"},
		"a bucket less":                      {histogram + more, histogram + old, "+Inf 0.5 0.7 1.0"},
		"a further histogram":                {histogram + old, histogram + old + "a_bucket{x=\"1\",le=\"9.0\"} 1\na_bucket{x=\"1\",le=\"+Inf\"} 1\n", ""},
		"other buckets of one of two":        {histogram + old + "a_bucket{x=\"1\",le=\"+Inf\"} 1\n", histogram + old + "a_bucket{x=\"1\",le=\"9.0\"} 1\na_bucket{x=\"1\",le=\"+Inf\"} 1\n", "+Inf 9.0"},
		"all buckets are others":             {histogram + "a_bucket{le=\"+Inf\"} 1\na_count 1\n", histogram + "a_count 1\n", ""},
		"a page that rejects the histogram":  {histogram + old, histogram + more + "a_bucket{le=\"1.0\"} 9\nb 1\n", ""},
		"a page without any of the families": {histogram + old, "b 1\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewParser(labels.FromStrings("namespace", "shop", "pod", "web-1"))
			var got []string
			for i, page := range []string{c.before, c.after, c.after} {
				o := PageOptions{Families: NewFamilies([]string{"a", "b"}), Now: time.UnixMilli(int64(i+5) * 2000), FindBeginnings: true}
				r, err := p.Parse(o, []byte(page))
				if err != nil {
					t.Fatal(err)
				}
				if i != 1 && len(r.Replaced) > 0 {
					t.Errorf("page %d replaces %v", i, r.Replaced)
				}
				for _, s := range r.Replaced {
					label := s.Labels.Get("le")
					if label == "" {
						label = s.Labels.Get("__name__") + "{}"
					}
					got = append(got, label)
				}
				for _, s := range r.Earlier {
					if slices.Contains(r.Replaced, s.Series) {
						t.Errorf("page %d: %v began at zero", i, s.Series.Labels)
					}
				}
			}
			slices.Sort(got)
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("replaced %q, want %q", text, c.want)
			}
		})
	}
}
