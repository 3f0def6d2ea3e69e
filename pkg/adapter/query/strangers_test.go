package query

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

// TestSeparateQueriedProcesses: a counter that goes back has restarted if it can have counted to its value since, and else belongs to another
// process.
func TestSeparateQueriedProcesses(t *testing.T) {
	t.Parallel()
	end := math.Float64frombits(value.StaleNaN)
	for name, tc := range map[string]struct {
		values []float64 // one every 10 ms
		want   string
	}{
		"a restart":                       {[]float64{100, 120, 140, 8, 28}, "[100 120 140 8 28]"},
		"a restart of a quiet counter":    {[]float64{100, 100, 100, 10, 10}, "[100 100 100 10 10]"},
		"a restart under twice the load":  {[]float64{100, 120, 140, 39, 60}, "[100 120 140 39 60]"},
		"a restart before more load":      {[]float64{100, 101, 102, 90, 180}, "[100 101 102 90 180]"},
		"a restart of batches":            {[]float64{0, 100, 100, 200, 200, 100}, "[0 100 100 200 200 100]"},
		"a restart before uneven load":    {[]float64{500, 200, 210, 400, 600}, "[500 200 210 400 600]"},
		"another process":                 {[]float64{100, 120, 140, 130, 150}, "[100 120 140 NaN 130 150]"},
		"another process, in turn":        {[]float64{5000, 5900, 5020, 5920}, "[5000 5900 NaN 5020 5920]"},
		"a single page before":            {[]float64{500, 300, 320}, "[500 NaN 300 320]"},
		"a single page before a restart":  {[]float64{500, 5, 25}, "[500 5 25]"},
		"an error of one page":            {[]float64{100, 120, 1e308, 160, 180}, "[100 120 1e+308 NaN 160 180]"},
		"infinity on one page":            {[]float64{100, 120, 140, math.Inf(1), 180, 200}, "[100 120 140 +Inf NaN 180 200]"},
		"a counter below zero":            {[]float64{100, 120, -5, -5}, "[100 120 NaN -5 -5]"},
		"another process behind a marker": {[]float64{100, 120, end, 60, 80, 70}, "[100 120 NaN 60 80 NaN 70]"},
	} {
		times := make([]int64, len(tc.values))
		for i := range times {
			times[i] = int64(10 * i)
		}
		before := fmt.Sprint(tc.values)
		got, values, strangers := separateQueriedProcesses(times, tc.values)
		if fmt.Sprint(values) != tc.want || len(got) != len(values) || len(values) != len(tc.values)+strangers {
			t.Errorf("%s: %v, %d strangers, want %s", name, values, strangers, tc.want)
		}
		if fmt.Sprint(tc.values) != before {
			t.Errorf("%s: the slice changed", name)
		}
	}
}
