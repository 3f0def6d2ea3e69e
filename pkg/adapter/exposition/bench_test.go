package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// typicalPage is a page of 50 families, 600 lines and about 50 KB: the size in the project's claims.
func typicalPage() []byte {
	var b bytes.Buffer
	for family := range 50 {
		name := fmt.Sprintf("app_component_%02d_operations_total", family)
		if family == 25 {
			name = "http_requests_total"
		}
		fmt.Fprintf(&b, "# HELP %s Number of operations that ended, by route and outcome, since the start.\n", name)
		fmt.Fprintf(&b, "# TYPE %s counter\n", name)
		for i := range 10 {
			fmt.Fprintf(&b, "%s{method=\"GET\",route=\"/api/v1/things/%d\",code=\"200\"} %d\n", name, i, 123456+i*family)
		}
	}
	return b.Bytes()
}

// BenchmarkPage reads one page of 600 lines with one wanted family of 10 series: on every scrape except the first, and on the
// first. The peer is Prometheus's parser on the whole page, the minimum for a scraper without selection.
func BenchmarkPage(b *testing.B) {
	body := typicalPage()
	page := PageOptions{Families: NewFamilies([]string{"http_requests_total"}), MaxSamples: 10000, MaxLabels: 64, Now: time.Now()}
	own := labels.FromStrings("namespace", "shop", "pod", "cart-7d9f-x2x", "node", "n1")
	b.Run("steady", func(b *testing.B) {
		p := NewParser(own)
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			mustParse(b, p, page, body, 10)
		}
	})
	b.Run("first", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			mustParse(b, NewParser(own), page, body, 10)
		}
	})
	b.Run("peer=textparse", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if n := countByTextparse(b, body, "http_requests_total{"); n != 10 {
				b.Fatalf("%d samples, want 10", n)
			}
		}
	})
}

func mustParse(tb testing.TB, p *Parser, page PageOptions, body []byte, want int) ParsedPage {
	tb.Helper()
	r, err := p.Parse(page, body)
	if err != nil {
		tb.Fatal(err)
	}
	if len(r.Samples) != want {
		tb.Fatalf("%d samples, want %d", len(r.Samples), want)
	}
	return r
}

// countByTextparse reads the whole page with textparse and counts the series that start with prefix. Like a scraper with a
// cache of series, it does not decode labels.
func countByTextparse(tb testing.TB, body []byte, prefix string) int {
	tb.Helper()
	p := textparse.NewPromParser(body, labels.NewSymbolTable(), false)
	n := 0
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			tb.Fatal(err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		if series, _, _ := p.Series(); bytes.HasPrefix(series, []byte(prefix)) {
			n++
		}
	}
}

// TestSteadyPathAllocatesNothing checks the claim of the package comment.
func TestSteadyPathAllocatesNothing(t *testing.T) {
	body := typicalPage()
	page := PageOptions{Families: NewFamilies([]string{"http_requests_total"}), MaxSamples: 10000, MaxLabels: 64, Now: time.Now()}
	p := NewParser(labels.FromStrings("namespace", "shop", "pod", "cart"))
	mustParse(t, p, page, body, 10)
	if n := testing.AllocsPerRun(100, func() { mustParse(t, p, page, body, 10) }); n != 0 {
		t.Errorf("%v allocations a page, want 0", n)
	}
}
