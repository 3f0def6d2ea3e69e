package exposition

import (
	"bytes"

	"github.com/prometheus/prometheus/model/labels"
)

const (
	// maxLine bounds a wanted line. An endless line is not kept beyond this.
	maxLine = 16 << 10
	// decodeAt is how many bytes of lines are gathered for Prometheus's parser before it runs, so that a
	// page of any size is read in bounded memory.
	decodeAt = 256 << 10
)

// Parser reads the pages of one target, one after the other: Begin, Write as often as needed, End. It keeps
// what it learnt about the target's series. It is not safe for concurrent use.
type Parser struct {
	cache cache
	page  Page
	now   int64 // Page.Now in milliseconds

	err     error
	bytes   int64
	lines   int  // lines begun so far
	sniffed bool // a line with something in it was seen
	plain   bool // sniffed and not eof: a line may be judged by its first byte
	eof     bool // OpenMetrics: "# EOF" was seen

	carry    []byte // the line that the last Write broke off
	typeLine []byte // the TYPE line in force, if it may be about a wanted family
	typeSent bool   // the TYPE line is already in pending

	pending      []byte  // lines for Prometheus's parser
	pendingLines []int   // their numbers on the page
	pendingCount int     // how many of them are samples
	pendingUsed  [2]bool // whether this page, and the one before it, had any

	samples  []Sample
	counts   []int
	good     []*Series // series of the last accepted page
	vanished []*Series
}

// NewParser returns a parser for a target whose series all get the labels own. A label of the page with
// the same name becomes exported_NAME.
func NewParser(own labels.Labels) *Parser {
	return &Parser{cache: newCache(own)}
}

// Parse reads a page that is at hand as a whole. An error is an *Error and leaves Alive as it was.
func (p *Parser) Parse(page Page, body []byte) (Result, error) {
	p.Begin(page)
	_, _ = p.Write(body) // End returns the same error
	return p.End()
}

// Begin starts a page. A page begun before and not ended is forgotten.
func (p *Parser) Begin(page Page) {
	p.page, p.now = page, page.Now.UnixMilli()
	if p.page.Families == nil {
		p.page.Families = NewFamilies(nil)
	}
	p.err, p.bytes, p.lines, p.sniffed, p.plain, p.eof = nil, 0, 0, false, false, false
	p.carry, p.typeLine, p.typeSent = p.carry[:0], p.typeLine[:0], false
	p.pending, p.pendingLines, p.pendingCount = p.pending[:0], p.pendingLines[:0], 0
	p.pendingUsed = [2]bool{false, p.pendingUsed[0]}
	p.samples, p.counts = p.samples[:0], p.counts[:0]
	for range p.page.Families.Names() {
		p.counts = append(p.counts, 0)
	}
	p.cache.begin(page.MaxSamples)
}

// Write reads the next piece of the page; it keeps none of it. After an error, which is an *Error, the page
// is refused and the rest of it need not be written.
func (p *Parser) Write(piece []byte) (int, error) {
	n := len(piece)
	p.bytes += int64(n)
	p.fail(p.page.tooLarge(p.bytes))
	if len(p.carry) > 0 {
		piece = p.finishCarry(piece)
	}
	for p.err == nil && len(piece) > 0 {
		end := bytes.IndexByte(piece, '\n')
		if end < 0 {
			p.carry = append(p.carry, piece[:min(len(piece), maxLine+1)]...)
			break
		}
		if end > 0 && p.plain && p.page.Families.dull[piece[0]] {
			p.lines++ // most lines end here: a third less time for a page than by way of line
		} else {
			p.line(piece[:end])
		}
		piece = piece[end+1:]
	}
	if p.err != nil {
		return 0, p.err
	}
	return n, nil
}

// finishCarry ends the line that the last piece broke off and returns the rest of this piece. Of an overlong
// line it keeps enough to see that it is overlong.
func (p *Parser) finishCarry(piece []byte) []byte {
	end := bytes.IndexByte(piece, '\n')
	rest := piece[len(piece):]
	if end >= 0 {
		piece, rest = piece[:end], piece[end+1:]
	}
	if room := maxLine + 1 - len(p.carry); room > 0 {
		p.carry = append(p.carry, piece[:min(len(piece), room)]...)
	}
	if end >= 0 && p.err == nil {
		p.line(p.carry)
		p.carry = p.carry[:0]
	}
	return rest
}

// End ends the page. An error is an *Error: the page is refused as a whole, and the series count as they did
// before it.
func (p *Parser) End() (Result, error) {
	if p.err == nil {
		p.endOfPage()
	}
	if p.err == nil {
		p.decodePending()
	}
	p.release()
	if p.err != nil {
		return Result{}, p.err
	}
	p.accept()
	return Result{Samples: p.samples, Vanished: p.vanished, Counts: p.counts}, nil
}

// Abandon forgets the page begun: its bytes did not all arrive. The series count as they did before it.
func (p *Parser) Abandon() {
	p.Begin(p.page)
	p.release()
}

// Alive returns the series of the last accepted page. The slice is valid until the next page is accepted.
func (p *Parser) Alive() []*Series { return p.good }

// endOfPage decides whether the page is whole. A page in the text format ends with a line break, so that a
// number that lost its last digits is noticed; an OpenMetrics page ends with a line of its own.
func (p *Parser) endOfPage() {
	if len(p.carry) > 0 && !p.sniffed {
		p.sniff(p.carry)
	}
	switch {
	case p.err != nil:
	case p.page.Format == OpenMetrics:
		if string(p.carry) == "# EOF" && !p.eof {
			return
		}
		if !p.eof {
			p.fail(refuse(KindTruncated, "truncated page, without # EOF at its end"))
		} else if len(p.carry) > 0 {
			p.failAfterEOF()
		}
	case len(p.carry) > 0:
		p.fail(refuse(KindTruncated, "truncated page"))
	}
}

// accept makes the page's series the ones that are alive.
func (p *Parser) accept() {
	p.vanished = p.vanished[:0]
	for _, s := range p.good {
		if !p.cache.seen(s) {
			s.alive = false
			p.vanished = append(p.vanished, s)
		}
	}
	clear(p.good)
	p.good = p.good[:0]
	for i := range p.samples {
		s := p.samples[i].Series
		s.alive = true
		p.good = append(p.good, s)
	}
	p.cache.sweep()
}

// release gives back what only a first page, or a bad one, needs much of. (2.5 KB a target with 24 series, of 22 KB.)
func (p *Parser) release() {
	const keep = 4 << 10
	if cap(p.pending) > keep || p.pendingUsed != [2]bool{true, true} {
		p.pending, p.pendingLines = nil, nil
	}
	if cap(p.carry) > keep {
		p.carry = nil
	}
}

func (p *Parser) fail(err *Error) {
	if p.err == nil && err != nil {
		p.err = err
	}
}

func (p *Parser) failAfterEOF() {
	p.fail(refuse(KindSyntax, "more after # EOF, at line %d", p.lines+1))
}
