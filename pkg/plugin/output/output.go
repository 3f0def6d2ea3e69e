// Package output prints what the plugin found in kubectl's styles: aligned columns for people, a versioned object for programs.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
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

// Print writes the table, without its header if noHeaders is set. Line breaks within a cell become spaces.
func (t *Table) Print(out io.Writer, noHeaders bool) error {
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	if !noHeaders {
		fmt.Fprintln(w, strings.Join(t.Header, "\t"))
	}
	clean := strings.NewReplacer("\n", " ", "\t", " ")
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean.Replace(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// PrintObject writes an object as JSON or YAML, in an envelope with apiVersion and kind.
func PrintObject(out io.Writer, format, kind string, object any) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	fields := map[string]any{}
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("print %s: %w", kind, err)
	}
	fields["apiVersion"], fields["kind"] = APIVersion, kind
	if format == "yaml" {
		data, err = yaml.Marshal(fields)
	} else {
		data, err = json.MarshalIndent(fields, "", "  ")
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

// Count returns "1 pod", "3 pods".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Duration returns a time span as kubectl writes it: 10s, 5m; 0s for none.
func Duration(d time.Duration) string { return duration.HumanDuration(d) }
