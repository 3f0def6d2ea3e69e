package main

import "testing"

func TestPageSize(t *testing.T) {
	t.Parallel()
	s := newBenchService()
	s.advanceBenchSeries()
	for query, want := range map[string][4]int{ // minimum and maximum of series and bytes
		"":                 {580, 640, 45_000, 55_000},
		"name[]=" + family: {24, 24, 1000, 3000},
	} {
		page := s.renderBenchPage(query)
		if n := countPageSeries(page); n < want[0] || n > want[1] || len(page) < want[2] || len(page) > want[3] {
			t.Errorf("page %q has %d series in %d bytes, want %v", query, n, len(page), want)
		}
	}
}
