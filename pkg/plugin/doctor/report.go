// The report for a person.

package doctor

import (
	"cmp"
	"fmt"
	"io"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// Print writes the table of checks, and below it the first broken check with its command.
func (r *Report) Print(out io.Writer, opts output.TableOptions) error {
	table := output.Table{Header: []string{"CHECK", "SUBJECT", "STATUS", "DETAIL"}}
	for _, c := range r.Checks {
		table.Add(c.Name, cmp.Or(c.Subject, "-"), string(c.Status), c.Message)
	}
	if err := table.Print(out, opts); err != nil {
		return err
	}
	first, fine := r.First(), "Nothing is broken"
	if n := r.countUnreadChecks(); n > 0 {
		fine = fmt.Sprintf("Nothing is broken as far as could be read; %s could not", output.Count(n, "check"))
	}
	if first == nil {
		fmt.Fprintf(out, "\n%s.\n", fine)
		return nil
	}
	word := "First broken"
	if first.Status == StatusWarning {
		word = fine + ". First warning"
	}
	fmt.Fprintf(out, "\n%s: %s %s: %s\n", word, first.Name, plaintext.Clean(first.Subject), plaintext.Clean(first.Message))
	if first.Fix != "" {
		fmt.Fprintf(out, "Run: %s\n", plaintext.Clean(first.Fix))
	}
	return nil
}

func (r *Report) countUnreadChecks() int {
	n := 0
	for _, c := range r.Checks {
		if c.Status == StatusUnread {
			n++
		}
	}
	return n
}
