package exposition

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

// TestRejectedFamily reads pages with a fault in the family b: the family a must not suffer.
func TestRejectedFamily(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lines string
		kind  ErrorKind
	}{
		"duplicate":   {"b 1\nb 2\n", KindDuplicate},
		"not UTF-8":   {"b{x=\"\xff\"} 1\n", KindNotUTF8},
		"long line":   {"b{x=\"" + strings.Repeat("x", 2*maxLineBytes) + "\"} 1\n", KindTooLong},
		"many labels": {"b{" + strings.Repeat("x=\"\",", 65) + "} 1\n", KindTooManyLabels},
		"long labels": {"b{x=\"" + strings.Repeat("x", 600) + "\",y=\"" + strings.Repeat("y", 600) + "\"} 1\n", KindLabelsTooLong},
		"label twice": {"b{x=\"1\",x=\"2\"} 1\n", KindSyntax},
		"no value":    {"b{x=\"1\"}\nb{x=\"2\"} 1\n", KindSyntax},
		"bad type":    {"# TYPE b nonsense\nb 1\n", KindSyntax},
		"future":      {"b 1 1700000090000\n", KindFuture},
		"too many":    {strings.Repeat("b{x=\"0\"} 1\n", 3) + manyB(1000), KindTooManySamples},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const goodB = "b{ok=\"1\"} 1\n"
			p := NewParser(testOwn)
			page := newTestPage(Text, "a", "b")
			page.MaxLabelBytes = 1 << 10
			mustParse(t, p, page, []byte("a 1\n"+goodB), 2)
			for range 2 {
				r := mustParse(t, p, page, []byte("a 1\n"+tc.lines+"a{i=\"1\"} 2\n"), 2)
				if r.Families[0].Err != nil || r.Families[1].Err == nil || r.Families[1].Err.Kind != tc.kind {
					t.Errorf("faults %v and %v, want none and %s", r.Families[0].Err, r.Families[1].Err, tc.kind)
				}
				if len(r.Vanished) != 0 || len(p.AliveSeries()) != 3 {
					t.Errorf("%d series vanished, %d alive: a rejected family says nothing about its series", len(r.Vanished), len(p.AliveSeries()))
				}
			}
			if r := mustParse(t, p, page, []byte("a 1\n"+goodB), 2); len(r.Vanished) != 1 || len(r.Earlier) != 0 {
				t.Errorf("then %d vanished, %d zeros; want a{i=\"1\"} alone, and no zero", len(r.Vanished), len(r.Earlier))
			}
		})
	}
}

// TestRejectedPageHoldsNothing: a page that finds no room gives back what it took on its way, but for the series of accepted families.
func TestRejectedPageHoldsNothing(t *testing.T) {
	t.Parallel()
	room, taken := int64(20_000), int64(0)
	page := newTestPage(Text, "a", "b")
	page.Reserve = func(bytes int64) error {
		if bytes > 0 && taken+bytes > room {
			return errors.New("full")
		}
		taken += bytes
		return nil
	}
	p := NewParser(testOwn)
	mustParse(t, p, page, []byte("a 1\n"), 1)
	held := taken
	for range 3 {
		r := mustParse(t, p, page, []byte("a 1\n"+manyB(1000)), 1)
		if err := r.Families[1].Err; err == nil || err.Kind != KindNoRoom {
			t.Fatalf("b is rejected for %v, want %s", err, KindNoRoom)
		}
		if taken != held || len(p.cache.byBytes) != 1 {
			t.Errorf("%d bytes of %d series taken, want %d of one", taken, len(p.cache.byBytes), held)
		}
	}
	mustParse(t, p, page, []byte("a 1\n"+manyB(10)), 11)
	held = taken
	page.Families = NewFamilies([]string{"b"})
	if _, err := p.Parse(page, []byte(manyB(1000))); err == nil || taken != held {
		t.Errorf("a rejected page: error %v, %d bytes taken, want an error and the %d bytes of the page before", err, taken, held)
	}
	room = 1 << 20
	mustParse(t, p, page, []byte(manyB(1000)), 1000)
}

func manyB(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "b{i=\"%d\"} 1\n", i)
	}
	return b.String()
}

// TestPageOverflow checks which families a page with too many samples loses.
func TestPageOverflow(t *testing.T) {
	t.Parallel()
	small := func(name string, n int) string {
		return strings.ReplaceAll(manyB(n), "b{", name+"{")
	}
	for name, tc := range map[string]struct {
		ranks []int
		body  string
		want  string // the families that stay
	}{
		"largest":           {nil, small("a", 600) + small("b", 300) + small("c", 300), "b c"},
		"highest rank":      {[]int{0, 1, 2}, small("a", 900) + small("b", 50) + small("c", 300), "a b"},
		"highest, first":    {[]int{2, 0, 1}, small("a", 900) + small("b", 50) + small("c", 300), "b c"},
		"one after another": {[]int{0, 1, 2}, small("a", 1000) + small("b", 1) + small("c", 1), "a"},
		"all fit":           {nil, small("a", 400) + small("b", 300) + small("c", 300), "a b c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := newTestPage(Text, "a", "b", "c")
			page.Ranks = tc.ranks
			r, err := NewParser(testOwn).Parse(page, []byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			var kept []string
			samples := 0
			for i, f := range r.Families {
				if f.Err == nil {
					kept = append(kept, page.Families.Names()[i])
					samples += f.Samples
				}
			}
			if got := strings.Join(kept, " "); got != tc.want || samples != len(r.Samples) {
				t.Errorf("families %q with %d samples of %d, want %q", got, samples, len(r.Samples), tc.want)
			}
		})
	}
}

// TestEndlessLineIsRejectedEarly checks that the parser rejects an endless line of the only wanted family at its bound.
func TestEndlessLineIsRejectedEarly(t *testing.T) {
	t.Parallel()
	p := NewParser(testOwn)
	p.BeginPage(newTestPage(Text, "a"))
	written, err := 0, error(nil)
	for _, piece := range []string{"a{", strings.Repeat("x=\"\",", maxLineBytes/5), strings.Repeat("x=\"\",", 100), "never"} {
		if _, err = p.Write([]byte(piece)); err != nil {
			break
		}
		written += len(piece)
	}
	if err == nil || written > maxLineBytes+10 {
		t.Errorf("%d bytes taken, error %v", written, err)
	}
}

func TestFamilyTypes(t *testing.T) {
	t.Parallel()
	const body = "# TYPE gateway_requests counter\ngateway_requests 1\n" +
		"# TYPE jobs_per_second gauge\njobs_per_second 5\n" +
		"# TYPE threads_count gauge\nthreads_count 5\n" +
		"# TYPE wait summary\nwait{quantile=\"0.5\"} 1\nwait_count 3\n" +
		"# TYPE took histogram\ntook_bucket{le=\"+Inf\"} 1\ntook_count 1\n" +
		"# TYPE tokens_bucket gauge\ntokens_bucket{user=\"a\"} 3\n" +
		"# TYPE odd_bucket counter\nodd_bucket{le=\"+Inf\"} 3\n# TYPE odd_count gauge\nodd_count 3\n" +
		"untyped{quantile=\"0.5\"} 1\n# TYPE level gauge\nlevel{quantile=\"0.5\"} 1\n" +
		"# TYPE other gauge\nbare_total 7\n# TYPE \"with.dots\" gauge\n{\"with.dots\"} 1\n"
	want := map[string]model.MetricType{
		"gateway_requests": "counter", "jobs_per_second": "gauge", "threads_count": "gauge", "wait": "summary", "took": "histogram",
		"took_count": "histogram", "bare_total": "unknown", "with.dots": "gauge", "absent": "",
		"tokens": "gauge", "odd": "unknown", "untyped": "summary", "level": "summary",
	}
	var names []string
	for name := range want {
		names = append(names, name)
	}
	page := newTestPage(Text, names...)
	p := NewParser(testOwn)
	for range 2 {
		r := mustParse(t, p, page, []byte(body), 14)
		for i, name := range page.Families.Names() {
			if got := r.Families[i].Type; got != want[name] {
				t.Errorf("%s is a %q, want %q", name, got, want[name])
			}
		}
	}
	r := mustParse(t, NewParser(testOwn), newTestPage(OpenMetrics, "jobs_total"), []byte("# TYPE jobs counter\njobs_total 1\n# EOF\n"), 1)
	if got := r.Families[0].Type; got != model.MetricTypeCounter {
		t.Errorf("jobs_total of an OpenMetrics page is a %q, want a counter", got)
	}
}

// TestRepeatedLines reads a page that repeats lines exactly: each is one sample.
func TestRepeatedLines(t *testing.T) {
	t.Parallel()
	p := NewParser(testOwn)
	for range 2 {
		mustParse(t, p, newTestPage(Text, "a", "b"), []byte("a 1\na 1\na 1\nb NaN\nb NaN\nb{x=\"\"} NaN\n"), 2)
	}
}

// TestRepeatedSeries reads a page that repeats a series with timestamps of its own: the newest sample is its value, in any order of the lines.
// Values that differ at one time reject the family.
func TestRepeatedSeries(t *testing.T) {
	t.Parallel()
	now := testNow.UnixMilli()
	for name, tc := range map[string]struct {
		body        string // %d: five seconds ago, one second ago
		value       float64
		age         time.Duration
		isDuplicate bool
	}{
		"the newest last":              {"a 1 %[1]d\na 2 %[2]d\n", 2, time.Second, false},
		"the newest first":             {"a 2 %[2]d\na 1 %[1]d\n", 2, time.Second, false},
		"one value":                    {"a 2 %[2]d\na 2 %[1]d\na 2 %[2]d\n", 2, time.Second, false},
		"with and without a timestamp": {"a 3\na 1 %[1]d\n", 3, 0, false},
		"without and with a timestamp": {"a 1 %[1]d\na 3\n", 3, 0, false},
		"two values at one time":       {"a 1 %[1]d\na 2 %[2]d\na 3 %[2]d\n", 0, 0, true},
		"both zeros":                   {"a 0\na -0\na 0.0\n", 0, 0, false},
		"labels in another order":      {"a{x=\"1\",y=\"2\"} 5\na{ y = \"2\" , x = \"1\", } 5e0\n", 5, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewParser(testOwn)
			for range 3 { // the second and third time on the fast path
				r, err := p.Parse(newTestPage(Text, "a"), fmt.Appendf(nil, tc.body+"# %[1]d %[2]d\n", now-5000, now-1000))
				if tc.isDuplicate {
					var rejected *Error
					if !errors.As(err, &rejected) || rejected.Kind != KindDuplicate {
						t.Errorf("error %v, want a duplicate", err)
					}
					continue
				}
				if err != nil || len(r.Samples) != 1 {
					t.Fatalf("samples %v, error %v", r.Samples, err)
				}
				if got := time.Duration(now-r.Samples[0].Time) * time.Millisecond; r.Samples[0].Value != tc.value || got != tc.age {
					t.Errorf("%v, %s old; want %v, %s old", r.Samples[0].Value, got, tc.value, tc.age)
				}
			}
		})
	}
}

// TestAbsenceOnAPageOfOneLine reads a page of a single line that begins with a byte order mark: it proves that other families are absent.
func TestAbsenceOnAPageOfOneLine(t *testing.T) {
	t.Parallel()
	r := mustParse(t, NewParser(testOwn), newTestPage(Text, "a", "b"), []byte("\ufeffa 1\n"), 1)
	if err := r.Families[1].Err; err != nil {
		t.Errorf("b is rejected: %v", err)
	}
}

func TestPageWithoutLastLineBreak(t *testing.T) {
	t.Parallel()
	page := newTestPage(Text, "a", "b")
	page.Complete = true
	p := NewParser(testOwn)
	for range 2 {
		if r := mustParse(t, p, page, []byte("a 1\nb 27"), 2); r.Samples[0].Value+r.Samples[1].Value != 28 {
			t.Errorf("samples %v", r.Samples)
		}
	}
	page.Format = OpenMetrics
	if _, err := p.Parse(page, []byte("a 1\nb 27")); err == nil {
		t.Error("an OpenMetrics page without # EOF is accepted")
	}
}

// TestNegativeTimestamp reads the line that older kubelets write for a container that has gone.
func TestNegativeTimestamp(t *testing.T) {
	t.Parallel()
	p := NewParser(testOwn)
	for range 2 {
		mustParse(t, p, newTestPage(Text, "a"), []byte("a{c=\"}x\"} 5 -62135596800000\na 1 -1\na -3\na{c=\"y\"} -2 1700000000000\n"), 2)
	}
}

// TestFutureTimestamp reads samples of a service with a clock that is ahead.
func TestFutureTimestamp(t *testing.T) {
	t.Parallel()
	p := NewParser(testOwn)
	page := newTestPage(Text, "a")
	for i, tc := range []struct {
		ahead, want time.Duration // of the timestamp and of the sample, from the first page
	}{
		{30 * time.Second, 0},
		{30 * time.Second, 0}, // the same sample: it becomes older
		{34 * time.Second, 4 * time.Second},
		{35 * time.Second, 5 * time.Second},
	} {
		page.Now = testNow.Add(time.Duration(i) * 2 * time.Second)
		r := mustParse(t, p, page, fmt.Appendf(nil, "a 1 %d\n", testNow.Add(tc.ahead).UnixMilli()), 1)
		if got := time.UnixMilli(r.Samples[0].Time).Sub(testNow); got != tc.want || r.Families[0].NewestOwn != r.Samples[0].Time {
			t.Errorf("page %d: sample of %v, want %v; newest %d", i, got, tc.want, r.Families[0].NewestOwn)
		}
	}
	for range 2 * skewBlockPages { // the clock was set: the skew must be forgotten
		page.Now = page.Now.Add(2 * time.Second)
		mustParse(t, p, page, fmt.Appendf(nil, "a 1 %d\n", page.Now.UnixMilli()), 1)
	}
	if r := mustParse(t, p, page, fmt.Appendf(nil, "a 1 %d\n", page.Now.UnixMilli()), 1); r.Samples[0].Time != page.Now.UnixMilli() {
		t.Errorf("a sample of now is %v old", page.Now.Sub(time.UnixMilli(r.Samples[0].Time)))
	}
}

// BenchmarkManyFamilies reads a page with one wanted family and with 10,000: the second must cost little more.
func BenchmarkManyFamilies(b *testing.B) {
	body := typicalPage()
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			names := []string{"http_requests_total"}
			for i := range n - 1 {
				names = append(names, fmt.Sprintf("app_component_%d_things_total", i), fmt.Sprintf("dotted.%d", i))
			}
			page := PageOptions{Families: NewFamilies(names), MaxSamples: 10000, MaxLabels: 64, Now: time.Now()}
			p := NewParser(testOwn)
			for b.Loop() {
				mustParse(b, p, page, body, 10)
			}
		})
	}
}
