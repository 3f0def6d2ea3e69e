package scrape

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// TestCausesAreHarmlessText has a target say hostile text in every place whose text reaches the status of an HPA.
func TestCausesAreHarmlessText(t *testing.T) {
	t.Parallel()
	const hostile = "a\x1b[2J\x1b[31m\nWARNING\r\u202eb\xff\u2028"
	causes := map[string]error{
		"redirect":        newTargetStatusError(http.StatusFound, "http://a/%1b%5B2J%1b%5B31m%0aWARNING%E2%80%AE", false),
		"redirect's host": newTargetStatusError(http.StatusFound, "http://a%e2%80%aeb/", false),
		"another error":   fmt.Errorf("read page: %w", errors.New(hostile)),
		"long error":      errors.New(strings.Repeat(hostile, 100)),
	}
	_, causes["content type"] = exposition.DetectFormat("text/x"+hostile, "")
	_, causes["content encoding"] = exposition.DetectFormat("", "gzip,"+hostile)
	for name, body := range map[string]string{
		"name":      "{\"\u202ea\\nb\"} 1\n{\"\u202ea\\nb\"} 2\n",
		"label":     "a{b=\"\x1b[2J\u202e\"} 1\na{b=\"\x1b[2J\u202e\"} 2\n",
		"malformed": "a{\x1b[2J\u202e 1\n",
		"value":     "a \x1b[2J\u202e\n",
	} {
		families := exposition.NewFamilies([]string{"a", "\u202ea\nb"})
		page := exposition.PageOptions{Families: families, Now: time.Unix(1, 0), AllFamilies: true}
		_, causes["page: "+name] = exposition.NewParser(labels.EmptyLabels()).Parse(page, []byte(body))
	}
	for name, err := range causes {
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		got := classifyFetchError(err, time.Second).text
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) || len(got) > 300 {
			t.Errorf("%s: %q", name, got)
		}
	}
}
