package exposition

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// realPage is a page as programs write it, and what is read of it.
type realPage struct {
	name, body string
	families   string // the wanted families, separated by spaces
	want       string // the samples of all families, and the faults of the others: see readRealPage
}

var realTextPages = []realPage{
	// Libraries.
	{"Go counter", "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\",method=\"get\"} 1.234e+06\n", "http_requests_total", `http_requests_total{code="200",method="get"} 1.234e+06 counter`},
	{"Go histogram", "# TYPE d_seconds histogram\nd_seconds_bucket{le=\"0.1\"} 1\nd_seconds_bucket{le=\"+Inf\"} 2\nd_seconds_sum 0.3\nd_seconds_count 2\n", "d_seconds", `d_seconds_bucket{le="+Inf"} 2 histogram; d_seconds_bucket{le="0.1"} 1 histogram; d_seconds_count 2 histogram; d_seconds_sum 0.3 histogram`},
	{"whole bounds", "# TYPE d histogram\nd_bucket{le=\"1\"} 1\nd_bucket{le=\"10.0\"} 1\n", "d", `d_bucket{le="1.0"} 1 histogram; d_bucket{le="10.0"} 1 histogram`},
	{"summary", "# TYPE rpc summary\nrpc{quantile=\"0.5\"} 0.2\nrpc{quantile=\"0.99\"} NaN\nrpc_sum 2\nrpc_count 10\n", "rpc", `rpc_count 10 summary; rpc_sum 2 summary; rpc{quantile="0.5"} 0.2 summary; rpc{quantile="0.99"} NaN summary`},
	{"Micrometer, counter without its suffix", "# TYPE jobs counter\njobs_total{queue=\"a\",} 3.0\n", "jobs_total", `jobs_total{queue="a"} 3 counter`},
	{"a comma after the last label", "x{a=\"1\",} 5\n", "x", `x{a="1"} 5 unknown`},
	{"empty braces", "x{} 5\n", "x", `x 5 unknown`},
	{"space before the braces", "x {a=\"1\"} 5\n", "x", `x{a="1"} 5 unknown`},
	{"spaces within the braces", "x{ a = \"1\" , b = \"2\" } 5\n", "x", `x{a="1",b="2"} 5 unknown`},
	{"no space behind the braces", "x{a=\"1\"}5\n", "x", `x{a="1"} 5 unknown`},
	{"tabs", "x\t5\n", "x", `x 5 unknown`},
	{"indented", "  x 5\n\ty 6\n", "x y", `x 5 unknown; y 6 unknown`},
	{"spaces at the end", "x 5  \ny 6\t\n", "x y", `x 5 unknown; y 6 unknown`},
	{"escapes", "x{path=\"C:\\\\a\\\"b\\nc\"} 5\n", "x", `x{path="C:\\a\"b\nc"} 5 unknown`},
	{"braces and equals signs in a value", "x{q=\"{a=\\\"}\\\"}\",z=\"#\"} 5\n", "x", `x{q="{a=\"}\"}",z="#"} 5 unknown`},
	{"umlauts and other letters", "x{stadt=\"Köln\",emoji=\"🚀\"} 5\n", "x", `x{emoji="🚀",stadt="Köln"} 5 unknown`},
	{"quoted name", "# TYPE \"http.requests\" counter\n{\"http.requests\",\"service.name\"=\"cart\"} 5\n", "http.requests", `http.requests{"service.name"="cart"} 5 counter`},
	{"quoted name, not in front", "{code=\"200\",\"http.requests\"} 5\n", "http.requests", `http.requests{code="200"} 5 unknown`},
	{"colons in a name", "job:requests:rate5m{job=\"a\"} 5\n", "job:requests:rate5m", `job:requests:rate5m{job="a"} 5 unknown`},
	{"own pod and namespace", "x{pod=\"other\",namespace=\"bank\"} 5\n", "x", `x{exported_namespace="bank",exported_pod="other"} 5 unknown`},

	// Types.
	{"HELP and UNIT", "# HELP x_seconds Words.\n# UNIT x_seconds seconds\n# TYPE x_seconds gauge\nx_seconds 5\n", "x_seconds", `x_seconds 5 gauge`},
	{"untyped", "# TYPE x untyped\nx 5\n", "x", `x 5 unknown`},
	{"type behind the samples", "x 5\n# TYPE x counter\n", "x", `x 5 counter`},
	{"type of another family between", "# TYPE x gauge\n# TYPE y counter\nx 5\ny 6\n", "x y", `x 5 gauge; y 6 counter`},
	{"types far from their samples", "# TYPE x counter\n# TYPE y gauge\ny 6\nz 1\nx 5\n", "x y", `x 5 counter; y 6 gauge`},
	{"upper-case type", "# TYPE x Gauge\nx 5\n", "x", `syntax: line 2: invalid metric type "Gauge"`},
	{"comments without spaces", "#\n#TYPE x counter\nx 5\n", "x", `x 5 counter`},
	{"shell's comment", "# collected by node.sh\nx 5\n", "x", `x 5 unknown`},

	// Values and times.
	{"numbers", "x{i=\"1\"} +5\nx{i=\"2\"} .5\nx{i=\"3\"} 5.\nx{i=\"4\"} 1E3\nx{i=\"5\"} -0\n", "x", `x{i="1"} 5 unknown; x{i="2"} 0.5 unknown; x{i="3"} 5 unknown; x{i="4"} 1000 unknown; x{i="5"} -0 unknown`},
	{"infinities", "x{i=\"1\"} +Inf\nx{i=\"2\"} -Inf\nx{i=\"3\"} Inf\nx{i=\"4\"} inf\nx{i=\"5\"} nan\n", "x", `x{i="1"} +Inf unknown; x{i="2"} -Inf unknown; x{i="3"} +Inf unknown; x{i="4"} +Inf unknown; x{i="5"} NaN unknown`},
	{"decimal comma", "x 1,5\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"thousands", "x 1_000\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"a unit", "x 5ms\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"None, null and true", "x None\ny null\nz true\nok 1\n", "x y z ok", `ok 1 unknown; x!syntax; y!syntax; z!syntax`},
	{"no value", "x{a=\"1\"}\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"a name alone", "x\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"an equals sign", "x=5\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"a semicolon", "x;5\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"a space that does not break", "x\u00a05\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"unclosed braces", "x{a=\"1\" 5\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"label without quotes", "x{a=1} 5\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"quotes of the other kind", "x{a='1'} 5\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"a timestamp", "x 5 1700000009000\n", "x", `x 5 unknown -1s`},
	{"a timestamp in seconds", "x 5 1700000009\n", "x", `x 5 unknown -471750h0m9.991s`},
	{"a timestamp in nanoseconds", "x 5 1700000009000000000\ny 1\n", "x y", `x!future; y 1 unknown`},
	{"a timestamp with a fraction", "x 5 1700000009.5\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"a date", "x 5 2026-11-28T10:00:00Z\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"an exemplar", "x_bucket{le=\"1\"} 5 # {trace_id=\"a\"} 0.5\ny 1\n", "x y", `x!syntax; y 1 unknown`},
	{"a series twice", "x{a=\"1\",b=\"2\"} 5\nx{b=\"2\",a=\"1\"} 5\ny 1\n", "x y", `x{a="1",b="2"} 5 unknown; y 1 unknown`},
	{"a series twice, other values", "x 5\nx 6\ny 1\n", "x y", `x!duplicate; y 1 unknown`},
	{"a series twice, other times", "x 5 1700000009000\nx 5 1700000008000\ny 1\n", "x y", `x 5 unknown -1s; y 1 unknown`},
	{"line ends of Windows", "# TYPE x gauge\r\nx 5\r\ny 1\n", "x y", `x!syntax; y 1 unknown`},

	// Pages that are none.
	{"byte order mark", "\ufeff# TYPE x counter\nx 5\n", "x", `x 5 counter`},
	{"byte order mark before a sample", "\ufeffx 5\n", "x", `x 5 unknown`},
	{"UTF-16", "\xff\xfex\x00 \x005\x00\n\x00", "x", `not_metrics: text, not metrics: \xff\xfex\x00 \x005\x00`},
	{"a status in words", "OK\n", "x y", `not_metrics: text, not metrics: OK`},
	{"a proxy's sentence", "upstream connect error or disconnect/reset before headers\n", "x", `not_metrics: text, not metrics: upstream connect error or disconnect/reset before headers`},
	{"404 in words", "404 page not found\n", "x", `not_metrics: text, not metrics: 404 page not found`},
	{"JSON", "{\"status\":\"starting\"}\n", "x", `not_metrics: text, not metrics: {"status":"starting"}`},
	{"JSON list", "[]\n", "x", `not_metrics: text, not metrics: []`},
	{"YAML", "status: ok\nx: 5\n", "x", `not_metrics: text, not metrics: status: ok`},
	{"XML", "<?xml version=\"1.0\"?>\n", "x", `not_metrics: HTML, not metrics`},
	{"an error behind half of a page", "# TYPE a gauge\na 1\nAn error has occurred while serving metrics:\n\ncollected metric x was collected before\n", "a x", `a 1 gauge; x!not_metrics`},
	{"a log line in front", "2026/11/28 10:00:00 listening on :8080\na 1\n", "a x", `a 1 unknown; x!not_metrics`},
	{"a panic at the end", "a 1\npanic: runtime error: index out of range [3]", "a x", `a 1 unknown; x!not_metrics`},
	{"an unwanted faulty line amid a page", "b 1\nc{ 1\nd 2\n", "x", ``},
	{"unwanted lines alone", "b{a=\"}\"} 1\n{\"c.d\",e=\"f\"} 2 1700000009000\n", "x", ``},
	{"comments alone", "# nothing yet\n", "x", ``},
	{"nothing", "", "x", ``},
}

var realOpenMetricsPages = []realPage{
	{"counter", "# TYPE jobs counter\n# UNIT jobs jobs\njobs_total{q=\"a\"} 5\njobs_created{q=\"a\"} 1700000000\n# EOF\n", "jobs_total", `jobs_total{q="a"} 5 counter`},
	{"exemplar", "# TYPE d histogram\nd_bucket{le=\"1\"} 5 # {trace_id=\"a # {b\"} 0.5 1700000000.1\nd_bucket{le=\"+Inf\"} 5\nd_count 5\nd_sum 2\n# EOF\n", "d", `d_bucket{le="+Inf"} 5 histogram; d_bucket{le="1.0"} 5 histogram; d_count 5 histogram; d_sum 2 histogram`},
	{"timestamps in seconds", "x 5 1700000009.5\n# EOF\n", "x", `x 5 unknown -500ms`},
	{"timestamps in milliseconds", "x 5 1700000009000\n# EOF\n", "x", `future: timestamp of x{namespace="shop",node="n1",pod="cart-1"} more than 1m0s in the future: it is in milliseconds, and OpenMetrics has seconds`},
	{"indented", "  x 5\n\ty 6\n# EOF\n", "x y", `x 5 unknown; y 6 unknown`},
	{"info", "# TYPE build info\nbuild_info{version=\"1\"} 1\n# EOF\n", "build_info", `build_info{version="1"} 1 unknown`},
	{"stateset", "# TYPE door stateset\ndoor{door=\"open\"} 1\ndoor{door=\"shut\"} 0\n# EOF\n", "door", `door{door="open"} 1 stateset; door{door="shut"} 0 stateset`},
	{"gauge histogram", "# TYPE sizes gaugehistogram\nsizes_bucket{le=\"+Inf\"} 5\nsizes_gcount 5\nsizes_gsum 2\n# EOF\n", "sizes", `sizes_bucket{le="+Inf"} 5 gaugehistogram`},
	{"unknown", "# TYPE x unknown\nx 5\n# EOF\n", "x", `x 5 unknown`},
	{"line ends of Windows", "x 5\r\n# EOF\r\n", "x", `syntax: lines end with \r\n; lines of a page end with \n`},
	{"text behind the end", "x 5\n# EOF\nmore\n", "x", `syntax: more after # EOF, at line 3`},
	{"an error in place of the end", "x 5\nAn error has occurred\n", "x", `truncated: truncated page, without # EOF at its end`},
	{"byte order mark", "\ufeff# TYPE x gauge\nx 5\n# EOF\n", "x", `x 5 gauge`},
}

// TestRealPages reads pages of many programs, at once and byte by byte, and each once more when its series are known.
func TestRealPages(t *testing.T) {
	t.Parallel()
	for format, pages := range map[Format][]realPage{Text: realTextPages, OpenMetrics: realOpenMetricsPages} {
		for _, page := range pages {
			t.Run(fmt.Sprint(format, " ", page.name), func(t *testing.T) {
				t.Parallel()
				options := newTestPage(format, strings.Fields(page.families)...)
				options.Complete, options.FindBeginnings = true, false
				p := NewParser(testOwn)
				for _, piece := range []int{len(page.body), 1, len(page.body)} {
					if diff := cmp.Diff(page.want, readRealPage(p, options, page.body, piece)); diff != "" {
						t.Errorf("in pieces of %d bytes (-want +got):\n%s", piece, diff)
					}
				}
			})
		}
	}
}

// readRealPage returns the samples as "series value type age", and FAMILY!KIND for a rejected family; for a rejected page its
// kind and its error.
func readRealPage(p *Parser, page PageOptions, body string, piece int) string {
	p.BeginPage(page)
	for rest := body; rest != ""; rest = rest[min(piece, len(rest)):] {
		_, _ = p.Write([]byte(rest[:min(piece, len(rest))]))
	}
	r, err := p.EndPage()
	var rejected *Error
	if errors.As(err, &rejected) {
		return string(rejected.Kind) + ": " + rejected.Detail
	}
	var out []string
	for _, s := range r.Samples {
		b := labels.NewBuilder(s.Series.Labels).Del("namespace", "pod", "node", model.MetricNameLabel)
		text := s.Series.Labels.Get(model.MetricNameLabel)
		if l := b.Labels(); !l.IsEmpty() {
			text += l.StringNoSpace()
		}
		text += " " + strconv.FormatFloat(s.Value, 'g', -1, 64) + " " + string(r.Families[r.FamilyOf(s)].Type)
		if age := s.Time - r.Time; age != 0 {
			text += " " + (time.Duration(age) * time.Millisecond).String()
		}
		out = append(out, text)
	}
	for i, name := range page.Families.Names() {
		if r.Families[i].Err != nil {
			out = append(out, name+"!"+string(r.Families[i].Err.Kind))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}
