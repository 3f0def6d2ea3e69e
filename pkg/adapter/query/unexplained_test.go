package query

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

// TestSeparateCounterProcesses: a counter that goes back has restarted if it can have counted to its value since, and else belongs to another
// process.
func TestSeparateCounterProcesses(t *testing.T) {
	t.Parallel()
	end := math.Float64frombits(value.StaleNaN)
	for name, tc := range map[string]struct {
		values []float64 // one every 10 ms
		want   string
		since  int64 // the time of the first sample behind the last unexplained decrease; 0: any
	}{
		"a restart":                       {[]float64{100, 120, 140, 8, 28}, "[100 120 140 8 28]", 0},
		"a restart of a quiet counter":    {[]float64{100, 100, 100, 10, 10}, "[100 100 100 10 10]", 0},
		"a restart under twice the load":  {[]float64{100, 120, 140, 39, 60}, "[100 120 140 39 60]", 0},
		"a restart before more load":      {[]float64{100, 101, 102, 90, 180}, "[100 101 102 90 180]", 0},
		"a restart of batches":            {[]float64{0, 100, 100, 200, 200, 100}, "[0 100 100 200 200 100]", 0},
		"a restart before uneven load":    {[]float64{500, 200, 210, 400, 600}, "[500 200 210 400 600]", 0},
		"another process":                 {[]float64{100, 120, 140, 130, 150}, "[100 120 140 NaN 130 150]", 0},
		"another process, in turn":        {[]float64{5000, 5900, 5020, 5920}, "[5000 5900 NaN 5020 5920]", 0},
		"a single page before":            {[]float64{500, 300, 320}, "[500 NaN 300 320]", 0},
		"a single page before a restart":  {[]float64{500, 5, 25}, "[500 5 25]", 0},
		"an error of one page":            {[]float64{100, 120, 1e308, 160, 180}, "[100 120 160 180]", 30},
		"infinity on one page":            {[]float64{100, 120, 140, math.Inf(1), 180, 200}, "[100 120 140 180 200]", 40},
		"a counter below zero":            {[]float64{100, 120, -5, -5}, "[100 120 NaN -5 -5]", 0},
		"zero on one page":                {[]float64{1e6, 1e6 + 20, 0, 1e6 + 60, 1e6 + 80}, "[1e+06 1.00002e+06 1.00006e+06 1.00008e+06]", 30},
		"zero for a while":                {[]float64{1e6, 1e6 + 20, 0, 0, 0, 1e6 + 100}, "[1e+06 1.00002e+06 1.0001e+06]", 50},
		"zero for a while, again":         {[]float64{1e6, 1e6, 0, 1e6, 1e6, 0, 0, 1e6}, "[1e+06 1e+06 1e+06 1e+06 1e+06]", 70},
		"zero up to now":                  {[]float64{1e6, 1e6 + 20, 0, 0}, "[1e+06 1.00002e+06 0 0]", 0},
		"two processes from the start":    {[]float64{5000, 1005, 5010}, "[5000 5010]", 20},
		"one page of another process":     {[]float64{100, 120, 5000, 160, 180}, "[100 120 160 180]", 30},
		"pages of another process":        {[]float64{100, 120, 5000, 5020, 5040, 200}, "[100 120 200]", 50},
		"a restart, and soon as much":     {[]float64{40, 0, 100, 200}, "[40 0 100 200]", 0},
		"a restart at once":               {[]float64{905, 0, 153, 169, 320, 902, 1018}, "[905 0 153 169 320 902 1018]", 0},
		"a restart, and later as much":    {[]float64{40, 50, 60, 5, 15, 25, 35, 45, 55, 65}, "[40 50 60 5 15 25 35 45 55 65]", 0},
		"a restart, and a larger batch":   {[]float64{1000, 1000, 0, 0, 1500, 1500}, "[1000 1000 0 0 1500 1500]", 0},
		"a restart, and a burst":          {[]float64{891, 891, 891, 0, 300, 600, 600, 1500, 1500}, "[891 891 891 0 300 600 600 1500 1500]", 0},
		"a restart, and batches":          {[]float64{151, 151, 0, 40, 60, 80, 100, 120, 220, 220}, "[151 151 0 40 60 80 100 120 220 220]", 0},
		"zero and little more":            {[]float64{1e6, 1e6 + 20, 0, 20, 1e6 + 80}, "[1e+06 1.00002e+06 1.00008e+06]", 40},
		"zero before a marker":            {[]float64{1000, 1000, 0, end, 1000}, "[1000 1000 1000]", 40},
		"a restart before a marker":       {[]float64{1000, 1100, 0, 100, end, 2000}, "[1000 1100 0 100 NaN 2000]", 0},
		"another process behind a marker": {[]float64{100, 120, end, 60, 80, 70}, "[100 120 NaN 60 80 NaN 70]", 0},
	} {
		times := make([]int64, len(tc.values))
		for i := range times {
			times[i] = int64(10 * i)
		}
		before := fmt.Sprint(tc.values)
		got, values, unexplained, since := separateCounterProcesses(times, tc.values, 0)
		if fmt.Sprint(values) != tc.want || len(got) != len(values) || (unexplained > 0) != (fmt.Sprint(values) != before) {
			t.Errorf("%s: %v, %d unexplained, want %s", name, values, unexplained, tc.want)
		}
		if unexplained > 0 && tc.since > 0 && got[since] != tc.since {
			t.Errorf("%s: goes on at %d, want %d", name, got[since], tc.since)
		}
		if fmt.Sprint(tc.values) != before {
			t.Errorf("%s: the slice changed", name)
		}
	}
}

// TestRestartWithTheLoadOfOthers: a counter that begins again may get all the load of its process's other counters. Counters that decrease do
// not tell that load: several processes may count in them.
func TestRestartWithTheLoadOfOthers(t *testing.T) {
	t.Parallel()
	times, values := []int64{0, 10, 20, 30, 40, 50}, []float64{100, 110, 110, 110, 80, 80}
	for name, tc := range map[string]struct {
		others [][]float64
		want   string
	}{
		"no other":           {nil, "[100 110 110 110 NaN 80 80]"},
		"the load is there":  {[][]float64{{0, 0, 100, 200, 220, 220}}, "[100 110 110 110 80 80]"},
		"in two others":      {[][]float64{{0, 0, 50, 100, 110, 110}, {9, 9, 59, 109, 119, 119}}, "[100 110 110 110 80 80]"},
		"an error of a page": {[][]float64{{0, 0, 1000, 1000, 1000, 1000}}, "[100 110 110 110 NaN 80 80]"},
		"another decreases":  {[][]float64{{100, 100, 200, 300, 20, 120}}, "[100 110 110 110 NaN 80 80]"},
	} {
		rates := map[int64]float64{}
		for _, other := range tc.others {
			addSteadyQueriedRates(rates, times, other)
		}
		if _, got, _, _ := separateCounterProcesses(times, values, secondHighestQueriedRate(rates)); fmt.Sprint(got) != tc.want {
			t.Errorf("%s: %v, want %s", name, got, tc.want)
		}
	}
}
