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

// outputPrinter writes what a command does: lines for people, or JSON lines. Write errors show nowhere: there is nowhere to show them.
type outputPrinter struct {
	out           io.Writer
	json          bool
	terminal      bool
	progressShown bool // a progress line stands without its end
	workload      string
}

// newOutputPrinter of a command, about a target.
func (g *globalFlags) newOutputPrinter(t hold.Workload) (*outputPrinter, error) {
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
		return nil, newUsageError("--output is auto, text or json, not %q", g.output)
	}
	return p, nil
}

// outputLine is what one line of JSON holds.
type outputLine struct {
	Time    time.Time `json:"ts"`
	Event   string    `json:"event"`
	Target  string    `json:"target,omitempty"`
	Hold    string    `json:"hold,omitempty"`
	Message string    `json:"message"`
	Data    any       `json:"data,omitempty"`
}

// printEvent prints one thing that happened: a word for it, a sentence, and for programs the data behind it.
func (p *outputPrinter) printEvent(event, id, message string, data any) {
	if p.json {
		text, err := json.Marshal(outputLine{time.Now().UTC().Round(time.Millisecond), event, p.workload, id, message, data})
		if err != nil {
			text = []byte(fmt.Sprintf(`{"event":%q,"message":%q}`, event, err))
		}
		fmt.Fprintf(p.out, "%s\n", text)
		return
	}
	p.clearProgress()
	fmt.Fprintf(p.out, "%s  %-9s %s\n", time.Now().Format("15:04:05.000"), event, message)
}

// showProgress shows what is waited for, in place, on a terminal; elsewhere it is not worth a line.
func (p *outputPrinter) showProgress(format string, args ...any) {
	if p.json || !p.terminal {
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s  %-9s %s", time.Now().Format("15:04:05.000"), "waiting", fmt.Sprintf(format, args...))
	p.progressShown = true
}

// clearProgress clears a progress line.
func (p *outputPrinter) clearProgress() {
	if p.progressShown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.progressShown = false
	}
}

// formatCount is a number of things in words: 1 hold, 2 holds.
func formatCount(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
