package exposition

// One line of a page: skipped, read on the fast path, or kept for Prometheus's parser.

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// parsePageLine reads a line, without its line break.
func (p *Parser) parsePageLine(line []byte) {
	if p.sawEOF {
		p.rejectLineAfterEOF()
		return
	}
	p.lineCount++
	if p.isUnwantedLine(line) || p.parseExpectedSeriesLine(line) {
		return
	}
	if !p.sawLine {
		line = bytes.TrimPrefix(line, []byte("\ufeff")) // some editors and shells begin a file with it
	}
	if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		line = bytes.TrimLeft(line, " \t")
	}
	if len(line) == 0 {
		return
	}
	if !p.sawLine {
		p.rejectForeignPage(line)
	}
	switch line[0] {
	case '#':
		p.parseCommentLine(line)
	default:
		name := parseSampleName(line)
		if !p.canSkipLines && p.firstName == "" {
			p.firstName, p.canSkipLines = string(name), true
		}
		switch family := p.options.Families.findWantedFamily(name); {
		case family < 0 && bytes.HasSuffix(name, []byte(createdSuffix)):
			p.parseCreatedLine(line, name)
		case family < 0 && line[0] != '{': // a name in quotes may contain the characters that end another
			p.unwantedName = append(p.unwantedName[:0], name...)
		case family >= 0 && p.families[family].Err == nil:
			p.parseWantedLine(line, name, family)
		}
	}
}

// isUnwantedLine reports whether the line has the same metric name as the last line of an unwanted family. Most lines are such:
// a page of families with the first bytes of wanted ones takes half the time.
func (p *Parser) isUnwantedLine(line []byte) bool {
	n := len(p.unwantedName)
	return n > 0 && len(line) > n && (line[n] == '{' || line[n] == ' ') && string(line[:n]) == string(p.unwantedName)
}

func (p *Parser) parseWantedLine(line, name []byte, family int) {
	if f := &p.families[family]; f.Type == "" {
		f.Type = p.findFamilyType(name, family)
	}
	if !p.parseKnownSeriesLine(line, family) {
		p.deferSampleLine(line, family)
	}
}

// rejectForeignPage rejects HTML and gzip by the first line of a page, for targets that send no content type.
func (p *Parser) rejectForeignPage(line []byte) {
	p.sawLine, p.canSkipLines = true, !p.options.FindFirstName
	p.rejectWholePage(findForeignPageFault(line))
	if p.options.Format == Text {
		p.firstLineFault = findPageLineFault(line)
	}
}

// parseCommentLine reads a line that starts with #. It keeps the TYPE line of a wanted family for Prometheus's parser: the type
// decides how to write the labels le and quantile.
func (p *Parser) parseCommentLine(line []byte) {
	if p.options.Format == OpenMetrics && string(line) == "# EOF" {
		p.sawEOF, p.canSkipLines = true, false
		return
	}
	p.sawWindowsEOF = p.sawWindowsEOF || p.options.Format == OpenMetrics && string(line) == "# EOF\r"
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

// parseExpectedSeriesLine reads a line of the series that the last page had at this place, as parseKnownSeriesLine does. Without the search
// for the family and the series, pages take 20 to 45 % less time.
func (p *Parser) parseExpectedSeriesLine(line []byte) bool {
	if len(p.samples) >= len(p.expected) || !p.canSkipLines {
		return false
	}
	s := p.expected[len(p.samples)]
	f := &p.families[s.family]
	space := bytes.LastIndexByte(line, ' ')
	return space >= 0 && f.Err == nil && f.Type != "" && p.cache.hashPageSeries(line[:space]) == s.pageHash &&
		p.parseSeriesValue(s, line, line[space+1:], s.family)
}

// parseKnownSeriesLine reads a line of a known series, one space and a number, as nearly all lines are. It returns false for any
// other line. Prometheus's parser once read the same bytes as a whole series, so it would read them so again.
func (p *Parser) parseKnownSeriesLine(line []byte, family int) bool {
	space := bytes.LastIndexByte(line, ' ')
	if space < 0 {
		return false
	}
	s := p.cache.findSeriesByBytes(line[:space])
	if s == nil {
		return false
	}
	if n := len(p.samples); n < len(p.expected) && p.expected[n] != s {
		p.expected = nil // the page has another order: comparing its other lines would cost a tenth
	}
	return p.parseSeriesValue(s, line, line[space+1:], family)
}

// parseSeriesValue adds the sample of a line with a known series.
func (p *Parser) parseSeriesValue(s *PageSeries, line, text []byte, family int) bool {
	v, ok := parseSampleValue(text)
	if !ok || len(line) > maxLineBytes {
		return false
	}
	p.addParsedPageSample(Sample{Series: s, Time: p.now, Value: v, family: family})
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

// deferSampleLine keeps a wanted line for Prometheus's parser, after checks that bound the work and the memory of that parser.
func (p *Parser) deferSampleLine(line []byte, family int) {
	switch {
	case len(line) > maxLineBytes:
		p.rejectPageFamily(family, newPageError(KindTooLong, "line %d longer than %d bytes", p.lineCount, maxLineBytes))
		return
	case !utf8.Valid(line):
		p.rejectPageFamily(family, newPageError(KindNotUTF8, "not UTF-8 at line %d", p.lineCount))
		return
	case p.options.MaxLabels > 0 && countSampleLineLabels(line) > p.options.MaxLabels:
		p.rejectPageFamily(family, newPageError(KindTooManyLabels, "series with more than %d labels at line %d", p.options.MaxLabels, p.lineCount))
		return
	case p.options.Format == Text && hasNegativeTimestamp(line):
		p.families[family].noteOwnTimestamp(0)
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

// countSampleLineLabels counts the labels of a series by the equals signs outside quotes, up to the closing brace.
func countSampleLineLabels(line []byte) int {
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

// noteOwnTimestamp notes a timestamp of the page, in milliseconds. One before the first millisecond of the epoch stands for it: 0 means
// that the page gives none.
func (f *FamilyResult) noteOwnTimestamp(at int64) {
	f.NewestOwn = max(f.NewestOwn, at, 1)
}

// addParsedPageSample adds a sample. It rejects the family if the series appears twice with different values at one time. Of several
// times, the newest counts.
func (p *Parser) addParsedPageSample(sample Sample) {
	s, f := sample.Series, &p.families[sample.family]
	if !p.cache.markSeriesOnPage(s) {
		switch first := &p.samples[s.sampleIndex]; {
		case sample.Time > first.Time:
			*first = sample
		case sample.Time == first.Time && !first.repeatsPageSample(sample):
			p.rejectPageFamily(sample.family, newPageError(KindDuplicate, "duplicate series %s with different values", formatPageSeries(s.Labels)))
		}
		return
	}
	s.sampleIndex = len(p.samples)
	p.samples = append(p.samples, sample)
	if s.isQuantile && (f.Type == model.MetricTypeUnknown || f.Type == model.MetricTypeGauge) {
		f.Type = model.MetricTypeSummary // though the page says otherwise: quantiles do not add up
	}
	f.Samples++
	if p.acceptedCount++; p.options.MaxSamples > 0 && p.acceptedCount > p.options.MaxSamples {
		p.rejectPageFamily(p.findOverflowingFamily(), newPageError(KindTooManySamples, "more than %d samples", p.options.MaxSamples))
	}
}

// findFamilyType returns the type that the first sample of a family gives to it, by the TYPE line before. A line for the sample's own
// name NAME_bucket is about the family NAME only if it says gauge: some programs write a line for each part of a histogram.
func (p *Parser) findFamilyType(name []byte, family int) model.MetricType {
	t := p.findGoverningType(name)
	if string(p.typeName) == string(name) && string(name) != p.options.Families.names[family] && t != model.MetricTypeGauge {
		return model.MetricTypeUnknown
	}
	return t
}

// findGoverningType returns the type of the last TYPE line if the line covers the sample with this name, else unknown.
func (p *Parser) findGoverningType(name []byte) model.MetricType {
	rest, ok := bytes.CutPrefix(name, p.typeName)
	if !ok || len(p.typeLine) == 0 {
		return model.MetricTypeUnknown
	}
	covered := len(rest) == 0
	switch p.lineType {
	case model.MetricTypeCounter:
		covered = covered || string(rest) == "_total"
	case model.MetricTypeHistogram, model.MetricTypeSummary:
		covered = covered || findSampleSuffix(name) == string(rest)
	}
	if !covered {
		return model.MetricTypeUnknown
	}
	return p.lineType
}
