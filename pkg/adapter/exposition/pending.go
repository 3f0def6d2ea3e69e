package exposition

// The lines that Prometheus's parser decodes: all of a batch, or one by one after a fault.

import (
	"bytes"
	"errors"
	"time"

	"github.com/prometheus/common/model"
)

// pendingLine is a line kept for Prometheus's parser.
type pendingLine struct {
	number     int // on the page
	start, end int // in Parser.pending, with the line break
	family     int // -1: a TYPE line
}

func (p *Parser) appendPendingPageLine(line []byte, family int) {
	start := len(p.pending)
	p.pending = append(append(p.pending, line...), '\n')
	p.pendingLines = append(p.pendingLines, pendingLine{p.lineCount, start, len(p.pending), family})
	if family >= 0 {
		p.pendingCount++
	}
}

// decodePendingPageLines reads the pending lines with Prometheus's parser.
func (p *Parser) decodePendingPageLines() {
	if p.pendingCount == 0 || p.err != nil {
		return
	}
	taken := 0
	err := decodeSampleLines(p.pending, p.options.Format, func(d decodedSample) error {
		taken++
		return p.addPageSample(d)
	})
	if err != nil || taken != p.pendingCount {
		p.decodePageLinesSingly()
	}
	p.clearPendingPageLines()
}

func (p *Parser) clearPendingPageLines() {
	p.pending, p.pendingLines, p.pendingCount = p.pending[:0], p.pendingLines[:0], 0
}

// decodePageLinesSingly reads the pending lines one by one, each with the TYPE line before it, and rejects the families of faulty
// lines. A batch with a fault does not tell which line has it. Samples that the batch gave already are repetitions here.
func (p *Parser) decodePageLinesSingly() {
	var typeLine, buffer []byte
	for _, line := range p.pendingLines {
		text := p.pending[line.start:line.end]
		switch {
		case p.err != nil:
			return
		case line.family < 0:
			typeLine = text
		case p.families[line.family].Err == nil:
			buffer = buffer[:0]
			if typeLineCoversFamily(typeLine, p.options.Families.names[line.family]) {
				buffer = append(buffer, typeLine...)
			}
			buffer = append(buffer, text...)
			taken := 0
			err := decodeSampleLines(buffer, p.options.Format, func(d decodedSample) error {
				taken++
				return p.addPageSample(d)
			})
			if err == nil && taken != 1 {
				err = errors.New("not one sample")
			}
			if err != nil {
				p.rejectFaultyLine(line, err)
			}
		}
	}
}

// typeLineCoversFamily reports whether a TYPE line, which may be empty, may give the family its type.
func typeLineCoversFamily(typeLine []byte, family string) bool {
	_, rest, _ := bytes.Cut(typeLine, []byte("TYPE"))
	name, _ := parseTypeLine(bytes.TrimSpace(rest))
	suffix, ok := bytes.CutPrefix([]byte(family), name)
	return ok && len(name) > 0 && (len(suffix) == 0 || string(suffix) == "_total" || findSampleSuffix([]byte(family)) == string(suffix))
}

// rejectFaultyLine rejects the family of a faulty line.
func (p *Parser) rejectFaultyLine(line pendingLine, err error) {
	var rejected *Error
	switch {
	case errors.As(err, &rejected):
	case bytes.HasSuffix(p.pending[line.start:line.end], []byte("\r\n")):
		rejected = newCRLFLineError()
	default:
		rejected = newPageError(KindSyntax, "line %d: %s", line.number, shortenPageDetail(err.Error()))
	}
	p.rejectPageFamily(line.family, rejected)
}

// addPageSample adds a sample that Prometheus's parser decoded, unless it belongs to no wanted family.
func (p *Parser) addPageSample(d decodedSample) error {
	s := p.cache.findSeriesByBytes(d.series)
	if s == nil {
		var err error
		if s, err = p.cache.addPageSeries(d); err != nil {
			return err
		}
	}
	family := p.options.Families.findWantedFamily([]byte(s.Labels.Get(model.MetricNameLabel)))
	if family < 0 || p.families[family].Err != nil {
		return nil
	}
	sample := Sample{Series: s, Time: p.now, Value: d.value, family: family}
	if d.hasTime {
		if ahead := d.time - p.now; ahead > maxFutureSkew.Milliseconds() {
			return newPageError(KindFuture, "timestamp of %s more than %v in the future%s",
				formatPageSeries(s.Labels), maxFutureSkew, p.explainFutureTimestamp(ahead))
		}
		sample.Time, sample.ownTime = d.time, true
		p.families[family].noteOwnTimestamp(d.time)
	}
	p.addParsedPageSample(sample)
	return nil
}

// explainFutureTimestamp explains a timestamp that is so many milliseconds ahead: some exporters write the milliseconds of the text
// format into OpenMetrics.
func (p *Parser) explainFutureTimestamp(ahead int64) string {
	written := (ahead + p.now) / 1000
	if off := max(written-p.now, p.now-written); p.options.Format == OpenMetrics && off < (24*time.Hour).Milliseconds() {
		return ": it is in milliseconds, and OpenMetrics has seconds"
	}
	return ""
}
