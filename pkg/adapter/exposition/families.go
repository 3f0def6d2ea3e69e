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
	names     []string
	indexes   map[string]int      // by name
	typeNames map[string]struct{} // the names of TYPE lines that may give a family its type
	skippable [256]bool           // the first bytes of lines without a wanted sample
}

// NewFamilies compiles a set of family names.
func NewFamilies(names []string) *Families {
	f := &Families{names: slices.Clone(names)}
	slices.Sort(f.names)
	f.names = slices.Compact(f.names)
	f.names = slices.DeleteFunc(f.names, func(s string) bool { return s == "" })
	f.indexes, f.typeNames = make(map[string]int, len(f.names)), make(map[string]struct{}, len(f.names))
	for c := range f.skippable {
		f.skippable[c] = !strings.ContainsRune("#{ \t", rune(c))
	}
	for i, name := range f.names {
		f.indexes[name] = i
		f.skippable[name[0]] = false
		f.typeNames[name] = struct{}{}
		f.typeNames[name+"_bucket"] = struct{}{} // of a gauge: see findFamilyType
		// In OpenMetrics the TYPE line of the counter NAME_total has the name NAME.
		for _, suffix := range [...]string{"_total", "_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok {
				f.typeNames[base] = struct{}{}
			}
		}
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

// IndexOf returns the index of the family with the sample name, or -1.
func (f *Families) IndexOf(sampleName string) int {
	return f.findWantedFamily([]byte(sampleName))
}

// findWantedFamily returns the index of the family with the sample name, or -1. If foo and foo_count are both wanted, the sample
// foo_count belongs to the longer name.
func (f *Families) findWantedFamily(name []byte) int {
	if i, ok := f.indexes[string(name)]; ok {
		return i
	}
	if suffix := findSampleSuffix(name); suffix != "" {
		if i, ok := f.indexes[string(name[:len(name)-len(suffix)])]; ok {
			return i
		}
	}
	return -1
}

// findSampleSuffix returns the suffix of a sample's name that its family's name lacks, or an empty string.
func findSampleSuffix(name []byte) string {
	if len(name) == 0 || name[len(name)-1] != 't' && name[len(name)-1] != 'm' {
		return ""
	}
	for _, suffix := range [...]string{"_bucket", "_sum", "_count"} {
		if len(name) > len(suffix) && string(name[len(name)-len(suffix):]) == suffix {
			return suffix
		}
	}
	return ""
}

// hasTypeLineName reports whether a TYPE line with this name may belong to a wanted family.
func (f *Families) hasTypeLineName(name []byte) bool {
	_, ok := f.typeNames[string(name)]
	return ok
}

// isExpositionNameByte are the bytes of names, also of invalid ones that programs of other systems write. Any other byte ends a name:
// the line queue=5 is a faulty line of queue.
var isExpositionNameByte = func() (table [256]bool) {
	for c := range table {
		table[c] = c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("_:.-/", byte(c)) >= 0
	}
	return table
}()

// parseSampleName returns the metric name of a line, which is not empty. It returns nil if the line has no name.
func parseSampleName(line []byte) []byte {
	if line[0] == '{' {
		return parseQuotedName(line)
	}
	for i, c := range line {
		if !isExpositionNameByte[c] {
			return line[:i]
		}
	}
	return line
}

var nameUnescaper = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n")

// parseQuotedName returns the metric name of a line such as {"http.requests",code="200"} 1: the quoted string within the braces
// that no equals sign precedes.
func parseQuotedName(line []byte) []byte {
	rest := line[1:]
	for {
		rest = bytes.TrimLeft(rest, " \t,")
		if len(rest) == 0 || rest[0] == '}' {
			return nil
		}
		if rest[0] == '"' {
			end := findQuotedNameEnd(rest)
			if end < 0 {
				return nil
			}
			after := bytes.TrimLeft(rest[end:], " \t")
			if name := rest[1 : end-1]; len(after) == 0 || after[0] != '=' { // else the quotes enclose a label's name
				if bytes.IndexByte(name, '\\') >= 0 {
					name = []byte(nameUnescaper.Replace(string(name)))
				}
				return name
			}
			rest = after
		}
		equals := bytes.IndexByte(rest, '=')
		if equals < 0 {
			return nil
		}
		rest = bytes.TrimLeft(rest[equals+1:], " \t")
		end := findQuotedNameEnd(rest)
		if end < 0 {
			return nil
		}
		rest = rest[end:]
	}
}

// findQuotedNameEnd returns the position behind the string in quotes at the start of b, or -1.
func findQuotedNameEnd(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return -1
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}
