package exposition

// One line of a page: skipped, read on the fast path, or kept for Prometheus's parser.

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// parseLine reads a line, without its line break.
func (p *Parser) parseLine(line []byte) {
	if p.sawEOF {
		p.rejectAfterEOF()
		return
	}
	p.lineCount++
	if p.options.Format == Text {
		line = bytes.TrimLeft(line, " \t")
	}
	if len(line) == 0 {
		return
	}
	if !p.sawLine {
		p.rejectNonExposition(line)
	}
	switch line[0] {
	case '#':
		p.parseComment(line)
	default:
		name := parseSampleName(line)
		switch family := p.options.Families.findWantedFamily(name); {
		case family < 0:
			p.parseCreatedLine(line, name)
		case p.families[family].Err == nil:
			p.parseWantedFamilyLine(line, name, family)
		}
	}
}

// parseWantedFamilyLine reads a line of a wanted family.
func (p *Parser) parseWantedFamilyLine(line, name []byte, family int) {
	if f := &p.families[family]; f.Type == "" {
		f.Type = p.governingTypeLine(name)
	}
	if !p.parseKnownLine(line, family) {
		p.deferLine(line, family)
	}
}

// rejectNonExposition rejects HTML and gzip by the first line of a page, for targets that send no content type.
func (p *Parser) rejectNonExposition(line []byte) {
	p.sawLine, p.canSkipLines = true, true
	if line[0] == '<' {
		p.rejectExpositionPage(newExpositionError(KindNotMetrics, "HTML, not metrics"))
	}
	if line[0] == 0x1f && len(line) > 1 && line[1] == 0x8b {
		p.rejectExpositionPage(newExpositionError(KindEncoding, "gzip, though not asked for"))
	}
}

// parseComment reads a line that starts with #. It keeps the TYPE line of a wanted family for Prometheus's parser: the type
// decides how to write the labels le and quantile.
func (p *Parser) parseComment(line []byte) {
	if p.options.Format == OpenMetrics && string(line) == "# EOF" {
		p.sawEOF, p.canSkipLines = true, false
		return
	}
	rest := bytes.TrimLeft(line[1:], " \t")
	if len(rest) < 5 || string(rest[:4]) != "TYPE" || rest[4] != ' ' && rest[4] != '\t' || len(line) > maxLineBytes {
		return
	}
	p.typeLine, p.typeLinePending = p.typeLine[:0], false
	name, typ := parseTypeLine(rest[4:])
	if !p.options.Families.hasTypeLineName(name) {
		return
	}
	p.typeLine = append(p.typeLine, line...)
	p.typeName, p.lineType = append(p.typeName[:0], name...), typ
	if i, ok := p.options.Families.indexes[string(name)]; ok {
		p.families[i].Type = typ
	}
}

// parseTypeLine returns the metric name and the type in b, the rest of a line behind TYPE.
func parseTypeLine(b []byte) (name []byte, typ model.MetricType) {
	b = bytes.TrimLeft(b, " \t")
	var rest []byte
	switch end := bytes.IndexAny(b, " \t"); {
	case findQuotedNameEnd(b) > 0:
		name, rest = b[1:findQuotedNameEnd(b)-1], b[findQuotedNameEnd(b):]
	case end < 0:
		return b, model.MetricTypeUnknown
	default:
		name, rest = b[:end], b[end:]
	}
	rest = bytes.TrimSpace(rest)
	for _, t := range [...]model.MetricType{
		model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram, model.MetricTypeGaugeHistogram,
		model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset,
	} {
		if string(rest) == string(t) {
			return name, t
		}
	}
	return name, model.MetricTypeUnknown // also for untyped, its name in the text format
}

// parseKnownLine reads a line of a known series, one space and a number, as nearly all lines are. It returns false for any
// other line. Prometheus's parser once read the same bytes as a whole series, so it would read them so again.
func (p *Parser) parseKnownLine(line []byte, family int) bool {
	space := bytes.LastIndexByte(line, ' ')
	if space < 0 || len(line) > maxLineBytes {
		return false
	}
	s := p.cache.findSeriesByPageBytes(line[:space])
	if s == nil {
		return false
	}
	v, ok := parseSampleValue(line[space+1:])
	if !ok {
		return false
	}
	p.addPageSample(Sample{Series: s, Time: p.now, Value: v, family: family})
	return true
}

// parseSampleValue reads a sample's value exactly as Prometheus's parser does.
func parseSampleValue(b []byte) (float64, bool) {
	for _, c := range b {
		if c == 'p' || c == 'P' || c == '_' { // Go's own notations, invalid on a page
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil
}

// deferLine keeps a wanted line for Prometheus's parser, after checks that bound the work and the memory of that parser.
func (p *Parser) deferLine(line []byte, family int) {
	switch {
	case len(line) > maxLineBytes:
		p.refusePageFamily(family, newExpositionError(KindTooLong, "line %d longer than %d bytes", p.lineCount, maxLineBytes))
		return
	case !utf8.Valid(line):
		p.refusePageFamily(family, newExpositionError(KindNotUTF8, "not UTF-8 at line %d", p.lineCount))
		return
	case p.options.MaxLabels > 0 && countLabels(line) > p.options.MaxLabels:
		p.refusePageFamily(family, newExpositionError(KindTooManyLabels, "series with more than %d labels at line %d", p.options.MaxLabels, p.lineCount))
		return
	case p.options.Format == Text && hasNegativeTimestamp(line):
		return
	}
	p.pendingUsed[0] = true
	if len(p.typeLine) > 0 && !p.typeLinePending {
		p.typeLinePending = true
		p.appendPendingPageLine(p.typeLine, -1)
	}
	p.appendPendingPageLine(line, family)
	if len(p.pending) >= decodeAtBytes {
		p.decodePendingPageLines()
		p.typeLinePending = false
	}
}

// countLabels counts the labels of a series by the equals signs outside quotes, up to the closing brace.
func countLabels(line []byte) int {
	n, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '=':
			n++
		case c == '}':
			return n
		}
	}
	return n
}

// hasNegativeTimestamp reports whether a line of the text format ends with a negative timestamp. Older kubelets write the zero
// time of Go, -62135596800000, for a container that has just gone. The line says nothing about now.
func hasNegativeTimestamp(line []byte) bool {
	rest := line[max(0, bytes.LastIndexByte(line, '}')):]
	fields := bytes.Fields(rest) // the name or the brace, the value, the timestamp
	if len(fields) != 3 || len(fields[2]) < 2 || fields[2][0] != '-' {
		return false
	}
	for _, c := range fields[2][1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// addPageSample adds a sample. It refuses the family if the series appears twice with different samples.
func (p *Parser) addPageSample(sample Sample) {
	s, f := sample.Series, &p.families[sample.family]
	if !p.cache.markOnPage(s) {
		if first := p.samples[s.sampleIndex]; !first.repeatsPageSample(sample) {
			p.refusePageFamily(sample.family, newExpositionError(KindDuplicate, "duplicate series %s with different values", formatPageSeries(s.Labels)))
		}
		return
	}
	s.sampleIndex = len(p.samples)
	p.samples = append(p.samples, sample)
	f.Samples++
	if p.acceptedCount++; p.options.MaxSamples > 0 && p.acceptedCount > p.options.MaxSamples {
		p.refusePageFamily(p.overflowingPageFamily(), newExpositionError(KindTooManySamples, "more than %d samples", p.options.MaxSamples))
	}
}

// governingTypeLine returns the type of the last TYPE line if the line covers the sample with this name, else unknown.
func (p *Parser) governingTypeLine(name []byte) model.MetricType {
	rest, ok := bytes.CutPrefix(name, p.typeName)
	if !ok || len(p.typeLine) == 0 {
		return model.MetricTypeUnknown
	}
	covered := len(rest) == 0
	switch p.lineType {
	case model.MetricTypeCounter:
		covered = covered || string(rest) == "_total"
	case model.MetricTypeHistogram, model.MetricTypeSummary:
		covered = covered || sampleSuffix(name) == string(rest)
	}
	if !covered {
		return model.MetricTypeUnknown
	}
	return p.lineType
}
