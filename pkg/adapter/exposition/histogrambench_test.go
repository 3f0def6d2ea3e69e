package exposition

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// BenchmarkHistogramPages reads pages of a histogram with 24 buckets, of 100 targets in turn: the same series each time.
func BenchmarkHistogramPages(b *testing.B) {
	const targets, buckets = 100, 24
	pages := make([][]byte, 8)
	for i := range pages {
		page := []byte("# TYPE x histogram\n")
		for bucket := range buckets - 1 {
			page = fmt.Appendf(page, "x_bucket{route=\"/orders\",le=\"%g\"} %d\n", float64(bucket+1)/8, (i+1)*(bucket+1))
		}
		n := (i + 1) * buckets
		pages[i] = fmt.Appendf(page, "x_bucket{route=\"/orders\",le=\"+Inf\"} %d\nx_sum{route=\"/orders\"} %d\nx_count{route=\"/orders\"} %d\n", n, n, n)
	}
	o := PageOptions{Families: NewFamilies([]string{"x"}), MaxSamples: 10000, MaxLabels: 64, Now: time.Now(), FindBeginnings: true}
	parsers := make([]*Parser, targets)
	for i := range parsers {
		parsers[i] = NewParser(labels.FromStrings("namespace", "shop", "pod", fmt.Sprint("cart-", i)))
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		o.Now = o.Now.Add(2 * time.Second)
		for _, p := range parsers {
			mustParse(b, p, o, pages[min(i, len(pages)-1)], buckets+2)
		}
		i++
	}
}
