package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// Fault is a single fault of a configuration.
type Fault struct {
	// Path is the place in the words of the file, such as rules[2].query. It is empty for the file as a whole.
	Path string
	// Line is the line of the file, from 1; 0 stands for no line.
	Line int
	// Message names the fault and, where known, the way to mend it.
	Message string
}

// String returns the fault on a single line, fit for a terminal: a path has the keys of the file.
func (f Fault) String() string {
	s := f.Message
	if f.Path != "" {
		s = f.Path + ": " + s
	}
	if f.Line > 0 {
		s = fmt.Sprintf("line %d: %s", f.Line, s)
	}
	return plaintext.Clean(s)
}

// Faults are the faults of a configuration. Err returns them as an error, in the order of the file.
type Faults []Fault

// Error returns the faults, each on a line of its own.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns the faults in the order of the file without repetitions, or nil if f is empty.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	sorted := slices.Clone(f)
	slices.SortStableFunc(sorted, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path))
	})
	return slices.Compact(sorted)
}

// ParentPath returns the path without its last element, a key or an index.
func ParentPath(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
