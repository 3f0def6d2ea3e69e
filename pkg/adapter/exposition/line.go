package exposition

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// line reads one line, without its line break.
func (p *Parser) line(line []byte) {
	if p.eof {
		p.failAfterEOF()
		return
	}
	p.lines++
	if p.page.Format == Text {
		line = bytes.TrimLeft(line, " \t")
	}
	if len(line) == 0 {
		return
	}
	if !p.sniffed {
		p.sniff(line)
	}
	switch line[0] {
	case '#':
		p.comment(line)
	case '{':
		if p.page.Families.mayName(line) && !p.known(line, -1) {
			p.putAside(line)
		}
	default:
		if family := p.page.Families.match(line); family >= 0 && !p.known(line, family) {
			p.putAside(line)
		}
	}
}

// sniff looks at the first line of a page: whoever forgot the content type is told what was found.
func (p *Parser) sniff(line []byte) {
	p.sniffed, p.plain = true, true
	if line[0] == '<' {
		p.fail(refuse(KindNotMetrics, "HTML, not metrics"))
	}
	if line[0] == 0x1f && len(line) > 1 && line[1] == 0x8b {
		p.fail(refuse(KindEncoding, "gzip, though not asked for"))
	}
}

// comment reads a line that starts with #. A TYPE line goes with the samples of its family: it decides how
// the labels le and quantile are written.
func (p *Parser) comment(line []byte) {
	if p.page.Format == OpenMetrics && string(line) == "# EOF" {
		p.eof, p.plain = true, false
		return
	}
	rest := bytes.TrimLeft(line[1:], " \t")
	if len(rest) < 5 || string(rest[:4]) != "TYPE" || rest[4] != ' ' && rest[4] != '\t' || len(line) > maxLine {
		return
	}
	p.typeLine, p.typeSent = p.typeLine[:0], false
	if p.page.Families.typed(typeName(rest[4:])) {
		p.typeLine = append(p.typeLine, line...)
	}
}

// typeName returns the metric name at the start of b, which is what follows TYPE.
func typeName(b []byte) []byte {
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

// known takes a line that is a known series, one space and a number, as nearly all lines are. It reports
// false for any other line. The series' bytes were once read by Prometheus's parser as a whole series, so
// it would read them so again. A negative family stands for: as the series' name says.
func (p *Parser) known(line []byte, family int) bool {
	space := bytes.LastIndexByte(line, ' ')
	if space < 0 {
		return false
	}
	s := p.cache.find(line[:space])
	if s == nil {
		return false
	}
	v, ok := number(line[space+1:])
	if !ok {
		return false
	}
	if family < 0 {
		if family = p.page.Families.indexOf(s.Labels.Get(model.MetricNameLabel)); family < 0 {
			return true
		}
	}
	p.add(s, family, Sample{Series: s, Time: p.now, Value: v})
	return true
}

// number reads a sample's value exactly as Prometheus's parser does.
func number(b []byte) (float64, bool) {
	for _, c := range b {
		if c == 'p' || c == 'P' || c == '_' { // Go's own notations, which a page may not use
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil
}

// putAside keeps a wanted line for Prometheus's parser, after the checks that keep that one's work and
// memory bounded.
func (p *Parser) putAside(line []byte) {
	switch {
	case len(line) > maxLine:
		p.fail(refuse(KindTooLong, "line %d longer than %d bytes", p.lines, maxLine))
		return
	case !utf8.Valid(line):
		p.fail(refuse(KindNotUTF8, "not UTF-8 at line %d", p.lines))
		return
	case p.page.MaxLabels > 0 && countLabels(line) > p.page.MaxLabels:
		p.fail(refuse(KindTooManyLabels, "series with more than %d labels at line %d", p.page.MaxLabels, p.lines))
		return
	}
	p.pendingUsed[0] = true
	if len(p.typeLine) > 0 && !p.typeSent {
		p.typeSent = true
		p.appendPending(p.typeLine)
	}
	p.appendPending(line)
	p.pendingCount++
	if len(p.pending) >= decodeAt {
		p.decodePending()
		p.typeSent = false
	}
}

func (p *Parser) appendPending(line []byte) {
	p.pending = append(append(p.pending, line...), '\n')
	p.pendingLines = append(p.pendingLines, p.lines)
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

// decodePending has Prometheus's parser read the lines put aside.
func (p *Parser) decodePending() {
	if p.pendingCount == 0 || p.err != nil {
		return
	}
	taken := 0
	read, err := decode(p.pending, p.page.Format, func(d decoded) error {
		taken++
		return p.takeDecoded(d)
	})
	if err == nil && taken != p.pendingCount {
		err = errors.New("a sample runs over the end of its line")
	}
	var refused *Error
	switch {
	case errors.As(err, &refused):
		p.fail(refused)
	case err != nil:
		line := p.pendingLines[min(read, len(p.pendingLines)-1)]
		p.fail(refuse(KindSyntax, "line %d: %s", line, shorten(err.Error())))
	}
	p.pending, p.pendingLines, p.pendingCount = p.pending[:0], p.pendingLines[:0], 0
}

func (p *Parser) takeDecoded(d decoded) error {
	s := p.cache.find(d.series)
	if s == nil {
		var err error
		if s, err = p.cache.learn(d); err != nil {
			return err
		}
	}
	family := p.page.Families.indexOf(s.Labels.Get(model.MetricNameLabel))
	if family < 0 {
		return nil
	}
	sample := Sample{Series: s, Time: p.now, Value: d.value}
	if d.hasTime {
		sample.Time = d.time
		if ahead := d.time - p.now; ahead > futureSlack.Milliseconds() {
			return refuse(KindFuture, "timestamp of %s more than %v in the future", show(s.Labels), futureSlack)
		}
	}
	p.add(s, family, sample)
	return nil
}

// add appends a sample, unless its series was on the page already or the page has too many.
func (p *Parser) add(s *Series, family int, sample Sample) {
	switch {
	case !p.cache.mark(s):
		p.fail(refuse(KindDuplicate, "duplicate series %s", show(s.Labels)))
	case p.page.MaxSamples > 0 && len(p.samples) >= p.page.MaxSamples:
		p.fail(refuse(KindTooManySamples, "more than %d samples", p.page.MaxSamples))
	default:
		p.samples = append(p.samples, sample)
		p.counts[family]++
	}
}
