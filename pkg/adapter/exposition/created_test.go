package exposition

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	counterTotalType = "# TYPE a_total counter\n"
	histogramType    = "# TYPE a histogram\n"
)

// restartedCounters begin anew between two pages, with no less than before: only created samples tell.
var restartedCounters = map[string]counterScript{
	"created moves": {0, "a_total", []countedPage{
		{8, counterTotalType + "a_total 50\na_created 0.5\n", ""},
		{10, counterTotalType + "a_total 100\na_created 0.5\n", ""},
		{12, counterTotalType + "a_total 150\na_created 11\n", "=0@11"},
		{14, counterTotalType + "a_total 250\na_created 11\n", ""},
		{16, counterTotalType + "a_total 290\na_created 15\n", "=0@15"},
	}},
	"created moves, few events": {0, "a_total", []countedPage{
		{10, counterTotalType + "a_total 3\na_created 0.5\n", ""},
		{12, counterTotalType + "a_total 3\na_created 11\n", "=0@11"},
	}},
	"created moves, of one of two": {0, "a_total", []countedPage{
		{8, counterTotalType + "a_total{code=\"200\"} 50\na_total{code=\"500\"} 85\na_created{code=\"200\"} 0.5\na_created{code=\"500\"} 0.5\n", ""},
		{10, counterTotalType + "a_total{code=\"200\"} 100\na_total{code=\"500\"} 90\na_created{code=\"200\"} 0.5\na_created{code=\"500\"} 0.5\n", ""},
		{12, counterTotalType + "a_total{code=\"200\"} 150\na_total{code=\"500\"} 95\na_created{code=\"200\"} 11\na_created{code=\"500\"} 0.5\n", "200=0@11"},
	}},
	"created moves, of a histogram": {0, "a", []countedPage{
		{8, histogramType + "a_bucket{code=\"1\",le=\"+Inf\"} 59\na_count{code=\"1\"} 59\na_created{code=\"1\"} 0.5\n", ""},
		{10, histogramType + "a_bucket{code=\"1\",le=\"+Inf\"} 99\na_count{code=\"1\"} 99\na_created{code=\"1\"} 0.5\n", ""},
		{12, histogramType + "a_bucket{code=\"1\",le=\"+Inf\"} 99\na_count{code=\"1\"} 99\na_created{code=\"1\"} 11\n", "1=0@11 1=0@11"},
	}},
	"created moves, of a summary": {0, "a", []countedPage{
		{8, "# TYPE a summary\na_sum{code=\"1\"} 5\na_count{code=\"1\"} 59\na_created{code=\"1\"} 0.5\n", ""},
		{10, "# TYPE a summary\na_sum{code=\"1\"} 9\na_count{code=\"1\"} 99\na_created{code=\"1\"} 0.5\n", ""},
		{12, "# TYPE a summary\na_sum{code=\"1\"} 9\na_count{code=\"1\"} 101\na_created{code=\"1\"} 11\n", "1=0@11 1=0@11"},
	}},
	"created moves, by a clock that is ahead": {0, "a_total", []countedPage{
		{8, counterTotalType + "a_total 50\na_created 0.5\n", ""},
		{10, counterTotalType + "a_total 100\na_created 0.5\n", ""},
		{12, counterTotalType + "a_total 150\na_created 16\n", "=0@10.001"},
	}},
	"created moves, by a clock that is behind": {0, "a_total", []countedPage{
		{8, counterTotalType + "a_total 50\na_created 0.5\n", ""},
		{10, counterTotalType + "a_total 100\na_created 0.5\n", ""},
		{12, counterTotalType + "a_total 150\na_created 6\n", "=0@10.001"},
	}},
	"created moves on a page that is rejected": {0, "a_total", []countedPage{
		{8, counterTotalType + "a_total 50\na_created 0.5\n", ""},
		{10, counterTotalType + "a_total 100\na_created 0.5\n", ""},
		{12, counterTotalType + "a_total 120\na_total 121\na_created 11\n", "rejected"},
		{14, counterTotalType + "a_total 150\na_created 11\n", "=0@11"},
	}},
	"created moves, and the counter is less": {0, "a_total", []countedPage{
		{8, counterTotalType + "a_total 50\na_created 0.5\n", ""},
		{10, counterTotalType + "a_total 100\na_created 0.5\n", ""},
		{12, counterTotalType + "a_total 60\na_created 11\n", ""},
		{14, counterTotalType + "a_total 120\na_created 11\n", ""},
	}},
	"created before the page, for the first time": {0, "a_total", []countedPage{
		{8, counterTotalType + "a_total 50\n", ""},
		{10, counterTotalType + "a_total 100\n", ""},
		{12, counterTotalType + "a_total 150\na_created 11\n", ""},
	}},
	"the time of the newest backup": {0, "a_total", []countedPage{
		{8, counterTotalType + "a_total 49999\na_created 0.5\n", ""},
		{10, counterTotalType + "a_total 50000\na_created 9\n", ""},
		{12, counterTotalType + "a_total 50001\na_created 11\n", ""},
		{14, counterTotalType + "a_total 50002\na_created 13\n", ""},
	}},
	"another counter, of a similar name": {0, "a_total", []countedPage{
		{1000, counterTotalType + "a_total 50\na_created 0.7\n", ""},
		{1002, counterTotalType + "a_total 60\na_created 0.8\n", ""},
		{1004, counterTotalType + "a_total 70\na_created 0.9\n", ""},
	}},
	"a new counter, by a clock that is behind": {0, "a_total", []countedPage{
		{98, counterTotalType + "a_total{code=\"200\"} 50\na_created{code=\"200\"} 0.5\n", ""},
		{100, counterTotalType + "a_total{code=\"200\"} 100\na_created{code=\"200\"} 0.5\n", ""},
		{102, counterTotalType + "a_total{code=\"200\"} 150\na_created{code=\"200\"} 0.5\na_total{code=\"500\"} 60\na_created{code=\"500\"} 99\n", "500=0@100"},
		{104, counterTotalType + "a_total{code=\"200\"} 200\na_created{code=\"200\"} 0.5\na_total{code=\"500\"} 60\na_created{code=\"500\"} 99\na_total{code=\"404\"} 60\na_created{code=\"404\"} 9\n", ""},
	}},
	"a new counter of many events": {0, "a_total", []countedPage{
		{98, counterTotalType + "a_total{code=\"200\"} 1\na_created{code=\"200\"} 0.5\n", ""},
		{100, counterTotalType + "a_total{code=\"200\"} 1\na_created{code=\"200\"} 0.5\n", ""},
		{102, counterTotalType + "a_total{code=\"200\"} 1\na_created{code=\"200\"} 0.5\na_total{code=\"500\"} 600\na_created{code=\"500\"} 101\n", "500=0@100"},
	}},
}

// TestCreatedPages reads a page with created samples again and again: only new lines are decoded, and the parser forgets old lines.
func TestCreatedPages(t *testing.T) {
	t.Parallel()
	p := NewParser(testOwn)
	page := newTestPage(Text, "a_total")
	for i := range 5 * forgetAfterPages {
		var b strings.Builder
		b.WriteString(counterTotalType)
		for n := range 3 { // one series of three is another on each page
			label := fmt.Sprint(n + n/2*i)
			fmt.Fprintf(&b, "a_total{code=\"%s\"} %d\na_created{code=\"%s\"} %s\n", label, i+1, label, label)
		}
		page.Now = time.Unix(int64(1000+2*i), 0)
		if r, err := p.Parse(page, []byte(b.String())); err != nil || len(r.Families) != 1 {
			t.Fatal(r, err)
		}
		if decoded := len(p.created.times); i > 0 && decoded != 1 {
			t.Fatalf("page %d: %d created samples decoded, want 1", i, decoded)
		}
	}
	if n := len(p.created.pages); n > 2+2*forgetAfterPages {
		t.Errorf("%d lines remembered, of 3 on each page", n)
	}
}

// TestCreatedAfterTheEnd: a counter that ended without a page and comes back with more goes on, unless its created sample moved.
func TestCreatedAfterTheEnd(t *testing.T) {
	t.Parallel()
	for created, want := range map[string]string{"0.5": "=100@10.501", "11": "=0@11"} {
		p := NewParser(testOwn)
		page := newTestPage(Text, "a_total")
		page.Oldest, page.Started = time.Unix(1, 0), time.Unix(1, 0)
		for i, body := range []string{"a_total 50\na_created 0.5\n", "a_total 100\na_created 0.5\n", "a_total 150\na_created " + created + "\n"} {
			if i == 2 {
				p.EndSeries(10500)
			}
			page.Now = time.Unix(int64(8+2*i), 0)
			r, err := p.Parse(page, []byte(counterTotalType+body))
			if err != nil {
				t.Fatal(err)
			}
			if got := formatEarlier(r.Earlier); i == 2 && got != want {
				t.Errorf("created %s: %q before the page, want %q", created, got, want)
			}
		}
	}
}
