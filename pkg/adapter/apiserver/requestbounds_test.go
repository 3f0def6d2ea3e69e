package apiserver

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestRequestTextBounds: texts that others parse, or keep as keys, are bounded before that; usual ones pass.
func TestRequestTextBounds(t *testing.T) {
	t.Parallel()
	const pods = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/x"
	long := func(n int) string { return strings.Repeat("a", n) }
	list := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	for name, tc := range map[string]struct {
		method, path, query string
		header              http.Header
		want                string // the label of the fault
	}{
		"usual":                          {"GET", pods, "labelSelector=" + url.QueryEscape("app in (a,b),tier=web"), http.Header{"Accept": {"application/json, */*"}}, ""},
		"largest selector":               {"GET", pods, "labelSelector=" + url.QueryEscape(list(99, "a")+",b in ("+list(1000, "x")+")"), nil, ""},
		"longest names":                  {"GET", "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + long(63) + "/" + long(317) + "/" + long(253) + "/" + long(253), "", nil, ""},
		"method":                         {long(9000), pods, "", nil, reasonMethod},
		"metric name":                    {"GET", pods + long(9000), "", nil, reasonURI},
		"path of many parts":             {"GET", "/" + strings.Repeat("a/", 2000), "", nil, reasonURI},
		"requirements":                   {"GET", pods, "metricLabelSelector=" + url.QueryEscape(list(101, "c!=v")), nil, reasonSelector},
		"requirements, unescaped":        {"GET", pods, "labelSelector=" + list(2000, "a"), nil, reasonSelector},
		"requirements of existence":      {"GET", pods, "labelSelector=" + url.QueryEscape(list(101, "!a")), nil, reasonSelector},
		"values":                         {"GET", pods, "x=y&labelSelector=" + url.QueryEscape("a notin ("+list(1001, "x")+")"), nil, reasonSelector},
		"sets within sets":               {"GET", pods, "labelSelector=" + url.QueryEscape("a in "+strings.Repeat("(", 2000)), nil, reasonSelector},
		"fields":                         {"GET", pods, "fieldSelector=" + url.QueryEscape(list(200, "a=b")), nil, reasonSelector},
		"escaped name of the parameter":  {"GET", pods, "label%53elector=" + url.QueryEscape(list(200, "a=b")), nil, reasonSelector},
		"Accept":                         {"GET", pods, "", http.Header{"Accept": {list(3000, "a/b")}}, reasonHeader},
		"many values of a header":        {"GET", pods, "", http.Header{"Accept": strings.Split(list(5000, "a/b"), ",")}, reasonHeader},
		"user agent":                     {"GET", pods, "", http.Header{"User-Agent": {long(9000)}}, reasonHeader},
		"groups that kube-apiserver has": {"GET", pods, "", http.Header{"X-Remote-Group": {long(9000)}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(tc.method, tc.path, http.NoBody)
			r.URL.RawQuery, r.Header = tc.query, tc.header
			got := ""
			if fault := checkRequestBounds(r, defaultServerLimits()); fault != nil {
				got = fault.label
				if len(fault.message) > 300 || fault.code < 400 {
					t.Errorf("%d %s", fault.code, fault.message)
				}
			}
			if got != tc.want {
				t.Errorf("fault %q, want %q", got, tc.want)
			}
		})
	}
}

// TestBadMetricSelector: a metric selector that does not parse is a bad request, with the reason.
func TestBadMetricSelector(t *testing.T) {
	t.Parallel()
	served := rejectBadMetricSelector(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), newMetrics(nil))
	for selector, want := range map[string]int{
		"": 200, "code=200": 200, "code in (200, 500),!path": 200, "(": 400, "code in (": 400, "a b": 400, "code=~5..": 400,
	} {
		w := httptest.NewRecorder()
		served.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/apis?metricLabelSelector="+url.QueryEscape(selector), http.NoBody))
		if w.Code != want || want == 400 && !strings.Contains(w.Body.String(), `"message":"metricLabelSelector: `) {
			t.Errorf("%q: %d %s, want %d", selector, w.Code, w.Body, want)
		}
	}
}
