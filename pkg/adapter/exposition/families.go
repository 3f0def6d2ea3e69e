package exposition

// The wanted families, and which lines belong to them.

import (
	"bytes"
	"slices"
	"strings"
)

// Families is a set of wanted metric families, compiled to find their lines. A family NAME has the samples
// NAME, NAME_bucket, NAME_sum and NAME_count. It is immutable and may be shared by parsers and goroutines.
type Families struct {
	names       []string
	quotedNames [][]byte       // the names as they begin within braces: a quote, then the escaped name
	namesByByte [256]nameRange // the names that begin with a byte: names[lo:hi]
	skippable   [256]bool      // the first bytes of lines without a wanted sample
}

type nameRange struct{ lo, hi uint16 }

// maxFamilies keeps an index within the uint16 of a nameRange. A URL has room for far fewer names.
const maxFamilies = 1 << 14

// NewFamilies compiles a set of family names. It ignores names beyond 16,384.
func NewFamilies(names []string) *Families {
	f := &Families{names: slices.Clone(names)}
	slices.Sort(f.names)
	f.names = slices.Compact(f.names)
	f.names = slices.DeleteFunc(f.names, func(s string) bool { return s == "" })
	if len(f.names) > maxFamilies {
		f.names = f.names[:maxFamilies]
	}
	for i, name := range f.names {
		f.quotedNames = append(f.quotedNames, []byte(`"`+escapeName(name)))
		s := &f.namesByByte[name[0]]
		if s.hi == 0 {
			s.lo = uint16(i)
		}
		s.hi = uint16(i) + 1
	}
	for c := range f.skippable {
		f.skippable[c] = f.namesByByte[c].hi == 0 && !strings.ContainsRune("#{ \t", rune(c))
	}
	return f
}

// Names returns the families, sorted, without duplicates. The caller must not change it.
func (f *Families) Names() []string {
	if f == nil {
		return nil
	}
	return f.names
}

var nameEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func escapeName(s string) string { return nameEscaper.Replace(s) }

// matchLine returns the index of the family that the line is a sample of, or -1. The line is not empty and starts with a
// metric name.
func (f *Families) matchLine(line []byte) int {
	s := f.namesByByte[line[0]]
	// Downwards: if foo and foo_count are both wanted, a line of foo_count belongs to the longer name.
	for i := int(s.hi) - 1; i >= int(s.lo); i-- {
		name := f.names[i]
		if len(line) > len(name) && string(line[:len(name)]) == name && endsSampleName(line[len(name):]) {
			return i
		}
	}
	return -1
}

// endsSampleName reports whether rest, which follows a family's name, ends the name of one of its samples.
func endsSampleName(rest []byte) bool {
	if rest[0] == '_' {
		rest = rest[len(sampleSuffix(rest)):]
	}
	return len(rest) > 0 && (rest[0] == '{' || rest[0] == ' ' || rest[0] == '\t')
}

// sampleSuffix returns the suffix that s starts with, or an empty string.
func sampleSuffix[T []byte | string](s T) string {
	for _, suffix := range [...]string{"_bucket", "_sum", "_count"} {
		if len(s) >= len(suffix) && string(s[:len(suffix)]) == suffix {
			return suffix
		}
	}
	return ""
}

// mayNameFamily reports whether a line that starts with a brace may have a wanted name within the braces.
func (f *Families) mayNameFamily(line []byte) bool {
	for _, q := range f.quotedNames {
		if bytes.Contains(line, q) {
			return true
		}
	}
	return false
}

// familyIndex returns the index of the family with the sample name, or -1.
func (f *Families) familyIndex(name string) int {
	if name == "" {
		return -1
	}
	s := f.namesByByte[name[0]]
	for i := int(s.hi) - 1; i >= int(s.lo); i-- {
		if rest, ok := strings.CutPrefix(name, f.names[i]); ok && len(rest) == len(sampleSuffix(rest)) {
			return i
		}
	}
	return -1
}

// matchesTypeName reports whether a TYPE line with this name may belong to a wanted family. In OpenMetrics the TYPE line of the
// counter NAME_total has the name NAME, hence the prefix.
func (f *Families) matchesTypeName(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	s := f.namesByByte[name[0]]
	for i := s.lo; i < s.hi; i++ {
		if len(f.names[i]) >= len(name) && f.names[i][:len(name)] == string(name) {
			return true
		}
	}
	return false
}
