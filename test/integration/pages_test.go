package integration

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// badPage is a page that must not be used.
type badPage struct {
	page http.HandlerFunc
	says string // what an answer gives as the reason
	// counted is where the self-metrics count it: the label value of the pages that were rejected, else of scrapes
	// by outcome, else of the values left out.
	rejected, outcome, omitted string
}

const goodLine = "http_requests_total{code=\"200\"} 100\n"

func text(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) }
}

// beginning serves the beginning of a page that never ends: the adapter must reject the page for it, on a busy machine too, and
// so within its timeout. A page that is rejected only later runs into the timeout.
func beginning(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, page)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// many writes piece until size bytes are written or nobody reads.
func many(w io.Writer, piece string, size int) {
	for written := 0; written < size; written += len(piece) {
		if _, err := io.WriteString(w, piece); err != nil {
			return
		}
	}
}

func badPages() map[string]badPage {
	filler := strings.Repeat("other_total{name=\"value\"} 1\n", 2000)
	var series strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&series, "http_requests_total{id=\"%d\"} 1\n", i)
	}
	return map[string]badPage{
		"html": {page: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html><body>"+goodLine+"</body></html>\n")
		}, says: "Content-Type is text/html", rejected: "not_metrics"},
		"html-as-text": {page: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "<!DOCTYPE html>\n"+goodLine)
		}, says: "HTML, not metrics", rejected: "not_metrics"},
		"truncated": {page: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Transfer-Encoding", "identity") // the body ends with the connection
			_, _ = io.WriteString(w, goodLine+"http_requests_total{code=\"50")
		}, says: "truncated page", rejected: "truncated"},
		"cut-off": {page: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, goodLine)
		}, says: "truncated page", rejected: "truncated"},
		"gzip": {page: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			zip := gzip.NewWriter(w)
			_, _ = io.WriteString(zip, goodLine)
			_ = zip.Close()
		}, says: "gzip, though not asked for", rejected: "encoding"},
		"gzip-unsaid": {page: func(w http.ResponseWriter, _ *http.Request) {
			var b bytes.Buffer
			zip := gzip.NewWriter(&b)
			_, _ = io.WriteString(zip, goodLine)
			_ = zip.Close()
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write(b.Bytes())
		}, says: "gzip, though not asked for", rejected: "encoding"},
		"huge": {page: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(200<<20))
			beginning(filler)(w, r)
		}, says: "page over 16 MiB", rejected: "too_large"},
		"huge-unsaid": {page: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, goodLine)
			many(w, filler, 17<<20)
		}, says: "", rejected: "too_large"}, // or, on a slow machine, the time is over first
		"endless": {page: func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, goodLine)
				w.(http.Flusher).Flush()
				<-tick.C
			}
		}, says: "timeout after 500ms", outcome: "timeout"},
		"duplicate":      {page: text(goodLine + strings.Replace(goodLine, "100", "101", 1)), says: "duplicate series http_requests_total", rejected: "duplicate"},
		"nan":            {page: text("http_requests_total NaN\n"), says: "not a number", omitted: "not_a_number"},
		"labels-1000":    {page: text("http_requests_total{" + labelList(1000) + "} 1\n"), says: "series with more than 64 labels", rejected: "too_many_labels"},
		"labels-million": {page: beginning("http_requests_total{" + strings.Repeat("name=\"value\",", 2000)), says: "longer than", rejected: "too_long"},
		"series-million": {page: beginning(series.String()), says: "more than 10000 samples", rejected: "too_many_samples"},
		"latin-1":        {page: text(goodLine + "http_requests_total{route=\"caf\xe9\"} 1\n"), says: "not UTF-8", rejected: "not_utf8"},
		"status":         {page: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, says: "HTTP 418", outcome: "http_status"},
	}
}

func labelList(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "l%d=\"v\",", i)
	}
	return b.String()
}

// TestBadPages scrapes pods with pages that must not be used beside pods with good ones.
func TestBadPages(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	want := map[string]float64{"good-1": 1200, "good-2": 800}
	for name, rate := range want {
		newPod(t, namespace, name, map[string]string{"page": "good"}, newCounter(rate))
	}
	bad := badPages()
	for name, b := range bad {
		newPod(t, namespace, "bad-"+name, map[string]string{"page": name, "bad": "true"}, b.page)
	}

	all := podsPath(namespace, requests, "", "")
	eventually(t, 30*time.Second, func(ctx context.Context) error { return reach(ctx, t, all, want) })
	for name, b := range bad {
		eventually(t, 20*time.Second, func(ctx context.Context) error {
			_, err := admin.values(ctx, podsPath(namespace, requests, "page="+name, ""))
			return rejected(err, http.StatusServiceUnavailable, "1 pod", b.says)
		})
		eventually(t, 20*time.Second, b.isCounted)
	}
	failed := fmt.Sprintf("%d pods: %d scrape failed (", len(bad), len(bad)-1)
	_, err := admin.values(t.Context(), podsPath(namespace, requests, "bad=true", ""))
	if err := rejected(err, http.StatusServiceUnavailable, failed, ", 1 not a number"); err != nil {
		t.Error(err)
	}
	// Each bad page was fetched; now each is fetched some more, and nothing of it piles up.
	before, err := tacho.counted(t.Context(), "tachometer_scrape_pages_rejected_total", "reason", "too_large")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		if err := reach(ctx, t, all, want); err != nil {
			return err
		}
		now, err := tacho.counted(ctx, "tachometer_scrape_pages_rejected_total", "reason", "too_large")
		if err == nil && now < before+6 {
			err = fmt.Errorf("%v pages were too large, waiting for %v", now, before+6)
		}
		return err
	})
	peak, err := tacho.resident()
	if err != nil {
		t.Fatal(err)
	}
	// It takes up to 100 MiB without these pages, most of it program and caches. A page of 200 MB that was held just
	// once, or pages of 16 MiB held for each of some targets, would show in the most that it ever had.
	if peak > 200<<20 {
		t.Errorf("the adapter had %d MiB resident", peak>>20)
	}
	t.Logf("the adapter never had more than %d MiB resident", peak>>20)
}

// reach reads path: an error until the values are those wanted. A value far from them fails the test.
func reach(ctx context.Context, t *testing.T, path string, want map[string]float64) error {
	t.Helper()
	found, err := admin.values(ctx, path)
	if err != nil {
		return err
	}
	for name, v := range found {
		if w := want[name]; agree(map[string]float64{name: v}, map[string]float64{name: w}, never) != nil {
			t.Errorf("%s: served %v, the truth is %v", name, v, w)
		}
	}
	return agree(found, want, close5)
}

func (b badPage) isCounted(ctx context.Context) error {
	name, label, value := "tachometer_scrape_pages_rejected_total", "reason", b.rejected
	switch {
	case b.outcome != "":
		name, label, value = "tachometer_scrape_requests_total", "outcome", b.outcome
	case b.omitted != "":
		name, label, value = "tachometer_provider_omissions_total", "reason", b.omitted
	}
	n, err := tacho.counted(ctx, name, label, value)
	if err == nil && n == 0 {
		err = fmt.Errorf("%s{%s=%q} is 0", name, label, value)
	}
	return err
}
