// Reviews of rules: a tenant who may review sends texts that are costly to check and to evaluate.

package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

const reviewHead = "apiVersion: config.tachometer.dev/v1alpha1\nkind: " + domain.AdapterConfigKind + "\nrules:\n"

// newReviewText returns a configuration with one rule.
func newReviewText(query string) string {
	return reviewHead + "- metric: m\n  query: 'sum by (namespace, pod) (" + query + ")'\n"
}

// newCostlyReviews returns texts of up to 16 KiB: those beyond the bounds, and the costliest within them.
func newCostlyReviews() map[string]string {
	nest := func(count int, before, inner, after string) string {
		return strings.Repeat(before, count) + inner + strings.Repeat(after, count)
	}
	grow := func(count int, replacement string) string {
		return nest(count, "label_replace(", "wide", fmt.Sprintf(`, "x", %q, "x", "(.+)")`, replacement))
	}
	texts := map[string]string{
		"a pattern's name, repeated": reviewHead + "- match: ^(" + strings.Repeat("a{64}", 1000) + ")$\n  query: 'sum by (namespace, pod) (" +
			strings.Repeat(`{__name__="${1}"} or `, 400) + "a)'\n",
		"deep list":     strings.Repeat("[", 16_000),
		"deep mapping":  strings.Repeat("{a: ", 4000),
		"many rules":    reviewHead + strings.Repeat("- metric: m\n  query: 'sum by (namespace, pod) (wide)'\n", 270),
		"not a mapping": strings.Repeat("x", 16_000),
	}
	for name, query := range map[string]string{
		"repetitions":                  `wide{x=~"` + strings.Repeat("a{1000}", 2000) + `"}`,
		"repetitions within":           `wide{x=~"` + strings.Repeat("a{1000}", 19) + `|.*"}`,
		"many parentheses":             nest(7000, "(", "wide", ")"),
		"parentheses within":           nest(240, "(", "wide", ")"),
		"many signs":                   nest(15_000, "-", "wide", ""),
		"nested unless":                nest(1200, "wide unless (", "wide", ")"),
		"nested unless within":         nest(100, "wide unless (", "wide", ")"),
		"nested sums within":           nest(100, "abs(wide) + (", "wide", ")"),
		"alternatives within":          nest(60, "abs(wide) or (", "wide", ")"),
		"label_replace, growing":       grow(8, strings.Repeat("$1", 12)),
		"label_replace, within":        grow(2, strings.Repeat("$1", 7)),
		"label_replace, long":          nest(10, `label_replace(wide, "y", "`+strings.Repeat("y", 300)+`", "", "") or (`, "wide", ")"),
		"fine subquery":                `max_over_time(max_over_time(wide[20s:1ms])[20s:1ms])`,
		"subqueries within":            `max_over_time(wide[60s:10ms])`,
		"ranges within":                nest(40, "rate(wide[60s]) or (", "wide", ")"),
		"families that no page has":    strings.Repeat("a_", 100) + " or wide",
		"selectors of the same series": strings.Repeat("wide or ", 240) + "wide",
	} {
		texts[name] = newReviewText(query)
	}
	names := "&names [" + strings.Repeat("_,", 2500) + "_]"
	texts["an alias of itself"] = "backends: [{name: a, url: 'http://a', http: &x {basic_auth: *x}}]\n" + newReviewText("up")
	texts["aliases of long lists"] = "rules: [&r {metric: m, query: up, external: true, from: " + names + "}" + strings.Repeat(", *r", 2500) + "]"
	return texts
}

// widePage is the page of a pod with 500 series of long labels, all counters that rise.
func widePage(w http.ResponseWriter, r *http.Request) {
	goodPage(w, r)
	var page bytes.Buffer
	page.WriteString("# TYPE wide counter\n")
	for i := range 500 {
		fmt.Fprintf(&page, "wide{i=\"%d\",x=\"%s\"} %d\n", i, strings.Repeat("x", 1000), time.Now().UnixMilli()%1_000_000_000)
	}
	_, _ = w.Write(page.Bytes())
}

// TestRuleReviews: 24 reviews at a time of costly rules, from twelve namespaces, over pods with thousands of wide series, fill no memory.
func TestRuleReviews(t *testing.T) {
	joinShare(t)
	const namespaces = 12
	kube := startShop(t, http.HandlerFunc(evilPage))
	port := startPages(t, http.HandlerFunc(widePage))
	for i := range namespaces {
		for pod := range 2 {
			wide := kubeapi.NewPod(fmt.Sprintf("evil-%d", i), fmt.Sprintf("wide-%d", pod), "wide", net.JoinHostPort(fmt.Sprintf("127.0.%d.%d", 4+pod, 1+i), port))
			wide.Annotations["prometheus.io/scrape"] = "true"
			kube.SetPod(wide)
		}
	}
	a := startAdapter(t, kube)
	before, err := a.ReadPeakMemory()
	if err != nil {
		t.Fatal(err)
	}
	texts := newCostlyReviews()
	names := make([]string, 0, len(texts))
	for name := range texts {
		names = append(names, name)
	}
	var codes reviewCodes
	ctx, cancel := context.WithTimeout(t.Context(), attackTime(40*time.Second))
	defer cancel()
	var reviewers sync.WaitGroup
	for i := range 2 * namespaces {
		reviewers.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				codes.count(a.postReview(ctx, fmt.Sprintf("evil-%d", i%namespaces), texts[names[n%len(names)]]))
				retry.Sleep(ctx, 50*time.Millisecond)
			}
		})
	}
	reviewers.Wait()
	t.Logf("reviews by status: %s; resident memory before: %d MiB", codes.describe(), before>>20)
	if codes.of(http.StatusCreated) == 0 || codes.of(http.StatusTooManyRequests) == 0 {
		t.Errorf("reviews by status: %s; want some answered, and some rejected with 429", codes.describe())
	}
	a.judge()
}

// postReview creates a review as a tenant of a namespace, and returns the status; 0 if there is no answer.
func (a *attackedAdapter) postReview(ctx context.Context, namespace, text string) int {
	review := explainapi.RuleReview{Spec: explainapi.RuleReviewSpec{Config: text}}
	review.APIVersion, review.Kind = explainapi.GroupVersion.String(), "RuleReview"
	body, err := json.Marshal(review)
	if err != nil {
		return 0
	}
	path := "/apis/" + explainapi.GroupVersion.String() + "/namespaces/" + namespace + "/" + explainapi.RuleReviews
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	request.Header.Set("Authorization", "Bearer system:serviceaccount:"+namespace+":reviewer")
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") == "" {
		a.Error("a rejected review is told no pause: 429 without Retry-After")
	}
	return response.StatusCode
}

// reviewCodes counts answers by status.
type reviewCodes struct{ codes [600]atomic.Int64 }

func (c *reviewCodes) count(code int)    { c.codes[code].Add(1) }
func (c *reviewCodes) of(code int) int64 { return c.codes[code].Load() }

func (c *reviewCodes) describe() string {
	var texts []string
	for code := range c.codes {
		if n := c.of(code); n > 0 {
			texts = append(texts, fmt.Sprintf("%d: %d", code, n))
		}
	}
	return strings.Join(texts, ", ")
}

// TestEverNewMetricSelectors: a reader of ever new metric selectors, each as large as allowed, fills no memory with what was parsed.
func TestEverNewMetricSelectors(t *testing.T) {
	joinShare(t)
	a := startAdapter(t, startShop(t, http.HandlerFunc(evilPage)))
	done := flood(t, 3000, attackTime(20*time.Second), func(ctx context.Context, i int) {
		values := make([]string, 900)
		for v := range values {
			values[v] = fmt.Sprintf("v%05d%04d", i, v)
		}
		_, _, _ = a.get(ctx, evilReader, podsPath("evil", goodMetric, "app=evil")+"&metricLabelSelector="+url.QueryEscape("a notin ("+strings.Join(values, ",")+")"))
	})
	t.Logf("%d reads", done)
	a.judge()
}
