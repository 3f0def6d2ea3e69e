package exposition

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// countedPage is a page of a script: its time in seconds, and its lines.
type countedPage struct {
	at   int
	body string
	want string // the samples before those of the page, as series=value@seconds
}

// counterScript is a target's pages.
type counterScript struct {
	started int // seconds; 0: unknown
	family  string
	pages   []countedPage
}

const (
	counterType = "# TYPE a counter\n"
	gaugeType   = "# TYPE a gauge\n"
)

// appearingCounters are series that appear between pages, or on the first.
var appearingCounters = map[string]counterScript{
	"traffic moves to another series": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 50000\n", ""},
		{12, counterType + "a{code=\"200\"} 52000\n", ""},
		{14, counterType + "a{code=\"200\"} 52010\na{code=\"500\"} 1990\n", "500=0@12"},
		{16, counterType + "a{code=\"200\"} 52010\na{code=\"500\"} 3990\n", ""},
	}},
	"traffic moves to another series on each page": {0, "a", []countedPage{
		{10, counterType + "a{code=\"0\"} 50000\n", ""},
		{12, counterType + "a{code=\"0\"} 52000\n", ""},
		{14, counterType + "a{code=\"0\"} 52000\na{code=\"1\"} 2000\n", "1=0@12"},
		{16, counterType + "a{code=\"1\"} 2000\na{code=\"2\"} 1990\n", "2=0@14"},
		{18, counterType + "a{code=\"2\"} 1990\na{code=\"3\"} 2010\n", "3=0@16"},
		{20, counterType + "a{code=\"3\"} 2010\na{code=\"4\"} 2000\n", "4=0@18"},
	}},
	"new counters do not prove the next ones": {0, "a", []countedPage{
		{10, counterType + "a{code=\"0\"} 1000\n", ""},
		{12, counterType + "a{code=\"0\"} 1020\n", ""},
		{14, counterType + "a{code=\"0\"} 1020\na{code=\"1\"} 200\n", "1=0@12"},
		{16, counterType + "a{code=\"0\"} 1020\na{code=\"1\"} 200\na{code=\"2\"} 2000\n", ""},
		{18, counterType + "a{code=\"0\"} 1020\na{code=\"1\"} 200\na{code=\"2\"} 2000\n", "2=2000@16"},
	}},
	"a page between was rejected": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 50000\n", ""},
		{12, counterType + "a{code=\"200\"} 52000\n", ""},
		{14, counterType + "a{code=\"200\"} 1\na{code=\"200\"} 2\n", "rejected"},
		{16, counterType + "a{code=\"200\"} 56010\na{code=\"500\"} 1990\n", "500=0@12"},
	}},
	"the first event": {0, "a", []countedPage{
		{10, "", ""},
		{12, counterType + "a{code=\"200\"} 1\n", "200=0@10"},
	}},
	"many first events": {0, "a", []countedPage{
		{10, "", ""},
		{12, counterType + "a{code=\"200\"} 200\n", ""},
		{14, counterType + "a{code=\"200\"} 400\n", "200=0@10 200=200@12"},
	}},
	"a new counter begins with a batch": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 100\n", ""},
		{12, counterType + "a{code=\"200\"} 150\n", ""},
		{14, counterType + "a{code=\"200\"} 150\n", ""},
		{16, counterType + "a{code=\"200\"} 150\na{code=\"500\"} 50\n", "500=0@14"},
	}},
	"a new counter begins with more than a batch": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 100\n", ""},
		{12, counterType + "a{code=\"200\"} 150\n", ""},
		{14, counterType + "a{code=\"200\"} 150\n", ""},
		{16, counterType + "a{code=\"200\"} 150\na{code=\"500\"} 101\n", ""},
		{18, counterType + "a{code=\"200\"} 150\na{code=\"500\"} 101\n", "500=101@16"},
	}},
	"the load comes back after a pause, to another series": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 50000\n", ""},
		{12, counterType + "a{code=\"200\"} 51100\n", ""},
		{14, counterType + "a{code=\"200\"} 52300\n", ""},
		{16, counterType + "a{code=\"200\"} 52300\n", ""},
		{36, counterType + "a{code=\"200\"} 52300\n", ""},
		{38, counterType + "a{code=\"200\"} 52300\na{code=\"500\"} 1250\n", "500=0@36"},
	}},
	"a new counter is as large as the growth over a minute without pages": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 1000\n", ""},
		{12, counterType + "a{code=\"200\"} 1800\n", ""},
		{14, counterType + "a{code=\"200\"} 2600\n", ""},
		{74, counterType + "a{code=\"200\"} 26600\n", ""},
		{76, counterType + "a{code=\"200\"} 27400\na{code=\"500\"} 20000\n", ""},
		{78, counterType + "a{code=\"200\"} 28200\na{code=\"500\"} 20000\n", "500=20000@76"},
	}},
	"an exporter finds its server again": {0, "a", []countedPage{
		{10, "", ""},
		{12, counterType + "a{code=\"200\"} 5000000\n", ""},
		{14, counterType + "a{code=\"200\"} 5000200\n", "200=5000000@12"},
	}},
	"an exporter starts": {8, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 5000000\n", ""},
		{12, counterType + "a{code=\"200\"} 5000200\n", "200=5000000@10"},
	}},
	"a service starts": {7, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 2\na{code=\"500\"} 0\n", "200=0@7 500=0@7"},
		{12, counterType + "a{code=\"200\"} 2000\na{code=\"500\"} 0\n", ""},
	}},
	"a busy service is found late": {1, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 900\n", ""},
		{12, counterType + "a{code=\"200\"} 1100\n", "200=0@1 200=900@10"},
	}},
	"start unknown": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 2\n", ""},
		{12, counterType + "a{code=\"200\"} 3\n", ""},
	}},
	"a series is gone for a page and goes on": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 5\na{code=\"500\"} 8\n", ""},
		{12, counterType + "a{code=\"200\"} 6\n", ""},
		{14, counterType + "a{code=\"200\"} 7\na{code=\"500\"} 8\n", ""},
	}},
	"an idle series is removed for a page and has more": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 5000\na{code=\"500\"} 40\n", ""},
		{12, counterType + "a{code=\"200\"} 5200\na{code=\"500\"} 40\n", ""},
		{14, counterType + "a{code=\"200\"} 5400\n", ""},
		{16, counterType + "a{code=\"200\"} 5410\na{code=\"500\"} 190\n", "500=0@14.001"},
	}},
	"a series at 0 is removed and has more": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 5000\na{code=\"500\"} 0\n", ""},
		{12, counterType + "a{code=\"200\"} 5200\n", ""},
		{14, counterType + "a{code=\"200\"} 5400\n", ""},
		{16, counterType + "a{code=\"200\"} 5410\na{code=\"500\"} 190\n", "500=0@14"},
	}},
	"a busy series is gone for a page and has more": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 5000\na{code=\"500\"} 1000\n", ""},
		{12, counterType + "a{code=\"200\"} 5200\na{code=\"500\"} 1200\n", ""},
		{14, counterType + "a{code=\"200\"} 5400\n", ""},
		{16, counterType + "a{code=\"200\"} 5600\na{code=\"500\"} 1620\n", ""},
	}},
	"a series of unknown rate is gone for a page and has more": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 5000\na{code=\"500\"} 1000\n", ""},
		{12, counterType + "a{code=\"200\"} 5200\n", ""},
		{14, counterType + "a{code=\"200\"} 5400\na{code=\"500\"} 1620\n", ""},
	}},
	"a series is gone for a page and begins again": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 5\na{code=\"500\"} 8\n", ""},
		{12, counterType + "a{code=\"200\"} 6\n", ""},
		{14, counterType + "a{code=\"200\"} 7\na{code=\"500\"} 1\n", "500=0@12.001"},
	}},
}

// typedCounters are pages with different types of families, and with created samples.
var typedCounters = map[string]counterScript{
	"gauge": {7, "a", []countedPage{
		{10, gaugeType + "a{code=\"200\"} 2\n", ""},
		{12, gaugeType + "a{code=\"200\"} 2\na{code=\"500\"} 3\n", ""},
	}},
	"no type, no suffix": {7, "a", []countedPage{
		{10, "a{code=\"200\"} 2\n", ""},
		{12, "a{code=\"200\"} 2\na{code=\"500\"} 3\n", ""},
	}},
	"no type, _total": {7, "a_total", []countedPage{
		{10, "a_total{code=\"200\"} 2\n", "200=0@7"},
		{12, "a_total{code=\"200\"} 2\na_total{code=\"500\"} 3\n", "500=0@10"},
	}},
	"histogram": {7, "a", []countedPage{
		{10, "# TYPE a histogram\na_bucket{code=\"1\",le=\"+Inf\"} 2\na_sum{code=\"2\"} 3\na_count{code=\"3\"} 2\n", "1=0@7 2=0@7 3=0@7"},
	}},
	"summary": {7, "a", []countedPage{
		{10, "# TYPE a summary\na{code=\"1\",quantile=\"0.5\"} 2\na_sum{code=\"2\"} 3\na_count{code=\"3\"} 2\n", "2=0@7 3=0@7"},
	}},
	"created, before the samples": {0, "a_total", []countedPage{
		{10, "a_created{code=\"200\"} 4.5\na_created{code=\"500\"} 9\n# TYPE a_total counter\na_total{code=\"200\"} 20000\na_total{code=\"500\"} 2\n", "200=0@4.5 500=0@9"},
	}},
	"created, after the samples": {7, "a_total", []countedPage{
		{10, "# TYPE a_total counter\na_total{code=\"200\"} 20000\na_total{code=\"500\"} 2\na_created{code=\"200\"} 4.5\n", "200=0@4.5 500=0@7"},
	}},
	"created long before": {7, "a_total", []countedPage{
		{10, "a_created{code=\"200\"} 0.5\na_created{code=\"500\"} nonsense\n# TYPE a_total counter\na_total{code=\"200\"} 2\n", ""},
	}},
	"created histogram": {0, "a", []countedPage{
		{10, "# TYPE a histogram\na_bucket{code=\"1\",le=\"+Inf\"} 99\na_count{code=\"1\"} 99\na_created{code=\"1\"} 8\n", "1=0@8 1=0@8"},
	}},
	"NaN and a timestamp before the page": {0, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 2\n", ""},
		{12, counterType + "a{code=\"500\"} NaN\na{code=\"400\"} 3 9000\n", ""},
	}},
}

// returningCounters are counters that go back while their process runs on, and return.
var returningCounters = map[string]counterScript{
	"zero while the program behind it is away": {7, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 50000\n", ""},
		{12, counterType + "a{code=\"200\"} 50020\n", "200=50000@10"}, // held back for want of a proof
		{14, counterType + "a{code=\"200\"} 0\n", ""},
		{16, counterType + "a{code=\"200\"} 0\n", ""},
		{18, counterType + "a{code=\"200\"} 50080\n", "200=NaN@17.999"},
		{20, counterType + "a{code=\"200\"} 50100\n", ""},
		{22, counterType + "a{code=\"200\"} 0\n", ""},
		{24, counterType + "a{code=\"200\"} 50100\n", "200=NaN@23.999"},
	}},
	"reset by its program": {7, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 100\n", ""},
		{12, counterType + "a{code=\"200\"} 0\n", "200=100@10"},
		{14, counterType + "a{code=\"200\"} 60\n", ""},
		{16, counterType + "a{code=\"200\"} 120\n", ""},
		{18, counterType + "a{code=\"200\"} 2000\n", ""},
	}},
	"few events": {7, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 5\n", "200=0@7"},
		{12, counterType + "a{code=\"200\"} 0\n", ""},
		{14, counterType + "a{code=\"200\"} 6\n", ""},
	}},
	"restarted, and at once as large": {11, "a", []countedPage{
		{10, counterType + "a{code=\"200\"} 100\n", ""},
		{12, counterType + "a{code=\"200\"} 0\n", ""},
		{14, counterType + "a{code=\"200\"} 1000\n", ""},
	}},
}

// TestCounterBeginnings reads pages, and checks which zeros and staleness markers come before them.
func TestCounterBeginnings(t *testing.T) {
	t.Parallel()
	scripts := maps.Clone(appearingCounters)
	maps.Copy(scripts, typedCounters)
	maps.Copy(scripts, restartedCounters)
	maps.Copy(scripts, returningCounters)
	for name, tc := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewParser(testOwn)
			page := newTestPage(Text, tc.family)
			page.Oldest = time.Unix(1, 0)
			if tc.started > 0 {
				page.Started = time.Unix(int64(tc.started), 0)
			}
			for _, next := range tc.pages {
				page.Now = time.Unix(int64(next.at), 0)
				r, err := p.Parse(page, []byte(next.body))
				got := formatEarlier(r.Earlier)
				if err != nil {
					got = "rejected"
				}
				if got != next.want {
					t.Errorf("at %d s: %q before the page, want %q", next.at, got, next.want)
				}
			}
		})
	}
}

// TestDecreasingCounters reads pages of counters that go back: several processes behind one port do so while no process starts anew.
func TestDecreasingCounters(t *testing.T) {
	t.Parallel()
	inTurn := func(processes int) func(page int) float64 {
		return func(page int) float64 { return float64(1000*(page%processes) + page) }
	}
	for name, tc := range map[string]struct {
		value   func(page int) float64
		started func(page int) int // seconds since the first page; pages come every 2 s
		want    int                // the first page that says so; 0: none of 200
	}{
		"eight processes":             {inTurn(8), nil, 24},
		"twenty processes":            {inTurn(20), nil, 60},
		"two processes":               {inTurn(2), nil, 6},
		"too many to be noticed":      {inTurn(40), nil, 0},
		"a counter":                   {func(page int) float64 { return float64(page) }, nil, 0},
		"two restarts of a process":   {func(page int) float64 { return float64(page % 70) }, nil, 0},
		"a container that crashes":    {inTurn(8), func(page int) int { return page/8*16 - 1 }, 0},
		"an unknown container":        {inTurn(8), func(int) int { return 0 }, 0},
		"rounding errors":             {func(page int) float64 { return 1e6 - 1e-7*float64(page%2) }, nil, 0},
		"decreases that are over":     {func(page int) float64 { return float64(page + 1000*(min(page, 24)%8)) }, nil, 24},
		"a restart within every hour": {func(page int) float64 { return float64(page % 100) }, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewParser(testOwn)
			page := newTestPage(Text, "a_total")
			page.FindBeginnings = true
			first, decreasing := 0, false
			for i := range 200 {
				page.Now = testNow.Add(time.Duration(i) * 2 * time.Second)
				page.Started = testNow.Add(-time.Hour)
				switch {
				case tc.started == nil:
				case tc.started(i) == 0:
					page.Started = time.Time{}
				default:
					page.Started = testNow.Add(time.Duration(tc.started(i)) * time.Second).Truncate(time.Second)
				}
				r, err := p.Parse(page, fmt.Appendf(nil, "a_total %.9f\n", tc.value(i)))
				if err != nil {
					t.Fatal(err)
				}
				if decreasing = r.Families[0].Decreasing; decreasing && first == 0 {
					first = i
				}
			}
			if first != tc.want {
				t.Errorf("decreasing from page %d on, want %d", first, tc.want)
			}
			if over := name == "decreases that are over"; decreasing && over {
				t.Error("decreasing for ever")
			}
		})
	}
}

// TestProcessesWithLabelsOfTheirOwn reads the pages of several processes that write their number as a label: their counters never decrease.
// Counters that come and go beside others, and after scrapes that failed, are those of one process.
func TestProcessesWithLabelsOfTheirOwn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body   func(page int) string
		failed func(page int) bool
		want   bool
	}{
		"two processes":   {func(page int) string { return fmt.Sprintf("a_total{pid=\"%d\"} %d\n", page%2, page) }, nil, true},
		"eight processes": {func(page int) string { return fmt.Sprintf("a_total{pid=\"%d\"} %d\n", page%8, page) }, nil, true},
		"a counter that comes and goes": {func(page int) string {
			return fmt.Sprintf("a_total{pid=\"0\"} %d\na_total{pid=\"%d\"} %d\n", page, 1+page%2, page)
		}, nil, false},
		"new labels with each deployment": {func(page int) string { return fmt.Sprintf("a_total{version=\"%d\"} %d\n", page/4, page) }, nil, false},
		"after failed scrapes":            {func(page int) string { return fmt.Sprintf("a_total %d\n", page) }, func(page int) bool { return page%5 == 4 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewParser(testOwn)
			page := newTestPage(Text, "a_total")
			page.FindBeginnings, page.Started = true, testNow.Add(-time.Hour)
			got := false
			for i := range 100 {
				page.Now = testNow.Add(time.Duration(i) * 2 * time.Second)
				if tc.failed != nil && tc.failed(i) {
					p.EndSeries(page.Now.UnixMilli())
					continue
				}
				r, err := p.Parse(page, []byte(tc.body(i)))
				if err != nil {
					t.Fatal(err)
				}
				got = got || r.Families[0].Decreasing
			}
			if got != tc.want {
				t.Errorf("several processes: %v, want %v", got, tc.want)
			}
		})
	}
}

// TestDecreasingSeries reads a page of an exporter: counters of several backends restart one after the other, and a histogram of
// temperatures has negative observations. No counter decreases again and again.
func TestDecreasingSeries(t *testing.T) {
	t.Parallel()
	p := NewParser(testOwn)
	page := newTestPage(Text, "a_total", "temperature")
	page.FindBeginnings, page.Started = true, testNow.Add(-time.Hour)
	for i := range 200 {
		page.Now = testNow.Add(time.Duration(i) * 2 * time.Second)
		var body strings.Builder
		for backend := range 30 {
			fmt.Fprintf(&body, "a_total{backend=\"%d\"} %d\n", backend, (i+10*backend)%300)
		}
		fmt.Fprintf(&body, "# TYPE temperature histogram\ntemperature_bucket{le=\"+Inf\"} %d\ntemperature_sum %d\ntemperature_count %d\n", i, i%2, i)
		r, err := p.Parse(page, []byte(body.String()))
		if err != nil {
			t.Fatal(err)
		}
		for f, name := range page.Families.Names() {
			if r.Families[f].Decreasing {
				t.Fatalf("page %d: %s decreases", i, name)
			}
		}
	}
}

func formatEarlier(samples []Sample) string {
	var parts []string
	for _, s := range samples {
		parts = append(parts, fmt.Sprintf("%s=%.0f@%v", s.Series.Labels.Get("code"), s.Value, float64(s.Time)/1000))
	}
	return strings.Join(parts, " ")
}

// TestOtherFamiliesKeepTheHistory changes the demand between two pages.
func TestOtherFamiliesKeepTheHistory(t *testing.T) {
	t.Parallel()
	p := NewParser(testOwn)
	page := newTestPage(Text, "b_total")
	page.Now = time.Unix(10, 0)
	mustParse(t, p, page, []byte("b_total{code=\"1\"} 1\n"), 1)
	page = newTestPage(Text, "a_total", "b_total")
	page.Now = time.Unix(12, 0)
	r := mustParse(t, p, page, []byte("a_total{code=\"3\"} 5\nb_total{code=\"1\"} 1\nb_total{code=\"2\"} 1\n"), 3)
	if got, want := formatEarlier(r.Earlier), "2=0@10"; got != want {
		t.Errorf("%q, want %q: nobody asked for a before", got, want)
	}
}

// TestRoundingErrorIsNoRestart reads a counter of floats that decreases by a rounding error.
func TestRoundingErrorIsNoRestart(t *testing.T) {
	t.Parallel()
	p := NewParser(testOwn)
	page := newTestPage(Text, "a_total")
	mustParse(t, p, page, []byte("a_total 100.00000000000003\n"), 1)
	for body, want := range map[string]float64{"a_total 100\n": 100.00000000000003, "a_total 99.9999\n": 99.9999} {
		if r := mustParse(t, p, page, []byte(body), 1); r.Samples[0].Value != want {
			t.Errorf("%q gives %v, want %v", body, r.Samples[0].Value, want)
		}
		mustParse(t, p, page, []byte("a_total 100.00000000000003\n"), 1)
	}
}

// TestNewProcessOfUnknownStart: a counter whose series ended without a page comes back with more than it had. It goes on if its process does,
// and begins anew if another has started, be the time unknown.
func TestNewProcessOfUnknownStart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		started int64 // of the process, at the newest page; 0: unknown
		fresh   bool
		want    string
	}{{1, false, "200=5@11.001"}, {0, false, ""}, {0, true, "200=0@11.001"}, {13, false, "200=0@11.001"}} {
		p := NewParser(testOwn)
		page := newTestPage(Text, "a_total")
		page.Now, page.Started, page.Oldest = time.Unix(10, 0), time.Unix(1, 0), time.Unix(1, 0)
		mustParse(t, p, page, []byte("a_total{code=\"200\"} 5\n"), 1)
		p.EndSeries(11_000)
		page.Now, page.Started, page.NewProcess = time.Unix(14, 0), time.Time{}, tc.fresh
		if tc.started > 0 {
			page.Started = time.Unix(tc.started, 0)
		}
		r := mustParse(t, p, page, []byte("a_total{code=\"200\"} 9\n"), 1)
		if got := formatEarlier(r.Earlier); got != tc.want {
			t.Errorf("started at %d s, new process %v: %q before the page, want %q", tc.started, tc.fresh, got, tc.want)
		}
	}
}

// TestRestartedProcessBeginsAnew: a counter that comes back with the value it had goes on, unless its process has started since.
func TestRestartedProcessBeginsAnew(t *testing.T) {
	t.Parallel()
	for started, want := range map[int64]string{1: "", 13: "200=0@12.001"} {
		p := NewParser(testOwn)
		page := newTestPage(Text, "a_total")
		page.Oldest = time.Unix(1, 0)
		for i, body := range []string{"a_total{code=\"200\"} 7\n", "a_total{code=\"500\"} 1\n", "a_total{code=\"200\"} 7\n"} {
			page.Now, page.Started = time.Unix(10+2*int64(i), 0), time.Unix(1, 0)
			if i == 2 {
				page.Started = time.Unix(started, 0)
			}
			r := mustParse(t, p, page, []byte(body), 1)
			if got := formatEarlier(r.Earlier); i == 2 && got != want {
				t.Errorf("started at %d s: %q before the page, want %q", started, got, want)
			}
		}
	}
}
