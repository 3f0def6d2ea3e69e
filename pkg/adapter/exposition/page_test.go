package exposition

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

var (
	testNow    = time.UnixMilli(1_700_000_010_000)
	testOwn    = labels.FromStrings("namespace", "shop", "pod", "cart-1", "node", "n1")
	testLimits = PageOptions{MaxBytes: 1 << 20, MaxSamples: 1000, MaxLabels: 64, Now: testNow, FindBeginnings: true}
)

func newTestPage(f Format, families ...string) PageOptions {
	p := testLimits
	p.Format, p.Families = f, NewFamilies(families)
	return p
}

func (r ParsedPage) formatPage(names []string) string {
	var lines []string
	for _, s := range r.Samples {
		v := strconv.FormatFloat(s.Value, 'g', -1, 64)
		lines = append(lines, fmt.Sprintf("%s %s @%d", s.Series.Labels, v, s.Time))
	}
	slices.Sort(lines)
	for i, f := range r.Families {
		lines = append(lines, fmt.Sprintf("# %s: %d samples", names[i], f.Samples))
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestGoldenPages(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]PageOptions{
		"text": newTestPage(Text, "http_requests_total", "http_request_duration_seconds", "queue_age", "with.dots",
			"http_nothing_like_it"),
		"openmetrics": newTestPage(OpenMetrics, "http_requests_total", "http_request_duration_seconds", "with.dots"),
		"empty":       newTestPage(Text, "http_requests_total"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := os.ReadFile(filepath.Join("testdata", name+".page"))
			if err != nil {
				t.Fatal(err)
			}
			p := NewParser(testOwn)
			var first string
			for range 3 { // the second and third time on the fast path
				r, err := p.Parse(page, body)
				if err != nil {
					t.Fatal(err)
				}
				got := r.formatPage(page.Families.Names())
				if first == "" {
					first = got
				}
				if diff := cmp.Diff(first, got); diff != "" {
					t.Errorf("the same page read again differs:\n%s", diff)
				}
			}
			compareGolden(t, name, first)
		})
	}
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	golden.Compare(t, path, got)
}

func TestRejectedPages(t *testing.T) {
	t.Parallel()
	const good = "http_requests_total{code=\"200\"} 1\n"
	manyLabels := func(n int) string {
		var b strings.Builder
		b.WriteString("http_requests_total{")
		for i := range n {
			fmt.Fprintf(&b, "l%d=\"=},\",", i)
		}
		return b.String() + "} 1\n"
	}
	manySeries := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "http_requests_total{i=\"%d\"} 1\n", i)
		}
		return b.String()
	}
	for name, tc := range map[string]struct {
		format Format
		body   string
		kind   ErrorKind
		detail string
	}{
		"html":                 {Text, "\n<!DOCTYPE html>\n<html></html>\n", KindNotMetrics, "HTML, not metrics"},
		"html on one line":     {Text, "<html></html>", KindNotMetrics, "HTML, not metrics"},
		"gzip":                 {Text, "\x1f\x8b\x08\x00\n\x01", KindEncoding, "gzip, though not asked for"},
		"truncated number":     {Text, good + "http_requests_total{code=\"500\"} 12", KindTruncated, "truncated page"},
		"truncated elsewhere":  {Text, good + "# HELP other Some", KindTruncated, "truncated page"},
		"no EOF":               {OpenMetrics, good, KindTruncated, "truncated page, without # EOF at its end"},
		"half of EOF":          {OpenMetrics, good + "# EO", KindTruncated, "truncated page, without # EOF at its end"},
		"more after EOF":       {OpenMetrics, good + "# EOF\nfoo 1\n", KindSyntax, "more after # EOF, at line 3"},
		"piece after EOF":      {OpenMetrics, good + "# EOF\n# EOF", KindSyntax, "more after # EOF, at line 3"},
		"not UTF-8":            {Text, "# x\n" + "http_requests_total{code=\"\xff\"} 1\n", KindNotUTF8, "not UTF-8 at line 2"},
		"duplicate":            {Text, good + "http_requests_total{code=\"200\"} 2\n", KindDuplicate, `duplicate series http_requests_total{code="200",namespace="shop",node="n1",pod="cart-1"} with different values`},
		"duplicate, reordered": {Text, "http_requests_total{a=\"1\",b=\"2\"} 1\nhttp_requests_total{b=\"2\",a=\"1\"} 2\n", KindDuplicate, `duplicate series http_requests_total{a="1",b="2",namespace="shop",node="n1",pod="cart-1"} with different values`},
		"too many samples":     {Text, manySeries(1001), KindTooManySamples, "more than 1000 samples"},
		"too many labels":      {Text, good + manyLabels(65), KindTooManyLabels, "series with more than 64 labels at line 2"},
		"long line":            {Text, "http_requests_total{a=\"" + strings.Repeat("x", maxLineBytes) + "\"} 1\n", KindTooLong, "line 1 longer than 16384 bytes"},
		"page too large":       {Text, strings.Repeat("# filler\n", 1<<17), KindTooLarge, "page over 1 MiB"},
		"no value":             {Text, good + "http_requests_total{code=\"500\"}\n", KindSyntax, `line 2: expected value after metric, got "\n" ("INVALID") while parsing: "http_requests_total{code=\"500\"}\n"`},
		"wrong value, known":   {Text, "# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\"} 0x1p4\n", KindSyntax, `line 2: unsupported character in float while parsing: "http_requests_total{code=\"200\"} 0x1p4"`},
		"label twice":          {Text, "http_requests_total{a=\"1\",a=\"2\"} 1\n", KindSyntax, `line 1: label a twice in http_requests_total{a="1",a="2"}`},
		"name as label":        {Text, "http_requests_total{__name__=\"up\"} 1\n", KindSyntax, "line 1: label __name__ twice in http_requests_total"},
		"value over two lines": {Text, "http_requests_total{a=\"\nhttp_requests_total{b=\"} 1\n", KindSyntax, `line 1: expected label value, got "\"\n\n" ("INVALID") while parsing: "http_requests_total{a=\"\n\n"`},
		"line ends of Windows": {Text, "# TYPE http_requests_total counter\r\nhttp_requests_total{code=\"200\"} 1\r\n", KindSyntax, `lines end with \r\n; lines of a page end with \n`},
		"from the future":      {Text, "http_requests_total 1 1700000070001\n", KindFuture, `timestamp of http_requests_total{namespace="shop",node="n1",pod="cart-1"} more than 1m0s in the future`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewParser(testOwn)
			mustParse(t, p, newTestPage(Text, "http_requests_total"), []byte(good), 1)
			_, err := p.Parse(newTestPage(tc.format, "http_requests_total"), []byte(tc.body))
			var rejected *Error
			if !errors.As(err, &rejected) {
				t.Fatalf("error %v, want an *Error", err)
			}
			if diff := cmp.Diff(&Error{tc.kind, tc.detail}, rejected); diff != "" {
				t.Errorf("rejection (-want +got):\n%s", diff)
			}
			if !slices.Contains(ErrorKinds(), rejected.Kind) {
				t.Errorf("kind %q is not among Kinds", rejected.Kind)
			}
			if n := len(p.AliveSeries()); n != 1 {
				t.Errorf("%d series alive after a rejected page, want 1 as before it", n)
			}
			mustParse(t, p, newTestPage(Text, "http_requests_total"), []byte(good), 1) // a rejected page leaves no trace
		})
	}
}

func TestAcceptedOddities(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		format Format
		body   string
		want   int
	}{
		"nothing at all":                    {Text, "", 0},
		"EOF alone":                         {OpenMetrics, "# EOF\n", 0},
		"EOF without a line break":          {OpenMetrics, "http_requests_total 1\n# EOF", 1},
		"unwanted line not UTF-8":           {Text, "other{a=\"\xff\"} 1\nhttp_requests_total 1\n", 1},
		"unwanted line endless":             {Text, "# HELP x " + strings.Repeat("y", 4*maxLineBytes) + "\nhttp_requests_total 1\n", 1},
		"unwanted duplicates":               {Text, "other 1\nother 1\nhttp_requests_total 1\n", 1},
		"timestamp a minute ahead":          {Text, "http_requests_total 1 1700000070000\n", 1},
		"unwanted type":                     {Text, "# TYPE other nonsense\nhttp_requests_total 1\n", 1},
		"blank lines":                       {Text, "\n \n\t\nhttp_requests_total 1\n\n", 1},
		"NaN":                               {Text, "http_requests_total NaN\n", 1},
		"wanted name as a label value only": {Text, "{\"other\",a=\"http_requests_total\"} 1\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewParser(testOwn)
			for range 2 {
				mustParse(t, p, newTestPage(tc.format, "http_requests_total"), []byte(tc.body), tc.want)
			}
		})
	}
}

// TestNaNIsNotAMarker checks that no page can write the bits of a staleness marker.
func TestNaNIsNotAMarker(t *testing.T) {
	t.Parallel()
	p := NewParser(testOwn)
	for range 2 {
		r, err := p.Parse(newTestPage(Text, "a"), []byte("a NaN\n"))
		if err != nil {
			t.Fatal(err)
		}
		if bits := math.Float64bits(r.Samples[0].Value); bits != 0x7ff8000000000001 {
			t.Errorf("NaN has bits %x", bits)
		}
	}
}

func TestSeriesLife(t *testing.T) {
	t.Parallel()
	p := NewParser(testOwn)
	page := newTestPage(Text, "a")
	parse := func(body string) ParsedPage {
		t.Helper()
		r, err := p.Parse(page, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := parse("a{i=\"1\"} 1\na{i=\"2\"} 1\n")
	one := r.Samples[0].Series
	one.Ref = 17
	if len(r.Vanished) != 0 {
		t.Errorf("%d vanished on the first page", len(r.Vanished))
	}
	if _, err := p.Parse(page, []byte("a{i=\"2\"} 1\na{i=")); err == nil {
		t.Fatal("a truncated page was accepted")
	}
	r = parse("a{i=\"2\"} 1\n")
	if len(r.Vanished) != 1 || r.Vanished[0] != one {
		t.Fatalf("vanished %v, want the first series", r.Vanished)
	}
	r = parse("a{i=\"2\"} 1\n")
	if len(r.Vanished) != 0 {
		t.Error("a series vanished twice")
	}
	r = parse("a{i=\"2\"} 1\na{ i=\"1\"} 1\n") // written differently: still the same series
	if r.Samples[1].Series != one || one.Ref != 17 {
		t.Error("a series that came back is not the same")
	}
	for range 3 * forgetAfterPages {
		parse("a{i=\"2\"} 1\n")
	}
	if p.cache.seriesCount != 1 || len(p.cache.byBytes) != 1 {
		t.Errorf("%d series and %d ways to write them kept, want 1 and 1", p.cache.seriesCount, len(p.cache.byBytes))
	}
}

// TestCacheIsBounded reads pages with other series every time, and pages that write the same series differently.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 50
	for name, line := range map[string]func(page, i int) string{
		"other series":  func(page, i int) string { return fmt.Sprintf("a{i=\"%d\"} 1\n", page*limit+i) },
		"other writing": func(page, i int) string { return fmt.Sprintf("a{%*si=\"%d\"} 1\n", page, "", i) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewParser(testOwn)
			page := newTestPage(Text, "a")
			page.MaxSamples = limit
			for n := range 200 {
				var b strings.Builder
				for i := range limit {
					b.WriteString(line(n, i))
				}
				mustParse(t, p, page, []byte(b.String()), limit)
				if p.cache.seriesCount > 4*limit || len(p.cache.byBytes) > 4*limit {
					t.Fatalf("page %d: %d series, %d ways to write them, want at most %d",
						n, p.cache.seriesCount, len(p.cache.byBytes), 4*limit)
				}
			}
		})
	}
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		contentType, encoding string
		want                  Format
		err                   string
	}{
		{"text/plain; version=0.0.4; charset=utf-8; escaping=underscores", "", Text, ""},
		{"", "identity", Text, ""},
		{"Application/OpenMetrics-Text;version=1.0.0", "", OpenMetrics, ""},
		{"text/html; charset=utf-8", "", Text, "Content-Type is text/html"},
		{"application/json", "", Text, "Content-Type is application/json"},
		{"text/plain", "gzip", Text, "gzip, though not asked for"},
		{"text/plain", "X-GZIP", Text, "X-GZIP, though not asked for"},
		{"text/plain", "utf-8, br", Text, "utf-8, br, though not asked for"},
		{"text/plain", "Identity", Text, ""},
		{"text/plain", "none", Text, ""},
		{"Text/Plain version=0.0.4", "", Text, ""},
		{"text/plain, text/plain", "", Text, ""},
		{"text", "", Text, "Content-Type is text"},
	} {
		got, err := DetectFormat(tc.contentType, tc.encoding)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tc.want || text != tc.err {
			t.Errorf("FormatOf(%q, %q) = %v, %q; want %v, %q", tc.contentType, tc.encoding, got, text, tc.want, tc.err)
		}
	}
}

// TestOverlappingFamilies counts a sample for the longest wanted name.
func TestOverlappingFamilies(t *testing.T) {
	t.Parallel()
	r, err := NewParser(testOwn).Parse(newTestPage(Text, "a", "a_count", "a_count", ""), []byte("a_count 1\na_sum 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := []int{r.Families[0].Samples, r.Families[1].Samples}; !slices.Equal(got, []int{1, 1}) {
		t.Errorf("counts %v, want 1 and 1", got)
	}
}
