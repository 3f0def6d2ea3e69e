package exposition

// The Parser: a page from its first piece to its end.

import (
	"bytes"

	"github.com/prometheus/prometheus/model/labels"
)

const (
	// maxLineBytes bounds a wanted line. The parser keeps no more of an endless line.
	maxLineBytes = 16 << 10
	// decodeAtBytes is the size of the pending lines at which Prometheus's parser runs, so that a page of any size needs
	// bounded memory.
	decodeAtBytes = 256 << 10
)

// Parser reads the pages of one target, one after the other: BeginPage, Write for each piece, EndPage. It remembers the series
// of the target. It must not be used concurrently.
type Parser struct {
	cache   seriesCache
	options PageOptions
	now     int64 // PageOptions.Now in milliseconds

	err          error
	byteCount    int64
	lineCount    int  // lines begun so far
	sawLine      bool // a line that is not empty was read
	canSkipLines bool // sawLine and not sawEOF: the first byte of a line may decide
	sawEOF       bool // OpenMetrics: "# EOF" was seen

	partialLine     []byte // the last line of the last Write, without its end
	typeLine        []byte // the last TYPE line, if it may belong to a wanted family
	typeLinePending bool   // the TYPE line is already in pending

	pending      []byte  // lines for Prometheus's parser
	pendingLines []int   // their numbers on the page
	pendingCount int     // the samples among them
	pendingUsed  [2]bool // whether this page, and the page before it, had pending lines

	samples     []Sample
	counts      []int
	aliveSeries []*Series // series of the last accepted page
	vanished    []*Series
}

// NewParser returns a parser for one target, which adds the labels own to every series. A label of the page with the same name
// becomes exported_NAME.
func NewParser(own labels.Labels) *Parser {
	return &Parser{cache: newSeriesCache(own)}
}

// Parse reads a whole page. An error is an *Error and leaves AliveSeries unchanged.
func (p *Parser) Parse(page PageOptions, body []byte) (ParsedPage, error) {
	p.BeginPage(page)
	_, _ = p.Write(body) // EndPage returns the same error
	return p.EndPage()
}

// BeginPage starts a page. It forgets an earlier page that has not ended.
func (p *Parser) BeginPage(page PageOptions) {
	p.options, p.now = page, page.Now.UnixMilli()
	if p.options.Families == nil {
		p.options.Families = NewFamilies(nil)
	}
	p.err, p.byteCount, p.lineCount, p.sawLine, p.canSkipLines, p.sawEOF = nil, 0, 0, false, false, false
	p.partialLine, p.typeLine, p.typeLinePending = p.partialLine[:0], p.typeLine[:0], false
	p.pending, p.pendingLines, p.pendingCount = p.pending[:0], p.pendingLines[:0], 0
	p.pendingUsed = [2]bool{false, p.pendingUsed[0]}
	p.samples, p.counts = p.samples[:0], p.counts[:0]
	for range p.options.Families.Names() {
		p.counts = append(p.counts, 0)
	}
	p.cache.startPage(page.MaxSamples)
}

// Write reads the next piece of the page, and keeps no part of the slice. An error is an *Error: the page is rejected, and the
// caller may omit the rest of it.
func (p *Parser) Write(piece []byte) (int, error) {
	n := len(piece)
	p.byteCount += int64(n)
	p.rejectPage(p.options.pageSizeError(p.byteCount))
	if len(p.partialLine) > 0 {
		piece = p.finishPartialLine(piece)
	}
	for p.err == nil && len(piece) > 0 {
		end := bytes.IndexByte(piece, '\n')
		if end < 0 {
			p.partialLine = append(p.partialLine, piece[:min(len(piece), maxLineBytes+1)]...)
			break
		}
		if end > 0 && p.canSkipLines && p.options.Families.skippable[piece[0]] {
			p.lineCount++ // most lines end here: a page takes a third less time than with parseLine
		} else {
			p.parseLine(piece[:end])
		}
		piece = piece[end+1:]
	}
	if p.err != nil {
		return 0, p.err
	}
	return n, nil
}

// finishPartialLine completes the last line of the previous piece and returns the rest of this piece. Of an overlong line it
// keeps just enough to see that the line is overlong.
func (p *Parser) finishPartialLine(piece []byte) []byte {
	end := bytes.IndexByte(piece, '\n')
	rest := piece[len(piece):]
	if end >= 0 {
		piece, rest = piece[:end], piece[end+1:]
	}
	if room := maxLineBytes + 1 - len(p.partialLine); room > 0 {
		p.partialLine = append(p.partialLine, piece[:min(len(piece), room)]...)
	}
	if end >= 0 && p.err == nil {
		p.parseLine(p.partialLine)
		p.partialLine = p.partialLine[:0]
	}
	return rest
}

// EndPage ends the page. An error is an *Error: the whole page is rejected, and AliveSeries is unchanged.
func (p *Parser) EndPage() (ParsedPage, error) {
	if p.err == nil {
		p.checkPageEnd()
	}
	if p.err == nil {
		p.decodePending()
	}
	p.trimBuffers()
	if p.err != nil {
		return ParsedPage{}, p.err
	}
	p.acceptPage()
	return ParsedPage{Samples: p.samples, Vanished: p.vanished, Counts: p.counts}, nil
}

// AbandonPage forgets a page that did not arrive completely. AliveSeries is unchanged.
func (p *Parser) AbandonPage() {
	p.BeginPage(p.options)
	p.trimBuffers()
}

// AliveSeries returns the series of the last accepted page. The slice is valid until the next page is accepted.
func (p *Parser) AliveSeries() []*Series { return p.aliveSeries }

// checkPageEnd rejects an incomplete page. A page in the text format ends with a line break, which reveals a number without its
// last digits; an OpenMetrics page ends with the line # EOF.
func (p *Parser) checkPageEnd() {
	if len(p.partialLine) > 0 && !p.sawLine {
		p.rejectNonMetrics(p.partialLine)
	}
	switch {
	case p.err != nil:
	case p.options.Format == OpenMetrics:
		if string(p.partialLine) == "# EOF" && !p.sawEOF {
			return
		}
		if !p.sawEOF {
			p.rejectPage(newPageError(KindTruncated, "truncated page, without # EOF at its end"))
		} else if len(p.partialLine) > 0 {
			p.rejectAfterEOF()
		}
	case len(p.partialLine) > 0:
		p.rejectPage(newPageError(KindTruncated, "truncated page"))
	}
}

// acceptPage makes the series of the page the alive series.
func (p *Parser) acceptPage() {
	p.vanished = p.vanished[:0]
	for _, s := range p.aliveSeries {
		if !p.cache.isOnPage(s) {
			s.alive = false
			p.vanished = append(p.vanished, s)
		}
	}
	clear(p.aliveSeries)
	p.aliveSeries = p.aliveSeries[:0]
	for i := range p.samples {
		s := p.samples[i].Series
		s.alive = true
		p.aliveSeries = append(p.aliveSeries, s)
	}
	p.cache.forgetOldSeries()
}

// trimBuffers frees large buffers, which only a first or a bad page needs: 2.5 of 22 KB for a target with 24 series.
func (p *Parser) trimBuffers() {
	const keep = 4 << 10
	if cap(p.pending) > keep || p.pendingUsed != [2]bool{true, true} {
		p.pending, p.pendingLines = nil, nil
	}
	if cap(p.partialLine) > keep {
		p.partialLine = nil
	}
}

// rejectPage sets the error of the page. The first error counts; nil changes nothing.
func (p *Parser) rejectPage(err *Error) {
	if p.err == nil && err != nil {
		p.err = err
	}
}

func (p *Parser) rejectAfterEOF() {
	p.rejectPage(newPageError(KindSyntax, "more after # EOF, at line %d", p.lineCount+1))
}
