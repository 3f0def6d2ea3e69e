package main

import (
	"strings"
	"testing"
)

// TestFitScreen: a watch shows what the terminal has room for, and how many rows it lacks; the notes below the table stay.
func TestFitScreen(t *testing.T) {
	t.Parallel()
	const table = "NAME   STATE\na      steady\nb      broken\nc      held\nd      new\n"
	for name, tc := range map[string]struct {
		notes         string
		width, height int
		want          string
	}{
		"enough room":         {"", 80, 6, table},
		"one line too few":    {"", 80, 5, "NAME   STATE\na      steady\nb      broken\n… 2 more\n"},
		"with a note":         {"did not read pods: no right\n", 80, 6, "NAME   STATE\na      steady\nb      broken\n… 2 more\ndid not read pods: no right\n"},
		"narrow":              {"", 10, 6, "NAME   ST…\na      st…\nb      br…\nc      he…\nd      new\n"},
		"many notes":          {strings.Repeat("no right\n", 9), 80, 5, "NAME   STATE\na      steady\n… 3 more\nno right\n"},
		"hardly any terminal": {"", 80, 3, "NAME   STATE\n… 4 more\n"},
	} {
		if got := fitScreen(table, tc.notes, tc.width, tc.height); got != tc.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tc.want)
		}
	}
}
