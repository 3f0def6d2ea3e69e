package exposition

// One line of a page: skipped, read on the fast path, or kept for Prometheus's parser.

import (
	"bytes"
	"errors"
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
		p.rejectNonMetrics(line)
	}
	switch line[0] {
	case '#':
		p.parseComment(line)
	case '{':
		if p.options.Families.mayNameFamily(line) && !p.parseKnownLine(line, -1) {
			p.deferLine(line)
		}
	default:
		if family := p.options.Families.matchLine(line); family >= 0 && !p.parseKnownLine(line, family) {
			p.deferLine(line)
		}
	}
}

// rejectNonMetrics rejects HTML and gzip by the first line of a page, for targets that send no content type.
func (p *Parser) rejectNonMetrics(line []byte) {
	p.sawLine, p.canSkipLines = true, true
	if line[0] == '<' {
		p.rejectPage(newPageError(KindNotMetrics, "HTML, not metrics"))
	}
	if line[0] == 0x1f && len(line) > 1 && line[1] == 0x8b {
		p.rejectPage(newPageError(KindEncoding, "gzip, though not asked for"))
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
	if p.options.Families.matchesTypeName(parseTypeName(rest[4:])) {
		p.typeLine = append(p.typeLine, line...)
	}
}

// parseTypeName returns the metric name at the start of b, the rest of a line behind TYPE.
func parseTypeName(b []byte) []byte {
	b = bytes.TrimLeft(b, " \t")
	if len(b) > 0 && b[0] == '"' {
		name, _, _ := bytes.Cut(b[1:], []byte{'"'})
		return name
	}
	if i := bytes.IndexAny(b, " \t"); i >= 0 {
		return b[:i]
	}
	return b
}

// parseKnownLine reads a line of a known series, one space and a number, as nearly all lines are. It returns false for any
// other line. Prometheus's parser once read the same bytes as a whole series, so it would read them so again. For a negative
// family, the name of the series decides.
func (p *Parser) parseKnownLine(line []byte, family int) bool {
	space := bytes.LastIndexByte(line, ' ')
	if space < 0 {
		return false
	}
	s := p.cache.findSeries(line[:space])
	if s == nil {
		return false
	}
	v, ok := parseSampleValue(line[space+1:])
	if !ok {
		return false
	}
	if family < 0 {
		if family = p.options.Families.familyIndex(s.Labels.Get(model.MetricNameLabel)); family < 0 {
			return true
		}
	}
	p.addSample(s, family, Sample{Series: s, Time: p.now, Value: v})
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
func (p *Parser) deferLine(line []byte) {
	switch {
	case len(line) > maxLineBytes:
		p.rejectPage(newPageError(KindTooLong, "line %d longer than %d bytes", p.lineCount, maxLineBytes))
		return
	case !utf8.Valid(line):
		p.rejectPage(newPageError(KindNotUTF8, "not UTF-8 at line %d", p.lineCount))
		return
	case p.options.MaxLabels > 0 && countLabels(line) > p.options.MaxLabels:
		p.rejectPage(newPageError(KindTooManyLabels, "series with more than %d labels at line %d", p.options.MaxLabels, p.lineCount))
		return
	}
	p.pendingUsed[0] = true
	if len(p.typeLine) > 0 && !p.typeLinePending {
		p.typeLinePending = true
		p.appendPending(p.typeLine)
	}
	p.appendPending(line)
	p.pendingCount++
	if len(p.pending) >= decodeAtBytes {
		p.decodePending()
		p.typeLinePending = false
	}
}

func (p *Parser) appendPending(line []byte) {
	p.pending = append(append(p.pending, line...), '\n')
	p.pendingLines = append(p.pendingLines, p.lineCount)
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

// decodePending reads the pending lines with Prometheus's parser.
func (p *Parser) decodePending() {
	if p.pendingCount == 0 || p.err != nil {
		return
	}
	taken := 0
	read, err := decodeLines(p.pending, p.options.Format, func(d decodedSample) error {
		taken++
		return p.addDecodedSample(d)
	})
	if err == nil && taken != p.pendingCount {
		err = errors.New("a sample runs over the end of its line")
	}
	var rejected *Error
	switch {
	case errors.As(err, &rejected):
		p.rejectPage(rejected)
	case err != nil:
		line := p.pendingLines[min(read, len(p.pendingLines)-1)]
		p.rejectPage(newPageError(KindSyntax, "line %d: %s", line, shortenDetail(err.Error())))
	}
	p.pending, p.pendingLines, p.pendingCount = p.pending[:0], p.pendingLines[:0], 0
}

// addDecodedSample adds a sample that Prometheus's parser decoded, unless it belongs to no wanted family.
func (p *Parser) addDecodedSample(d decodedSample) error {
	s := p.cache.findSeries(d.series)
	if s == nil {
		var err error
		if s, err = p.cache.addDecodedSeries(d); err != nil {
			return err
		}
	}
	family := p.options.Families.familyIndex(s.Labels.Get(model.MetricNameLabel))
	if family < 0 {
		return nil
	}
	sample := Sample{Series: s, Time: p.now, Value: d.value}
	if d.hasTime {
		sample.Time = d.time
		if ahead := d.time - p.now; ahead > maxFutureSkew.Milliseconds() {
			return newPageError(KindFuture, "timestamp of %s more than %v in the future", formatSeries(s.Labels), maxFutureSkew)
		}
	}
	p.addSample(s, family, sample)
	return nil
}

// addSample appends a sample. It rejects the page if the series appears twice or the page has too many samples.
func (p *Parser) addSample(s *Series, family int, sample Sample) {
	switch {
	case !p.cache.markOnPage(s):
		p.rejectPage(newPageError(KindDuplicate, "duplicate series %s", formatSeries(s.Labels)))
	case p.options.MaxSamples > 0 && len(p.samples) >= p.options.MaxSamples:
		p.rejectPage(newPageError(KindTooManySamples, "more than %d samples", p.options.MaxSamples))
	default:
		p.samples = append(p.samples, sample)
		p.counts[family]++
	}
}
