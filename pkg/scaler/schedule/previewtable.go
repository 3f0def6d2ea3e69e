package schedule

// This file writes previews as a table and as JSON lines.

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// WriteTable writes rows as an aligned table.
func WriteTable(out io.Writer, rows []PreviewRow) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	// Flush returns the errors of these writes.
	_, _ = fmt.Fprintln(w, "FROM\tTO\tZONE\tWORKLOAD\tMINREPLICAS\tMAXREPLICAS\tSCHEDULE\tWINDOW\tNOTES")
	for _, r := range rows {
		cells := []string{
			formatPreviewTime(r.From), formatPreviewTime(r.To), formatPreviewWordCell(r.Zone), strings.ToLower(r.Workload.Kind) + "/" + r.Workload.Name + "." + r.Workload.Namespace,
			r.minReplicasCell(), formatPreviewMaximumCell(r.MaxReplicas), formatPreviewWordCell(r.Schedule), formatPreviewWordCell(r.Window), strings.Join(r.previewNotesCell(), "; "),
		}
		for i := range cells {
			cells[i] = plaintext.Clean(cells[i])
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// WriteJSON writes rows as JSON, one row a line.
func WriteJSON(out io.Writer, rows []PreviewRow) error {
	for i := range rows {
		line, err := plaintext.MarshalJSON(&rows[i])
		if err == nil {
			_, err = out.Write(append(line, '\n'))
		}
		if err != nil {
			return fmt.Errorf("write row: %w", err)
		}
	}
	return nil
}

func formatPreviewTime(t time.Time) string {
	if t.Second() != 0 || t.Nanosecond() != 0 {
		return t.Format("Mon 2006-01-02 15:04:05 -07:00")
	}
	return t.Format("Mon 2006-01-02 15:04 -07:00")
}

func (r *PreviewRow) minReplicasCell() string {
	if r.MinReplicas == nil {
		return "-"
	}
	return strconv.Itoa(int(*r.MinReplicas))
}

func (r *PreviewRow) previewNotesCell() []string {
	if r.Ramping {
		return append([]string{"ramp"}, r.Notes...)
	}
	return r.Notes
}

// formatPreviewMaximumCell returns the cell of a maximum; 0 is no maximum.
func formatPreviewMaximumCell(n int32) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(int(n))
}

// formatPreviewWordCell returns s, or a dash if s is empty: programs split the table at spaces.
func formatPreviewWordCell(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
