// The report for a person.

package doctor

import (
	"cmp"
	"fmt"
	"io"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// Print writes the table of checks, and below it the first broken check with its command.
func (r *Report) Print(out io.Writer, noHeaders bool) error {
	table := output.Table{Header: []string{"CHECK", "SUBJECT", "STATUS", "DETAIL"}}
	for _, c := range r.Checks {
		table.Add(c.Name, cmp.Or(c.Subject, "-"), string(c.Status), c.Message)
	}
	if err := table.Print(out, noHeaders); err != nil {
		return err
	}
	first := r.First()
	if first == nil {
		fmt.Fprintln(out, "\nNothing is broken.")
		return nil
	}
	word := "First broken"
	if first.Status == StatusWarning {
		word = "Nothing is broken. First warning"
	}
	fmt.Fprintf(out, "\n%s: %s %s: %s\n", word, first.Name, first.Subject, first.Message)
	if first.Fix != "" {
		fmt.Fprintf(out, "Run: %s\n", first.Fix)
	}
	return nil
}
