package exposition

// The Parser: a page from its first piece to its end.

import (
	"bytes"
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

const (
	// maxLineBytes bounds a wanted line. The parser keeps no more of an endless line.
	maxLineBytes = 16 << 10
	// decodeAtBytes is the size of the pending lines at which Prometheus's parser runs, so that a page of any size needs
	// bounded memory, and one with too many samples is rejected soon after their bound.
	decodeAtBytes = 64 << 10
)

// Parser reads the pages of one target, one after the other: BeginPage, Write for each piece, EndPage. It remembers the series
// of the target. It must not be used concurrently.
type Parser struct {
	cache   pageSeriesCache
	options PageOptions
	now     int64 // PageOptions.Now in milliseconds

	err          error
	byteCount    int64
	lineCount    int  // lines begun so far
	sawLine      bool // a line that is not empty was read
	canSkipLines bool // sawLine and not sawEOF: the first byte of a line may decide
	sawEOF       bool // OpenMetrics: "# EOF" was seen
	// sawWindowsEOF: OpenMetrics: "# EOF" was seen with the line break of Windows.
	sawWindowsEOF bool

	firstLineFault, lastLineFault *Error // why the first or the last line of a page in the text format is none of a page

	firstName       string           // the metric name of the first sample, if PageOptions.FindFirstName asks for it
	unwantedName    []byte           // the metric name of the last line of an unwanted family, without quotes
	partialLine     []byte           // the last line of the last Write, without its end
	inLongLine      bool             // the last line of the last Write is overlong and was read so far
	typeLine        []byte           // the last TYPE line, if it may belong to a wanted family; else empty
	typeName        []byte           // the metric name in it
	lineType        model.MetricType // the type in it
	typeLinePending bool             // the TYPE line is already in pending

	pending      []byte        // lines for Prometheus's parser
	pendingLines []pendingLine // where each begins and ends
	pendingCount int           // the samples among them
	pendingUsed  [2]bool       // whether this page, and the page before it, had pending lines

	samples       []Sample // also of families rejected later
	acceptedCount int      // the samples of families that are not rejected
	rejectedCount int      // rejected families
	families      []FamilyResult
	aliveSeries   []*PageSeries // series of the last accepted page
	aliveFamilies *Families     // wanted on that page
	expected      []*PageSeries // of this page, if it repeats the last; nil: the order is unknown
	endedSeries   []*PageSeries // ended by EndSeries since
	replaced      []*PageSeries // of ParsedPage
	repeatsSeries bool          // see repeatsSeriesOfLastPage
	vanished      []*PageSeries
	history       pageCounterHistory
	created       createdTimes
	skew          clockSkew
}

// NewParser returns a parser for one target, which adds the labels own to every series. A label of the page with the same name
// becomes exported_NAME.
func NewParser(own labels.Labels) *Parser {
	return &Parser{cache: newPageSeriesCache(own)}
}

// OwnLabels returns the labels that the parser adds to every series.
func (p *Parser) OwnLabels() labels.Labels { return p.cache.ownLabels }

// Parse reads a whole page. An error is an *Error and leaves AliveSeries unchanged.
func (p *Parser) Parse(page PageOptions, body []byte) (ParsedPage, error) {
	p.BeginPage(page)
	_, _ = p.Write(body) // EndPage returns the same error
	return p.EndPage()
}

// BeginPage starts a page. It forgets an earlier page that has not ended.
func (p *Parser) BeginPage(page PageOptions) {
	p.options, p.now, p.expected = page, page.Now.UnixMilli(), nil
	if page.Families == p.aliveFamilies {
		p.expected = p.aliveSeries
	}
	if p.options.Families == nil {
		p.options.Families = NewFamilies(nil)
	}
	p.err, p.byteCount, p.lineCount, p.sawLine, p.canSkipLines, p.sawEOF = nil, 0, 0, false, false, false
	p.partialLine, p.inLongLine, p.typeLine, p.typeLinePending = p.partialLine[:0], false, p.typeLine[:0], false
	p.sawWindowsEOF = false
	p.firstName, p.unwantedName, p.firstLineFault, p.lastLineFault = "", p.unwantedName[:0], nil, nil
	p.created.beginCreatedPage()
	p.clearPendingPageLines()
	p.pendingUsed = [2]bool{false, p.pendingUsed[0]}
	p.samples, p.acceptedCount, p.rejectedCount = p.samples[:0], 0, 0
	p.families = slices.Grow(p.families[:0], len(p.options.Families.Names()))[:len(p.options.Families.Names())]
	clear(p.families)
	p.cache.startPageOfSeries(page)
}

// Write reads the next piece of the page, and keeps no part of the slice. An error is an *Error: the page is rejected, and the
// caller may omit the rest of it.
func (p *Parser) Write(piece []byte) (int, error) {
	n := len(piece)
	p.byteCount += int64(n)
	p.rejectWholePage(p.options.newPageSizeError(p.byteCount))
	if len(p.partialLine) > 0 || p.inLongLine {
		piece = p.finishPartialPageLine(piece)
	}
	var last []byte
	for p.err == nil && len(piece) > 0 {
		end := bytes.IndexByte(piece, '\n')
		if end < 0 {
			p.keepPartialPageLine(piece)
			break
		}
		if end > 0 && p.canSkipLines && p.options.Families.skippable[piece[0]] {
			p.lineCount++ // most lines end here: a page takes a third less time than with parsePageLine
		} else {
			p.parsePageLine(piece[:end])
		}
		if end > 0 {
			last = piece[:end]
		}
		piece = piece[end+1:]
	}
	p.judgeLastPageLine(last)
	if p.err != nil {
		return 0, p.err
	}
	return n, nil
}

// keepPartialPageLine appends a piece to the partial line. It reads an overlong line at once, as far as it is known, so that a page
// of one endless line is rejected as soon as the line passes its bound.
func (p *Parser) keepPartialPageLine(piece []byte) {
	p.partialLine = append(p.partialLine, piece[:min(len(piece), maxLineBytes+1-len(p.partialLine))]...)
	if len(p.partialLine) > maxLineBytes {
		p.parsePageLine(p.partialLine)
		p.partialLine, p.inLongLine = p.partialLine[:0], true
	}
}

// finishPartialPageLine completes the last line of the previous piece and returns the rest of this piece.
func (p *Parser) finishPartialPageLine(piece []byte) []byte {
	end := bytes.IndexByte(piece, '\n')
	rest := piece[len(piece):]
	if end >= 0 {
		piece, rest = piece[:end], piece[end+1:]
	}
	if !p.inLongLine {
		p.keepPartialPageLine(piece)
	}
	if end >= 0 && p.err == nil {
		if !p.inLongLine {
			p.parsePageLine(p.partialLine)
			p.judgeLastPageLine(p.partialLine)
		}
		p.partialLine, p.inLongLine = p.partialLine[:0], false
	}
	return rest
}

// EndPage ends the page. An error is an *Error: the whole page is rejected, and AliveSeries is unchanged.
func (p *Parser) EndPage() (ParsedPage, error) {
	if p.err == nil {
		p.checkPageEnd()
	}
	if p.err == nil {
		p.decodePendingPageLines()
		p.rejectUnprovenFamilies()
		if p.repeatsSeries = p.repeatsSeriesOfLastPage(); !p.repeatsSeries {
			p.rejectEqualBounds()
		}
	}
	p.trimPageLineBuffers()
	if p.err != nil {
		p.cache.forgetSeriesOffPages()
		p.releaseRejectedSeries()
		return ParsedPage{}, p.err
	}
	page := p.acceptParsedPage()
	p.releaseRejectedSeries()
	return page, nil
}

// releaseRejectedSeries forgets the series that no page was accepted with, if the page found no room: its share until then would
// keep other pages from their room.
func (p *Parser) releaseRejectedSeries() {
	if !slices.ContainsFunc(p.families, func(f FamilyResult) bool { return f.Err != nil && f.Err.Kind == KindNoRoom }) {
		return
	}
	p.cache.forgetCachedSeries(func(s *PageSeries) bool { return !s.seenAlive })
	if p.err != nil {
		p.samples = nil
	}
	clear(p.samples[len(p.samples):cap(p.samples)])
}

// AbandonPage forgets a page that did not arrive completely. AliveSeries is unchanged.
func (p *Parser) AbandonPage() {
	p.BeginPage(p.options)
	p.trimPageLineBuffers()
}

// AliveSeries returns the series of the last accepted page. The slice is valid until the next page is accepted.
func (p *Parser) AliveSeries() []*PageSeries { return p.aliveSeries }

// Release gives all memory of the series back to the budget of PageOptions.Reserve. The parser must not be used after it.
func (p *Parser) Release() {
	if p.cache.reservedBytes > 0 && p.cache.reserve != nil {
		_ = p.cache.reserve(-p.cache.reservedBytes) // giving back does not fail
		p.cache.reservedBytes = 0
	}
}

// EndSeries ends the series of the last page as of at, in milliseconds: nothing exposes them any more. It returns them; the
// slice is valid until the next page. Of series that ended before, it knows that they were still away. A counter that comes
// back smaller began at 0 since then.
func (p *Parser) EndSeries(at int64) []*PageSeries {
	for _, s := range p.cache.byHash {
		for ; s != nil; s = s.nextSameHash {
			if s.alive {
				s.markedAt = at
			}
			if s.seenAlive {
				s.alive, s.endedAt = false, at
			}
		}
	}
	ended := p.aliveSeries
	p.aliveSeries, p.expected = nil, nil
	if len(ended) > 0 {
		p.endedSeries = ended
	}
	return ended
}

// EndCountersAgain ends the counters that EndSeries ended once more, as of at: they went on until then, on no page. It returns their last
// values, each right behind the staleness marker that was too early.
func (p *Parser) EndCountersAgain(at int64) (before []Sample) {
	for _, s := range p.endedSeries {
		if s.isCounter {
			before = append(before, Sample{Series: s, Time: s.markedAt + 1, Value: s.lastValue})
			s.markedAt, s.endedAt = at, at
		}
	}
	return before
}

// checkPageEnd rejects an incomplete page. Where the transport does not know the end of the body, a page in the text format
// ends with a line break, which reveals a number without its last digits. An OpenMetrics page ends with the line # EOF.
func (p *Parser) checkPageEnd() {
	partial := len(p.partialLine) > 0 || p.inLongLine
	if len(p.partialLine) > 0 && !p.sawLine && (p.options.Format == OpenMetrics || !p.options.Complete) {
		p.rejectForeignPage(p.partialLine)
	}
	switch {
	case p.err != nil:
	case p.options.Format == OpenMetrics:
		if string(p.partialLine) == "# EOF" && !p.sawEOF {
			return
		}
		p.checkEOFLine(partial)
	case partial && !p.options.Complete:
		p.rejectWholePage(newPageError(KindTruncated, "truncated page"))
	case len(p.partialLine) > 0:
		p.parsePageLine(p.partialLine)
		p.judgeLastPageLine(p.partialLine)
	}
}

// checkEOFLine rejects a page that does not end with the line # EOF. partial reports that its last line has no line break.
func (p *Parser) checkEOFLine(partial bool) {
	switch {
	case p.sawWindowsEOF && !partial:
		p.rejectWholePage(newCRLFLineError())
	case !p.sawEOF:
		p.rejectWholePage(newPageError(KindTruncated, "truncated page, without # EOF at its end"))
	case partial:
		p.rejectLineAfterEOF()
	}
}

// acceptParsedPage makes the series of the page the alive series, and finds the beginnings of its counters.
func (p *Parser) acceptParsedPage() ParsedPage {
	if p.rejectedCount > 0 {
		p.dropRejectedSamples()
	}
	p.correctSampleTimestamps()
	p.findReplacedSeries()
	var earlier []Sample
	if p.options.FindBeginnings {
		earlier = p.history.recordCounterPage(p)
		p.acceptCreatedLines()
	}
	p.vanished, p.endedSeries, p.aliveFamilies = p.vanished[:0], nil, p.options.Families
	alive := 0
	for _, s := range p.aliveSeries {
		switch {
		case p.isRejectedSeries(s):
			p.aliveSeries[alive] = s // the page says nothing about it
			alive++
			p.aliveFamilies = nil // its family and its place are of an earlier page
		case !p.cache.isSeriesOnPage(s):
			s.alive, s.endedAt = false, p.now
			p.vanished = append(p.vanished, s)
		}
	}
	clear(p.aliveSeries[alive:])
	p.aliveSeries = p.aliveSeries[:alive]
	kept := 0
	for _, sample := range p.samples {
		s := sample.Series
		s.noteCounterRate(sample.Value, p.now)
		s.alive, s.seenAlive, s.lastValue, s.seenAt, s.family = true, true, sample.Value, p.now, sample.family
		p.aliveSeries = append(p.aliveSeries, s)
		if !sample.held {
			p.samples[kept] = sample
			kept++
		}
	}
	p.samples = p.samples[:kept]
	p.cache.forgetSeriesOffPages()
	return ParsedPage{Time: p.now, Replaced: p.replaced, Earlier: earlier, Samples: p.samples, Vanished: p.vanished, Families: p.families, FirstName: p.firstName}
}

// isRejectedSeries reports whether the series belongs to a family that this page asked for and rejected.
func (p *Parser) isRejectedSeries(s *PageSeries) bool {
	if p.rejectedCount == 0 {
		return false
	}
	i := p.options.Families.findWantedFamily([]byte(s.Labels.Get(model.MetricNameLabel)))
	return i >= 0 && p.families[i].Err != nil
}

// clockSkew is how far the clock behind a page's own timestamps is ahead: its maximum over the last pages, in milliseconds.
type clockSkew struct {
	newest, before int64 // of the block of pages under way, and of the block before
	pages          int   // in the block under way
}

// skewBlockPages is the number of pages after which a skew that no longer occurs begins to be forgotten.
const skewBlockPages = 64

// addPageClockSkew adds a page: its newest timestamp is ahead milliseconds ahead. It returns the skew.
func (c *clockSkew) addPageClockSkew(ahead int64) int64 {
	if c.pages++; c.pages > skewBlockPages {
		*c = clockSkew{before: c.newest, pages: 1}
	}
	c.newest = max(c.newest, ahead)
	return max(c.newest, c.before)
}

// correctSampleTimestamps moves the page's own timestamps back by the skew of its clock, so that none lies in the future. The distances
// between them, and so the rates, stay.
func (p *Parser) correctSampleTimestamps() {
	newest := int64(0)
	for _, f := range p.families {
		newest = max(newest, f.NewestOwn)
	}
	if newest == 0 {
		return
	}
	skew := p.skew.addPageClockSkew(newest - p.now)
	for i := range p.samples {
		if p.samples[i].ownTime {
			p.samples[i].Time -= skew
		}
	}
	for i := range p.families {
		if f := &p.families[i]; f.NewestOwn > 0 {
			f.NewestOwn = max(1, f.NewestOwn-skew)
		}
	}
}

// repeatsPageSample reports whether two samples of a series are one: the page repeats a line.
func (s Sample) repeatsPageSample(o Sample) bool {
	return s.Time == o.Time && (s.Value == o.Value || math.IsNaN(s.Value) && math.IsNaN(o.Value))
}

// trimPageLineBuffers frees large buffers, which only a first or a bad page needs: 2.5 of 22 KB for a target with 24 series.
func (p *Parser) trimPageLineBuffers() {
	const keep = 4 << 10
	if cap(p.pending) > keep || p.pendingUsed != [2]bool{true, true} {
		p.pending, p.pendingLines = nil, nil
	}
	if cap(p.partialLine) > keep {
		p.partialLine = nil
	}
}

// rejectWholePage sets the error of the page. The first error counts; nil changes nothing.
func (p *Parser) rejectWholePage(err *Error) {
	if p.err == nil && err != nil {
		p.err = err
	}
}

func (p *Parser) rejectLineAfterEOF() {
	p.rejectWholePage(newPageError(KindSyntax, "more after # EOF, at line %d", p.lineCount+1))
}

func newCRLFLineError() *Error {
	return newPageError(KindSyntax, "lines end with \\r\\n; lines of a page end with \\n")
}
