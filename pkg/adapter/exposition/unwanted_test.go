package exposition

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// TestLinesOfUnwantedFamilies checks that skipping lines with the name of the last unwanted line skips no wanted one.
func TestLinesOfUnwantedFamilies(t *testing.T) {
	for _, c := range []struct {
		name, body string
		format     Format
		want       int
	}{
		{"longer names", "foo_x 1\nfoo_x{a=\"b\"} 1\nfoo_xy 1\nfoo 1\n", Text, 1},
		{"a prefix", "fo 1\nfoo 1\nfo 1\n", Text, 1},
		{"a quoted name with a space", "{\"foo 1\"} 5\nfoo 1 1700000000000\n", Text, 1},
		{"a quoted name with a brace", "{\"foo{a\"} 5\nfoo{a=\"b\"} 1\n", Text, 1},
		{"a suffix of a wanted family", "fo 1\nfoo_count 1\nfoo_sum 1\nfoo_created 1\n", Text, 2},
		{"a tab", "fo\t1\nfoo\t1\nfo\t1\n", Text, 1},
		{"after the end", "# TYPE fo gauge\nfo 1\n# EOF\n", OpenMetrics, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			page := PageOptions{Families: NewFamilies([]string{"foo"}), Format: c.format, Complete: true, Now: time.UnixMilli(1700000001000)}
			got, err := NewParser(labels.FromStrings("pod", "cart")).Parse(page, []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Samples) != c.want {
				t.Errorf("%d samples, want %d: %+v", len(got.Samples), c.want, got.Samples)
			}
		})
	}
	page := PageOptions{Families: NewFamilies([]string{"foo"}), Format: OpenMetrics, Complete: true, Now: time.UnixMilli(1700000001000)}
	if _, err := NewParser(labels.FromStrings("pod", "cart")).Parse(page, []byte("fo 1\n# EOF\nfo 1\n")); err == nil {
		t.Error("a line after # EOF was skipped in silence")
	}
}
