package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	// Path is where, in the file's own words, such as rules[2].query; empty for the file as a whole.
	Path string
	// Line is the line of the file, from 1; 0 where there is none.
	Line int
	// Message says what is wrong, and what would be right where that is known.
	Message string
}

// String is the fault on one line.
func (f Fault) String() string {
	s := f.Message
	if f.Path != "" {
		s = f.Path + ": " + s
	}
	if f.Line > 0 {
		s = fmt.Sprintf("line %d: %s", f.Line, s)
	}
	return s
}

// Faults are all that is wrong with a configuration, in the order of the file. It is an error if not empty.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Err is nil if there are no faults, and otherwise all of them, sorted.
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

// ParentPath is the path without its last element, key or index.
func ParentPath(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
