package exposition

// The list of a page's families, for people: names, types and help, and no sample.

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

const (
	// maxListedNameBytes bounds the name of a listed family, as API names are bounded, maxListedHelpBytes its help, and maxListedUnitBytes its unit.
	maxListedNameBytes = 253
	maxListedHelpBytes = 200
	maxListedUnitBytes = 40
	// maxListedLineBytes bounds the part of a line that is read: a name, and the help.
	maxListedLineBytes = 2 << 10
	// listedFamilyBytes is the memory of a listed family without its texts.
	listedFamilyBytes = 128
)

// ListedFamily is a metric family on a page. Its texts are harmless: see package plaintext.
type ListedFamily struct {
	Name, Help, Unit string
	// Type is the type that the page gives to the family. Without a TYPE line it is MetricTypeUnknown, or MetricTypeHistogram if there are
	// buckets.
	Type model.MetricType
}

// Bytes returns about the memory of the family.
func (f ListedFamily) Bytes() int {
	return len(f.Name) + len(f.Help) + len(f.Unit) + listedFamilyBytes
}

// FamilyPage is the list of the families on a page.
type FamilyPage struct {
	// Families are those with samples, sorted by name.
	Families []ListedFamily
	// Truncated reports that the page has more families than the list has room for.
	Truncated bool
	// Bytes is the size of the page.
	Bytes int64
}

// FamilyPageLimits bound the read of a page for its list.
type FamilyPageLimits struct {
	// Timeout bounds the read, and PageBytes the page; 0: as of a scrape.
	Timeout   time.Duration
	PageBytes int64
	// ListBytes bounds the memory of the list.
	ListBytes int
}

// PageFamilyLister lists the families of a page that have samples: Write for each piece of the page, and then List. It must not be used
// concurrently.
type PageFamilyLister struct {
	format           Format
	maxBytes         int64 // of the page
	maxListBytes     int
	byteCount        int64
	listBytes        int
	truncated        bool
	families         map[string]*listedFamily
	sawLine, dropped bool   // dropped: the rest of a long line is left out
	partialLine      []byte // the last line of the last Write, without its end
	lastName         []byte // the metric name of the last sample
	lineFault        *Error // of the first line that is neither a comment nor a sample
	err              *Error // of the page
}

// listedFamily is a family while its page is read.
type listedFamily struct {
	ListedFamily
	hasSamples bool
	// hasParts: the samples NAME_bucket, NAME_sum and NAME_count belong to it.
	hasParts bool
}

// NewPageFamilyLister returns a lister for one page of at most maxBytes, of which it keeps about maxListBytes.
func NewPageFamilyLister(format Format, maxBytes int64, maxListBytes int) *PageFamilyLister {
	return &PageFamilyLister{format: format, maxBytes: maxBytes, maxListBytes: maxListBytes, families: map[string]*listedFamily{}}
}

// Write reads the next piece of the page, and keeps no part of the slice. An error is an *Error: the page is rejected.
func (l *PageFamilyLister) Write(piece []byte) (int, error) {
	n := len(piece)
	if l.byteCount += int64(n); l.err == nil {
		limit := PageOptions{MaxBytes: l.maxBytes}
		l.err = limit.newPageSizeError(l.byteCount)
	}
	for l.err == nil && len(piece) > 0 {
		end := bytes.IndexByte(piece, '\n')
		if end < 0 {
			l.keepPartialListedLine(piece)
			break
		}
		switch line := piece[:end]; {
		case l.dropped || len(l.partialLine) > 0:
			l.keepPartialListedLine(line)
			l.listFamilyLine(l.partialLine)
			l.partialLine, l.dropped = l.partialLine[:0], false
		case !l.repeatsListedFamilyName(line):
			l.listFamilyLine(line[:min(len(line), maxListedLineBytes)])
		}
		piece = piece[end+1:]
	}
	if l.err != nil {
		return 0, l.err
	}
	return n, nil
}

// keepPartialListedLine appends a piece to the partial line, and leaves out what is beyond the part that is read.
func (l *PageFamilyLister) keepPartialListedLine(piece []byte) {
	room := maxListedLineBytes - len(l.partialLine)
	l.partialLine, l.dropped = append(l.partialLine, piece[:min(len(piece), room)]...), l.dropped || len(piece) > room
}

// List ends the page and returns its families, sorted by name. truncated reports that the page has more. An error is an *Error: the page is
// rejected, or it has text and no sample.
func (l *PageFamilyLister) List() (families []ListedFamily, truncated bool, err error) {
	if l.err == nil && len(l.partialLine) > 0 {
		l.listFamilyLine(l.partialLine)
	}
	if l.err != nil {
		return nil, false, l.err
	}
	for f := range maps.Values(l.families) {
		if f.hasSamples {
			families = append(families, f.ListedFamily)
		}
	}
	if len(families) == 0 && !l.truncated && l.lineFault != nil {
		return nil, false, l.lineFault
	}
	slices.SortFunc(families, func(a, b ListedFamily) int { return cmp.Compare(a.Name, b.Name) })
	return families, l.truncated, nil
}

// repeatsListedFamilyName reports whether a line has the metric name of the last sample, as most lines have.
func (l *PageFamilyLister) repeatsListedFamilyName(line []byte) bool {
	n := len(l.lastName)
	return n > 0 && len(line) > n && (line[n] == '{' || line[n] == ' ') && string(line[:n]) == string(l.lastName)
}

// listFamilyLine reads a line, without its line break.
func (l *PageFamilyLister) listFamilyLine(line []byte) {
	clipped := len(line) >= maxListedLineBytes // the value may be beyond the part that is read
	if !l.sawLine {
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
	}
	if line = bytes.TrimLeft(bytes.TrimRight(line, " \t\r"), " \t"); len(line) == 0 {
		return
	}
	if !l.sawLine {
		l.sawLine = true
		if l.err = findForeignPageFault(line); l.err != nil {
			return
		}
	}
	if line[0] == '#' {
		l.listFamilyComment(line[1:])
		return
	}
	if !clipped && !hasSampleLineForm(line) {
		if l.lineFault == nil {
			l.lineFault = newForeignTextError(line)
		}
		return
	}
	name := parseSampleName(line)
	if len(name) == 0 {
		return
	}
	if l.lastName = l.lastName[:0]; line[0] != '{' { // a name in quotes may contain what ends another
		l.lastName = append(l.lastName, name...)
	}
	if f := l.ensureListedFamilyOfSample(string(name), line); f != nil {
		f.hasSamples = true
	}
}

// findForeignPageFault returns the reason why the first line of a page is none of metrics, or nil.
func findForeignPageFault(line []byte) *Error {
	switch {
	case line[0] == '<':
		return newPageError(KindNotMetrics, "HTML, not metrics")
	case line[0] == 0x1f && len(line) > 1 && line[1] == 0x8b:
		return newPageError(KindEncoding, "gzip, though not asked for")
	}
	return nil
}

// listFamilyComment reads a HELP, TYPE or UNIT line, without its #.
func (l *PageFamilyLister) listFamilyComment(line []byte) {
	rest := bytes.TrimLeft(line, " \t")
	if len(rest) < 5 || rest[4] != ' ' && rest[4] != '\t' {
		return
	}
	keyword := string(rest[:4])
	if keyword != "HELP" && keyword != "TYPE" && keyword != "UNIT" {
		return
	}
	name, text := cutListedName(rest[4:])
	f := l.ensureListedFamily(name)
	if f == nil {
		return
	}
	switch keyword {
	case "TYPE":
		_, f.Type = parseTypeLine(rest[4:])
		f.hasParts = f.Type == model.MetricTypeHistogram || f.Type == model.MetricTypeSummary || f.Type == model.MetricTypeGaugeHistogram
	case "HELP":
		l.setListedFamilyText(&f.Help, plaintext.Clip(helpUnescaper.Replace(text), maxListedHelpBytes))
	case "UNIT":
		l.setListedFamilyText(&f.Unit, plaintext.Clip(text, maxListedUnitBytes))
	}
}

// helpUnescaper undoes the escapes of a HELP line.
var helpUnescaper = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\"`, `"`)

// cutListedName returns the metric name and the text in b, the rest of a comment behind its keyword.
func cutListedName(b []byte) (name, text string) {
	b = bytes.TrimLeft(b, " \t")
	if end := findQuotedNameEnd(b); end > 0 {
		return nameUnescaper.Replace(string(b[1 : end-1])), string(bytes.TrimSpace(b[end:]))
	}
	end := bytes.IndexAny(b, " \t")
	if end < 0 {
		return string(bytes.TrimSpace(b)), ""
	}
	return string(b[:end]), string(bytes.TrimSpace(b[end:]))
}

// setListedFamilyText sets a text of a family, if the list has room for it.
func (l *PageFamilyLister) setListedFamilyText(to *string, text string) {
	if more := len(text) - len(*to); l.listBytes+more <= l.maxListBytes {
		*to, l.listBytes = text, l.listBytes+more
	}
}

// ensureListedFamily returns the family of a name; nil if the list has no room for it.
func (l *PageFamilyLister) ensureListedFamily(name string) *listedFamily {
	if f := l.families[name]; f != nil || name == "" {
		return f
	}
	f := &listedFamily{ListedFamily: ListedFamily{Name: plaintext.Clip(name, maxListedNameBytes), Type: model.MetricTypeUnknown}}
	if len(name) > maxListedNameBytes || l.listBytes+f.Bytes() > l.maxListBytes {
		l.truncated = true
		return nil
	}
	l.listBytes += f.Bytes()
	l.families[name] = f
	return f
}

// hasBucketLabel reports whether a sample has the label of a histogram's buckets, or the text of one in a label value.
func hasBucketLabel(line []byte) bool {
	for _, before := range [...]string{"{", ",", " ", "\t"} {
		if bytes.Contains(line, []byte(before+model.BucketLabel+`="`)) {
			return true
		}
	}
	return false
}

// ensureListedFamilyOfSample returns the family of the sample on a line; nil without one.
func (l *PageFamilyLister) ensureListedFamilyOfSample(name string, line []byte) *listedFamily {
	if f := l.families[name]; f != nil {
		return f
	}
	for _, suffix := range [...]string{"_bucket", "_sum", "_count"} {
		base, ok := strings.CutSuffix(name, suffix)
		if !ok || base == "" {
			continue
		}
		if f := l.families[base]; f != nil && f.hasParts {
			return f
		}
		if suffix == "_bucket" && hasBucketLabel(line) { // of a histogram without a TYPE line
			f := l.ensureListedFamily(base)
			if f != nil && f.Type == model.MetricTypeUnknown {
				f.Type, f.hasParts = model.MetricTypeHistogram, true
				return f
			}
		}
	}
	if l.format == OpenMetrics {
		return l.ensureOpenMetricsFamily(name)
	}
	return l.ensureListedFamily(name)
}

// ensureOpenMetricsFamily is ensureListedFamily for a sample whose name has an ending that the TYPE line in OpenMetrics lacks: the family
// of rules is NAME_total there. The times at which counters began are no family.
func (l *PageFamilyLister) ensureOpenMetricsFamily(name string) *listedFamily {
	for suffix, kind := range map[string]model.MetricType{"_total": model.MetricTypeCounter, "_info": model.MetricTypeInfo} {
		base, ok := strings.CutSuffix(name, suffix)
		if about := l.families[base]; ok && about != nil && about.Type == kind {
			f := l.ensureListedFamily(name)
			if f != nil {
				f.Type = kind
				l.setListedFamilyText(&f.Help, about.Help)
				l.setListedFamilyText(&f.Unit, about.Unit)
			}
			return f
		}
	}
	if base, ok := strings.CutSuffix(name, createdSuffix); ok {
		if about := l.families[base]; about != nil && (about.hasParts || about.Type == model.MetricTypeCounter) {
			return nil
		}
	}
	return l.ensureListedFamily(name)
}
