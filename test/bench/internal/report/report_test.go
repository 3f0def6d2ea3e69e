package report

import (
	"strings"
	"testing"
)

func TestReplace(t *testing.T) {
	t.Parallel()
	s := Section{Command: "test/bench", Part: "scraping", Title: "Scraping"}
	const report = "head\n<!-- test/bench scraping: begin -->\n\nold\n<!-- test/bench scraping: end -->\ntail\n"
	got, err := s.replaceInReport(report, "new\n")
	if want := strings.Replace(report, "old", "new", 1); err != nil || got != want {
		t.Errorf("replace = %q, %v, want %q", got, err, want)
	}
	got, err = s.replaceInReport("head\n", "new\n") // a new section
	if err != nil || got != "head\n\n## Scraping\n\n<!-- test/bench scraping: begin -->\n\nnew\n<!-- test/bench scraping: end -->\n" {
		t.Errorf("replace = %q, %v", got, err)
	}
	if _, err := s.replaceInReport("<!-- test/bench scraping: begin -->\n", "new\n"); err == nil {
		t.Error("a section without an end was written over")
	}
}
