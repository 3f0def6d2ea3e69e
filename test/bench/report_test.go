package main

import (
	"strings"
	"testing"
)

func TestReplace(t *testing.T) {
	t.Parallel()
	const report = "head\n<!-- test/bench scraping: begin -->\n\nold\n<!-- test/bench scraping: end -->\ntail\n"
	got, err := replace(report, "scraping", "new\n")
	if want := strings.Replace(report, "old", "new", 1); err != nil || got != want {
		t.Errorf("replace = %q, %v, want %q", got, err, want)
	}
	got, err = replace("head\n", "scraping", "new\n") // one that was not there yet
	if err != nil || got != "head\n\n"+titles["scraping"]+"\n\n<!-- test/bench scraping: begin -->\n\nnew\n<!-- test/bench scraping: end -->\n" {
		t.Errorf("replace = %q, %v", got, err)
	}
	if _, err := replace("<!-- test/bench scraping: begin -->\n", "scraping", "new\n"); err == nil {
		t.Error("a section without an end was written over")
	}
}
