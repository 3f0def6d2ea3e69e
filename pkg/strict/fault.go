package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is a single fault of a configuration.
type Fault struct {
	// Path locates the fault by keys and indexes, such as rules[2].query; empty: the file as a whole.
	Path string
	// Line is the line of the file, from 1; 0: no line.
	Line int
	// Message describes the fault, and how to correct it if that is known.
	Message string
}

// String returns the fault on one line.
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

// Faults lists the faults of a configuration. It is an error unless it is empty.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns all faults, in the order of the file without duplicates, or nil.
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

// ParentPath returns the path without its last element, key or index.
func ParentPath(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
