package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestPages: pages rendered in advance equal promhttp's.
func TestPages(t *testing.T) {
	t.Parallel()
	for mode, series := range map[string][2]int{ // of the whole page, and of one family
		wholePages: {605, 605}, namedPages: {605, 24}, livePages: {605, 24},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newBenchPages(mode)
			for i, query := range []string{"", "name[]=" + family} {
				answer := httptest.NewRecorder()
				p.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics?"+query, http.NoBody))
				if n := countPageSeries(answer.Body.Bytes()); n < series[i]*9/10 || n > series[i]*11/10 { // Go's own series vary
					t.Errorf("page %q has %d series, want about %d", query, n, series[i])
				}
			}
			if n := p.served.Load(); n != 2 {
				t.Errorf("%d pages served, want 2", n)
			}
		})
	}
}
