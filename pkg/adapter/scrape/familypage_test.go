package scrape

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

var listedPod = metric.Object{Namespace: "shop", Name: "web-1"}

var listLimits = exposition.FamilyPageLimits{Timeout: time.Second, PageBytes: 1 << 20, ListBytes: 64 << 10}

// TestReadFamilies: a page is read as a scrape reads it: over HTTP and HTTPS, behind a redirect on its host alone, whole, and with the causes
// of a failed scrape.
func TestReadFamilies(t *testing.T) {
	t.Parallel()
	const page = "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total 1\nqueue 2\n"
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"a page":           {textHandler(page), "jobs_total counter, queue unknown"},
		"a redirect":       {redirectTo("/elsewhere", page), "jobs_total counter, queue unknown"},
		"another host":     {redirectTo("http://169.254.169.254/", page), "redirected to http://169.254.169.254/, not followed"},
		"an error":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "HTTP 403"},
		"HTML":             {textHandler("<html>"), "HTML, not metrics"},
		"another type":     {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "application/json") }, "Content-Type is application/json"},
		"a page of 10 MB":  {textHandler(strings.Repeat("queue{a=\"b\"} 1\n", 700_000)), "page over 1 MiB"},
		"100,000 families": {textHandler(manyFamilies(50_000)), "truncated"},
		"a cut page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = w.Write([]byte("queue 1\n"))
		}, "truncated page"},
		"compressed unasked": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("x"))
		}, "gzip, though not asked for"},
		"a query is kept out": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "names_%d 1\n", len(r.URL.Query()["name[]"]))
		}, "names_0 unknown"},
	} {
		for scheme := range schemes {
			t.Run(name+" over "+scheme, func(t *testing.T) {
				t.Parallel()
				m := New(newRecordingAppender(), Options{})
				defer m.fetcher.closeIdleConns()
				got, err := m.ReadFamilies(t.Context(), listedPod, serveScheme(t, scheme, tc.handler), listLimits)
				text := describeFamilyPage(got)
				if err != nil {
					text = err.Error()
				}
				if got.Truncated {
					text = "truncated"
				}
				if text != tc.want {
					t.Errorf("%q, want %q", text, tc.want)
				}
			})
		}
	}
}

func redirectTo(location, page string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			textHandler(page)(w, r)
			return
		}
		http.Redirect(w, r, location, http.StatusFound)
	}
}

func manyFamilies(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "f%d 1\n", i)
	}
	return b.String()
}

func describeFamilyPage(p exposition.FamilyPage) string {
	var families []string
	for _, f := range p.Families {
		families = append(families, f.Name+" "+string(f.Type))
	}
	return strings.Join(families, ", ")
}

// TestReadFamiliesTakesNoLonger: a pod that answers late, or piece by piece, or not at all, takes no more than its time, and a caller that
// leaves ends the read.
func TestReadFamiliesTakesNoLonger(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		handler http.Handler
		leave   time.Duration
		want    string
		took    time.Duration
	}{
		"late":           {http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), time.Hour, "timeout after 1s", time.Second},
		"never":          {nil, time.Hour, "timeout after 1s", time.Second},
		"piece by piece": {http.HandlerFunc(dripPage), time.Hour, "timeout after 1s", time.Second},
		"the caller":     {http.HandlerFunc(dripPage), 100 * time.Millisecond, "timeout after 1s", 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				network := newFakeNetwork()
				defer network.closeServers()
				network.addServer("10.0.0.1:80", tc.handler)
				m := New(newRecordingAppender(), Options{DialContext: network.dialServer})
				ctx, cancel := context.WithTimeout(t.Context(), tc.leave)
				defer cancel()
				begin := time.Now()
				_, err := m.ReadFamilies(ctx, listedPod, "http://10.0.0.1:80/metrics", listLimits)
				if err == nil || err.Error() != tc.want || time.Since(begin) != tc.took {
					t.Errorf("%v after %s, want %q after %s", err, time.Since(begin), tc.want, tc.took)
				}
			})
		})
	}
}

// dripPage writes a line each 10 ms until its client leaves.
func dripPage(w http.ResponseWriter, r *http.Request) {
	for i := 0; ; i++ {
		if _, err := fmt.Fprintf(w, "f%d 1\n", i); err != nil {
			return
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
