// Package output prints the plugin's findings in kubectl's styles: aligned columns for people, a versioned object for programs.
package output

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	apijson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// APIVersion is the version of the objects that -o json and -o yaml print.
const APIVersion = "kubectl." + domain.Name + "/v1alpha1"

// Table is a table in kubectl's style.
type Table struct {
	Header []string
	Rows   [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// TableOptions say how much of a table is printed. The zero value is kubectl's default.
type TableOptions struct {
	NoHeaders     bool
	WithNamespace bool // a column for the namespace, where a table has objects of several
	Wide          bool // further columns, where a table has some
}

// Print writes the table. It cleans every cell.
func (t *Table) Print(out io.Writer, opts TableOptions) error {
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	if !opts.NoHeaders {
		fmt.Fprintln(w, strings.Join(t.Header, "\t"))
	}
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = plaintext.Clean(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// wrapPrintedObject returns the fields of an object in an envelope with apiVersion and kind.
func wrapPrintedObject(kind string, object any) (map[string]any, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	if err := apijson.Unmarshal(data, &fields); err != nil { // whole numbers stay whole
		return nil, fmt.Errorf("print %s: %w", kind, err)
	}
	fields["apiVersion"], fields["kind"] = APIVersion, kind
	return fields, nil
}

// CheckTemplate returns an error for a JSONPath template that PrintTemplate cannot use.
func CheckTemplate(template string) error {
	_, err := parseTemplate(template)
	return err
}

// parseTemplate parses a JSONPath template: {.items[*].name}, or one path without braces.
func parseTemplate(template string) (*jsonpath.JSONPath, error) {
	if template == "" {
		return nil, errors.New("it is empty; write for example jsonpath='{.items[*].name}'")
	}
	if !strings.Contains(template, "{") {
		template = "{." + strings.TrimPrefix(template, ".") + "}"
	}
	path := jsonpath.New("output").AllowMissingKeys(true)
	return path, path.Parse(template)
}

// PrintTemplate writes the fields of an object that a JSONPath template names, as kubectl does. The object has its envelope.
func PrintTemplate(out io.Writer, template, kind string, object any) error {
	path, err := parseTemplate(template)
	if err != nil {
		return err
	}
	fields, err := wrapPrintedObject(kind, object)
	if err != nil {
		return err
	}
	if err := path.Execute(out, plaintext.CleanValue(fields)); err != nil {
		return fmt.Errorf("print %s as jsonpath: %w", kind, err)
	}
	return nil
}

// PrintObject writes an object as JSON or YAML, in an envelope with apiVersion and kind.
func PrintObject(out io.Writer, format, kind string, object any) error {
	fields, err := wrapPrintedObject(kind, object)
	if err != nil {
		return err
	}
	var data []byte
	if format == "yaml" {
		data, err = plaintext.MarshalYAML(fields)
	} else {
		data, err = plaintext.MarshalIndent(fields)
		data = append(data, '\n')
	}
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return err
}

// Age returns a time span as kubectl writes ages: 3m12s. The zero time has the age <unknown>.
func Age(from, now time.Time) string {
	if from.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(from))
}

// Layouts of times in UTC.
const (
	DateLayout  = "2006-01-02 15:04:05"
	ClockLayout = "15:04:05"
)

// ChooseTimeLayout returns the layout of times: the time of day alone where all are of the present day in UTC. The present time may be zero, and
// then they must be of one day.
func ChooseTimeLayout(now time.Time, times ...time.Time) string {
	day := ""
	for _, t := range append(times, now) {
		if t.IsZero() {
			continue
		}
		if d := t.UTC().Format(time.DateOnly); day == "" {
			day = d
		} else if d != day {
			return DateLayout
		}
	}
	return ClockLayout
}

// DescribeScope returns "namespace shop", or "the cluster" for all namespaces.
func DescribeScope(namespace string) string {
	if namespace == "" {
		return "the cluster"
	}
	return "namespace " + namespace
}

// Count returns "1 pod", "3 pods".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Duration returns a time span as kubectl writes it: 10s, 5m; 0s for none.
func Duration(d time.Duration) string { return duration.HumanDuration(d) }

// Window returns the window of a value, as Duration does. hpa.ConvertWindow bounds it.
func Window(d time.Duration) string {
	if d >= hpa.MaxWindow {
		return Duration(hpa.MaxWindow) + " or more"
	}
	return Duration(d)
}
