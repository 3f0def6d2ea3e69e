package query

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

// TestJoinResumedQuerySeries: a counter that the scraper ended for want of pages goes on if it has its last value again right behind the
// marker.
func TestJoinResumedQuerySeries(t *testing.T) {
	t.Parallel()
	end := math.Float64frombits(value.StaleNaN)
	for name, tc := range map[string]struct {
		times  []int64
		values []float64
		want   string
	}{
		"goes on":                     {[]int64{10, 20, 25, 26, 40}, []float64{1, 2, end, 2, 5}, "[10 20 40] [1 2 5]"},
		"goes on twice":               {[]int64{10, 15, 16, 20, 25, 26, 40}, []float64{1, end, 1, 2, end, 2, 5}, "[10 20 40] [1 2 5]"},
		"ends":                        {[]int64{10, 20, 25}, []float64{1, 2, end}, "[10 20 25] [1 2 NaN]"},
		"begins anew":                 {[]int64{10, 25, 26, 40}, []float64{2, end, 0, 5}, "[10 25 26 40] [2 NaN 0 5]"},
		"begins anew, from zero both": {[]int64{10, 25, 26, 40}, []float64{0, end, 0, 5}, "[10 25 26 40] [0 NaN 0 5]"},
		"comes back later":            {[]int64{10, 25, 30, 40}, []float64{2, end, 2, 5}, "[10 25 30 40] [2 NaN 2 5]"},
		"a page at once":              {[]int64{10, 25, 26}, []float64{2, end, 2}, "[10 25 26] [2 NaN 2]"},
		"the end alone":               {[]int64{25, 26, 40}, []float64{end, 2, 5}, "[25 26 40] [NaN 2 5]"},
	} {
		times, values := joinResumedQuerySeries(slices.Clone(tc.times), slices.Clone(tc.values))
		if got := fmt.Sprint(times, values); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
