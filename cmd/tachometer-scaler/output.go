// The output of commands: text or JSON lines.

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// outputPrinter prints the progress of a command: lines for people, or JSON lines. It ignores write errors, since it cannot report them.
type outputPrinter struct {
	out           io.Writer
	json          bool
	terminal      bool
	progressShown bool // the last line is a progress line, without line feed
	workload      string
}

// newScalerCommandPrinter returns a printer for the format of --output; its JSON lines name the workload.
func (g *globalFlags) newScalerCommandPrinter(t hold.Workload) (*outputPrinter, error) {
	p := &outputPrinter{out: g.out, workload: t.String()}
	if f, ok := g.out.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	switch g.output {
	case "auto":
		p.json = !p.terminal
	case "json":
		p.json = true
	case "text":
	default:
		return nil, newScalerCommandUsageError("--output must be auto, text or json, not %q", g.output)
	}
	return p, nil
}

// outputLine is a JSON line.
type outputLine struct {
	Time    time.Time `json:"ts"`
	Event   string    `json:"event"`
	Target  string    `json:"workload,omitempty"`
	Hold    string    `json:"hold,omitempty"`
	Message string    `json:"message"`
	Data    any       `json:"data,omitempty"`
}

// printScalerCommandEvent prints an event: its name, a message and, as JSON only, its data. The entry of a state has the name of the state.
func (p *outputPrinter) printScalerCommandEvent(event, id, message string, data any) {
	if p.json {
		text, err := json.Marshal(outputLine{time.Now().UTC().Round(time.Millisecond), event, p.workload, id, message, data})
		if err != nil {
			text = []byte(fmt.Sprintf(`{"event":%q,"message":%q}`, event, err))
		}
		fmt.Fprintf(p.out, "%s\n", text)
		return
	}
	p.clearScalerCommandProgress()
	fmt.Fprintf(p.out, "%s  %-10s %s\n", time.Now().Format("15:04:05.000"), event, message)
}

// showScalerCommandProgress shows a progress line on a terminal, which the next line replaces. It prints only on a terminal.
func (p *outputPrinter) showScalerCommandProgress(format string, args ...any) {
	if p.json || !p.terminal {
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s  %-10s %s", time.Now().Format("15:04:05.000"), "waiting", fmt.Sprintf(format, args...))
	p.progressShown = true
}

// clearScalerCommandProgress clears the progress line.
func (p *outputPrinter) clearScalerCommandProgress() {
	if p.progressShown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.progressShown = false
	}
}

// formatScalerCommandCount returns a number with its noun: 1 hold, 2 holds.
func formatScalerCommandCount(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
