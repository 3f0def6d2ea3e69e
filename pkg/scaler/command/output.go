// The output of commands: the progress of a command as text or JSON lines, and Holds as kubectl prints objects.

package command

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"
	"k8s.io/client-go/util/jsonpath"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// The values of --output.
const (
	outputAuto = "auto"
	outputText = "text"
	outputWide = "wide"
	outputJSON = "json"
	outputYAML = "yaml"
	outputName = "name"
	// outputJSONPath comes before a template, as in kubectl.
	outputJSONPath = "jsonpath="
)

var outputFormats = []string{outputAuto, outputText, outputWide, outputJSON, outputYAML, outputName, outputJSONPath + "TEMPLATE"}

// OutputFormat returns the value of --output, or an error if the command has no such format.
func (p *Program) OutputFormat(formats ...string) (string, error) {
	if template, ok := strings.CutPrefix(p.output, outputJSONPath); ok && slices.Contains(formats, outputJSONPath+"TEMPLATE") {
		_, err := parseJSONPath(template)
		return p.output, err
	}
	if !slices.Contains(formats, p.output) {
		return "", UsageErrorf("--output must be %s, not %q", strings.Join(formats, ", "), p.output)
	}
	return p.output, nil
}

// outputPrinter prints the progress of a command: lines for people, or JSON lines. With -o yaml and -o name the lines are on standard error,
// and Holds on standard output. It ignores write errors, since it cannot report them.
type outputPrinter struct {
	out, objects  io.Writer
	program       string // Program.Name
	format        string
	json          bool
	terminal      bool
	progressShown bool // the last line is a progress line, without line feed
	workload      string
}

// newOutputPrinter returns a printer for the format of --output; its JSON lines name the workload.
func (p *Program) newOutputPrinter(t hold.Workload) (*outputPrinter, error) {
	format, err := p.OutputFormat(outputFormats...)
	if err != nil {
		return nil, err
	}
	printer := &outputPrinter{out: p.Out, objects: p.Out, program: p.Name, format: format, workload: t.String()}
	if format == outputYAML || format == outputName || strings.HasPrefix(format, outputJSONPath) {
		printer.out = p.Errs
	}
	printer.terminal = IsTerminal(printer.out)
	printer.json = format == outputJSON || format == outputAuto && !printer.terminal
	return printer, nil
}

// IsTerminal reports whether a writer is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
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

// printCommandEvent prints an event: its name, a message and, as JSON only, its data. The entry of a state has the name of the state.
func (p *outputPrinter) printCommandEvent(event, id, message string, data any) {
	if p.json {
		text, err := plaintext.MarshalJSON(outputLine{time.Now().UTC().Round(time.Millisecond), event, p.workload, id, message, data})
		if err != nil {
			text = []byte(fmt.Sprintf(`{"event":%q,"message":%q}`, event, err))
		}
		fmt.Fprintf(p.out, "%s\n", text)
		return
	}
	p.clearProgressLine()
	fmt.Fprintf(p.out, "%s  %-10s %s\n", time.Now().Format("2006-01-02 15:04:05.000"), plaintext.Clean(event), plaintext.Clean(message))
}

// showProgressLine shows a progress line on a terminal, which the next line replaces. It prints only on a terminal.
func (p *outputPrinter) showProgressLine(format string, args ...any) {
	if p.json || !p.terminal {
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s  %-10s %s", time.Now().Format("2006-01-02 15:04:05.000"), "waiting", plaintext.Clean(fmt.Sprintf(format, args...)))
	p.progressShown = true
}

// clearProgressLine clears the progress line.
func (p *outputPrinter) clearProgressLine() {
	if p.progressShown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.progressShown = false
	}
}

// printHoldObjects prints the Holds that a command changed, with -o yaml and -o name.
func (p *outputPrinter) printHoldObjects(all ...hold.Object) error {
	p.clearProgressLine()
	if template, ok := strings.CutPrefix(p.format, outputJSONPath); ok && len(all) > 0 {
		for i := range all {
			if err := writeJSONPath(p.objects, template, cleanPrintedHold(&all[i])); err != nil {
				return err
			}
		}
		return nil
	}
	switch p.format {
	case outputName:
		return writeHoldNames(p.objects, all)
	case outputYAML:
		for i := range all {
			text, err := plaintext.MarshalYAML(cleanPrintedHold(&all[i]))
			if err != nil {
				return fmt.Errorf("print hold %s: %w", all[i].Name, err)
			}
			if len(all) > 1 {
				text = append([]byte("---\n"), text...)
			}
			if _, err := p.objects.Write(text); err != nil {
				return err
			}
		}
	}
	return nil
}

// cleanPrintedHold returns the object with its kind, and without its field managers, as kubectl prints objects. An object that cannot be read is
// as the API server has it: no field of it is lost.
func cleanPrintedHold(h *hold.Object) any {
	var raw map[string]any
	if h.Fault != "" && json.Unmarshal(h.Raw, &raw) == nil {
		raw["apiVersion"], raw["kind"] = hold.GroupVersion.String(), hold.Kind
		if metadata, ok := raw["metadata"].(map[string]any); ok {
			delete(metadata, "managedFields")
		}
		return raw
	}
	h = h.DeepCopy()
	h.APIVersion, h.Kind, h.ManagedFields = hold.GroupVersion.String(), hold.Kind, nil
	return h
}

// writeHoldNames writes the names of Holds, as kubectl takes them.
func writeHoldNames(w io.Writer, all []hold.Object) error {
	for i := range all {
		if _, err := fmt.Fprintf(w, "%s.%s/%s\n", strings.ToLower(hold.Kind), hold.GroupVersion.Group, plaintext.Clean(all[i].Name)); err != nil {
			return err
		}
	}
	return nil
}

// parseJSONPath parses a template of -o jsonpath: {.items[*].metadata.name}, or one path without braces.
func parseJSONPath(template string) (*jsonpath.JSONPath, error) {
	if template != "" && !strings.Contains(template, "{") {
		template = "{." + strings.TrimPrefix(template, ".") + "}"
	}
	path := jsonpath.New("output").AllowMissingKeys(true)
	if template == "" {
		return nil, UsageErrorf("--output jsonpath= needs a template, such as jsonpath='{.items[*].metadata.name}'")
	}
	if err := path.Parse(template); err != nil {
		return nil, UsageErrorf("--output jsonpath=%s: %w", template, err)
	}
	return path, nil
}

// writeJSONPath writes the result of a template on an object. It prints texts as they are, so they are cleaned.
func writeJSONPath(w io.Writer, template string, object any) error {
	path, err := parseJSONPath(template)
	if err != nil {
		return err
	}
	text, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("print as jsonpath: %w", err)
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		return fmt.Errorf("print as jsonpath: %w", err)
	}
	if err := path.Execute(w, plaintext.CleanValue(plain)); err != nil {
		return fmt.Errorf("print as jsonpath: %w", err)
	}
	return nil
}

// writeHoldList writes Holds as a list of JSON or YAML, or the parts that a jsonpath finds in the list.
func writeHoldList(w io.Writer, format string, all []hold.Object) error {
	list := struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Items      []any  `json:"items"`
	}{"v1", "List", []any{}}
	for i := range all {
		list.Items = append(list.Items, cleanPrintedHold(&all[i]))
	}
	if template, ok := strings.CutPrefix(format, outputJSONPath); ok {
		return writeJSONPath(w, template, list)
	}
	return WriteObject(w, format, list)
}

// WriteObject writes an object as JSON or YAML.
func WriteObject(w io.Writer, format string, object any) error {
	marshal := plaintext.MarshalIndent
	if format == outputYAML {
		marshal = plaintext.MarshalYAML
	}
	text, err := marshal(object)
	if err != nil {
		return fmt.Errorf("print as %s: %w", format, err)
	}
	_, err = fmt.Fprintln(w, strings.TrimRight(string(text), "\n"))
	return err
}

// formatNounCount returns a number with its noun: 1 hold, 2 holds.
func formatNounCount(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
