package scrape

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// BenchmarkScrape measures one whole scrape over TCP, both sides: of a family by name, and of a page of 50 KB from a server
// that ignores names. Its peer is a bare client that reads the same page and drops it.
func BenchmarkScrape(b *testing.B) {
	var big bytes.Buffer
	for family := range 50 {
		fmt.Fprintf(&big, "# HELP f%02d_operations_total Number of operations that ended, by route and outcome.\n# TYPE f%02d_operations_total counter\n", family, family)
		for i := range 10 {
			fmt.Fprintf(&big, "f%02d_operations_total{method=\"GET\",route=\"/api/v1/things/%d\",code=\"200\"} 123456\n", family, i)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := big.Bytes()
		if r.URL.Path == "/named" {
			body = body[:1000]
			body = body[:bytes.LastIndexByte(body, '\n')+1]
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write(body)
	}))
	defer server.Close()
	for _, path := range []string{"/named", "/whole"} {
		b.Run(path[1:], func(b *testing.B) {
			m := New(discardingAppender{}, Options{})
			defer m.fetcher.closeIdleConns()
			tg := newTestTarget("cart-1", "f00_operations_total")
			tg.URL = server.URL + path
			l := newScrapeLoop(tg, rankedFamilies{families: exposition.NewFamilies(tg.Families)}, 0)
			defer l.conn.Close()
			j := &scrapeJob{loop: l, endpoint: l.endpoint, opts: m.opts}
			b.ReportAllocs()
			for b.Loop() {
				l.inflight.SetDeadline(time.Now().Add(time.Minute))
				if o := m.scrapeTarget(b.Context(), j); o.err != nil {
					b.Fatal(o.err)
				}
			}
		})
	}
	b.Run("peer=read", func(b *testing.B) {
		c := &http.Client{Transport: &http.Transport{DisableCompression: true}}
		defer c.CloseIdleConnections()
		b.ReportAllocs()
		for b.Loop() {
			resp, err := c.Get(server.URL + "/whole")
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
	})
}

type discardingAppender struct{}

func (discardingAppender) Forget(uint64) {}

func (discardingAppender) Create(_ int64, lsets []labels.Labels) ([]uint64, error) {
	return make([]uint64, len(lsets)), nil
}

func (discardingAppender) Reserve(string, int64) error { return nil }

func (discardingAppender) Append(uint64, labels.Labels, int64, float64) (uint64, error) {
	return 1, nil
}
