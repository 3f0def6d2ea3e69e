package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// listFamilies returns the families of a page in lines "name type unit: help".
func listFamilies(t *testing.T, l *PageFamilyLister, page string) []string {
	t.Helper()
	buffer := make([]byte, 7) // pieces end anywhere
	r := iotest.OneByteReader(strings.NewReader(page))
	for {
		n, err := r.Read(buffer)
		if n == 0 || err != nil {
			break
		}
		if _, err := l.Write(buffer[:n]); err != nil {
			t.Fatal(err)
		}
	}
	families, _, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", f.Name, f.Type, f.Unit, f.Help)))
	}
	return lines
}

func TestFamilyLister(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		format Format
		page   string
		want   []string
	}{
		"text": {Text, "# HELP a_total All.\n# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 1\na_totals 3\n" +
			"# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n# HELP idle Not yet.\n# TYPE idle counter\n",
			[]string{"a_total counter : All.", "a_totals unknown :", "h histogram :"}},
		"types in the wrong order": {Text, "# TYPE b gauge\nb 1\n# HELP b Late.\nb{x=\"1\"} 2\n", []string{"b gauge : Late."}},
		"untyped histogram":        {Text, "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n", []string{"h histogram :"}},
		"a gauge called bucket":    {Text, "s3_bucket{title=\"x\"} 1\n", []string{"s3_bucket unknown :"}},
		"a sum that stands alone":  {Text, "orders_sum 4\norders_count 2\n", []string{"orders_count unknown :", "orders_sum unknown :"}},
		"summary":                  {Text, "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\n", []string{"s summary :"}},
		"OpenMetrics": {OpenMetrics, "# TYPE req counter\n# UNIT req seconds\n# HELP req Time \\\"spent\\\".\nreq_total 1\nreq_created 1\n# TYPE b info\nb_info{v=\"1\"} 1\n" +
			"# TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 1\ng_gsum 1\ng_gcount 1\n# EOF\n",
			[]string{"b_info info :", "g gaugehistogram :", "g_gcount unknown :", "g_gsum unknown :", `req_total counter seconds: Time "spent".`}},
		"names in quotes": {Text, "# HELP \"http.requests\" Dots.\n# TYPE \"http.requests\" counter\n{\"http.requests\",code=\"200\"} 1\n{code=\"500\",\"http.requests\"} 1\n",
			[]string{"http.requests counter : Dots."}},
		"control characters":           {Text, "# HELP a \x1b[2J\\nline\u202e\xff\na 1\n{\"b\\n\x07\"} 1\n", []string{"a unknown : \\x1b[2J line\\u202e\\xff", "b \\a unknown :"}},
		"a faulty line before samples": {Text, "queue=5\na 1\n", []string{"a unknown :"}},
		"a sentence behind samples":    {Text, "a 1\nError: no more\nAn error has occurred\n", []string{"a unknown :"}},
		"no line break":                {Text, "a 1\nb 2", []string{"a unknown :", "b unknown :"}},
		"windows":                      {Text, "# TYPE a counter\r\n\r\na 1\r\n", []string{"a counter :"}},
		"mark at the begin":            {Text, "\ufeff# TYPE a gauge\na 1\n", []string{"a gauge :"}},
		"no metrics":                   {Text, "", nil},
		"long help":                    {Text, "# HELP a " + strings.Repeat("y", 5000) + "\na 1\n", []string{"a unknown : " + strings.Repeat("y", 197) + "…"}},
		"long line":                    {Text, "a{x=\"" + strings.Repeat("y", 1<<20) + "\"} 1\nb 1\n", []string{"a unknown :", "b unknown :"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, listFamilies(t, NewPageFamilyLister(tc.format, 0, 1<<20), tc.page)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFamilyListerRejects: what is no page gives no family.
func TestFamilyListerRejects(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]string{
		"<html>\n":               "HTML, not metrics",
		"\x1f\x8b\x08\n":         "gzip, though not asked for",
		"try again later\n":      "text, not metrics: try again later",
		"# A page\nsorry\nor 1x": "text, not metrics: sorry",
		strings.Repeat("a", 99):  "page over 64 bytes",
	} {
		l := NewPageFamilyLister(Text, 64, 1<<20)
		_, err := l.Write([]byte(page))
		_, _, listErr := l.List()
		var fault *Error
		if !errors.As(listErr, &fault) || fault.Detail != want || err != nil && err.Error() != want {
			t.Errorf("%q: errors %v, %v, want %q", page, err, listErr, want)
		}
	}
}

// TestFamilyListIsBounded: a page of 100,000 families, or of endless names, takes no more memory than the list may.
func TestFamilyListIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 96 << 10
	for name, line := range map[string]func(i int) string{
		"many samples": func(i int) string { return fmt.Sprintf("family_%06d 1\n", i) },
		"many types":   func(i int) string { return fmt.Sprintf("# TYPE family_%06d counter\n", i) },
		"long helps":   func(i int) string { return fmt.Sprintf("# HELP f%d %s\nf%d 1\n", i, strings.Repeat("\x1b", 300), i) },
		"long names":   func(i int) string { return fmt.Sprintf("%s%d 1\n", strings.Repeat("n", 400), i) },
		"quoted names": func(i int) string { return fmt.Sprintf("{\"%s%d\"} 1\n", strings.Repeat("\\n", 100), i) },
	} {
		l := NewPageFamilyLister(Text, 0, limit)
		var page bytes.Buffer
		for i := range 100_000 {
			page.WriteString(line(i))
			if page.Len() > 8<<10 {
				if _, err := l.Write(page.Bytes()); err != nil {
					t.Fatal(err)
				}
				page.Reset()
			}
		}
		families, truncated, err := l.List()
		sum := 0
		for _, f := range l.families {
			sum += f.Bytes()
		}
		if err != nil || !truncated || sum > limit || sum != l.listBytes || len(families) > limit/listedFamilyBytes {
			t.Errorf("%s: %d families of %d bytes (counted %d), truncated %v, error %v", name, len(families), sum, l.listBytes, truncated, err)
		}
	}
}
