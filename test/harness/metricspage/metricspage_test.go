package metricspage

import (
	"strings"
	"testing"
)

func TestPage(t *testing.T) {
	t.Parallel()
	page, err := Parse(strings.NewReader(`# TYPE looks_total counter
looks_total{outcome="success",mode="act"} 3
looks_total{outcome="success",mode="observe"} 4
looks_total{outcome="error",mode="act"} 5 1700000000000
# TYPE targets gauge
targets 2
untyped 1.5
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
		has    bool
	}{
		{"looks_total", nil, 12, true},
		{"looks_total", []string{"outcome", "success"}, 7, true},
		{"looks_total", []string{"mode", "act", "outcome", "error"}, 5, true},
		{"looks_total", []string{"outcome", "other"}, 0, false},
		{"looks_total", []string{"absent", ""}, 0, false},
		{"targets", nil, 2, true},
		{"untyped", nil, 1.5, true},
		{"missing", nil, 0, false},
	} {
		if got, has := page.Sum(c.name, c.labels...), page.Has(c.name, c.labels...); got != c.want || has != c.has {
			t.Errorf("%s %q: sum %v, has %v; want %v, %v", c.name, c.labels, got, has, c.want, c.has)
		}
	}
	if _, err := Parse(strings.NewReader("<html>")); err == nil {
		t.Error("a page of HTML: no error")
	}
}
