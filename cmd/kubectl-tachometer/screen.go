// The screen of a watch: a table that is refreshed in place must not scroll.

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
)

// clearScreen moves the cursor of a terminal home and clears all below it.
const clearScreen = "\x1b[H\x1b[J"

// drawScreen returns a table with notes below it, for a file or for the terminal out: there it replaces the earlier table.
func drawScreen(out io.Writer, table, notes string) string {
	f, isFile := out.(*os.File)
	if !isFile || !command.IsTerminal(out) || os.Getenv("TERM") == "dumb" { // a dumb terminal knows no escapes
		return table + notes
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return clearScreen + table + notes
	}
	return clearScreen + fitScreen(table, notes, width, height)
}

// fitScreen cuts a table and the notes below it to a terminal: columns at its right, and rows at its end, which it counts. Lines of the
// terminal that are longer would wrap, and more of them scroll. The last line stays empty for the cursor.
func fitScreen(table, notes string, width, height int) string {
	below := cutLines(notes, width)
	below = below[:min(len(below), max(0, height-4))] // room for the header, a row and the number of rows left out
	rows := cutLines(table, width)
	if room := height - 1 - len(below); len(rows) > room && room > 1 {
		rows = append(rows[:room-1:room-1], fmt.Sprintf("… %d more\n", len(rows)-room+1))
	}
	return strings.Join(rows, "") + strings.Join(below, "")
}

// cutLines returns the lines of a text, each with at most width characters and its line end.
func cutLines(text string, width int) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if runes := []rune(strings.TrimRight(line, " \n")); len(runes) > width {
			line = string(runes[:width-1]) + "…\n"
		}
		lines = append(lines, line)
	}
	return lines
}
