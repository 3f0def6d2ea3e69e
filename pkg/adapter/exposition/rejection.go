package exposition

// Rejected families: a fault of one family must not cost the others their samples, and a page proves the absence of a family only
// if it is a page from its first line to its last.

import (
	"bytes"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// maxForeignBytes bounds the text that an error quotes of a page that is none: enough to recognise a sentence, and little of what an endpoint
// says that was never meant for readers of metrics.
const maxForeignBytes = 60

// rejectPageFamily rejects a family of the page as a whole. Without another wanted family it rejects the page at once: the rest is
// of no use.
func (p *Parser) rejectPageFamily(family int, err *Error) {
	f := &p.families[family]
	if f.Err != nil {
		return
	}
	f.Err = err
	p.acceptedCount -= f.Samples
	f.Samples = 0
	if p.rejectedCount++; p.options.AllFamilies {
		p.rejectWholePage(err)
	} else if p.rejectedCount == len(p.families) {
		p.rejectWholePage(p.families[p.findRejectedFamily()].Err)
	}
	if p.options.MaxSamples > 0 && len(p.samples) >= 2*p.options.MaxSamples {
		p.dropRejectedSamples()
	}
}

// findRejectedFamily returns the family with the lowest rank, which the error of the whole page is about.
func (p *Parser) findRejectedFamily() int {
	first := 0
	for i := range p.families {
		if p.rankOfPageFamily(i) < p.rankOfPageFamily(first) {
			first = i
		}
	}
	return first
}

// findOverflowingFamily returns the family to reject on a page with too many samples.
func (p *Parser) findOverflowingFamily() int {
	victim := -1
	for i, f := range p.families {
		if f.Samples == 0 {
			continue
		}
		if victim < 0 || p.rankOfPageFamily(i) > p.rankOfPageFamily(victim) || p.rankOfPageFamily(i) == p.rankOfPageFamily(victim) && f.Samples > p.families[victim].Samples {
			victim = i
		}
	}
	return victim
}

func (p *Parser) rankOfPageFamily(family int) int {
	if family >= len(p.options.Ranks) {
		return 0
	}
	return p.options.Ranks[family]
}

// dropRejectedSamples removes the samples of rejected families.
func (p *Parser) dropRejectedSamples() {
	kept := p.samples[:0]
	for _, sample := range p.samples {
		if p.families[sample.family].Err == nil {
			sample.Series.sampleIndex = len(kept)
			kept = append(kept, sample)
		}
	}
	p.samples = kept
}

// judgeLastPageLine remembers whether a line, so far the last of the page, is a line of a page. nil changes nothing.
func (p *Parser) judgeLastPageLine(line []byte) {
	if p.options.Format == Text && len(line) > 0 {
		p.lastLineFault = findPageLineFault(line)
	}
}

// rejectUnprovenFamilies rejects the families without a sample if the first or the last line of the page is neither a sample
// nor a comment. Services and proxies answer with a sentence in plain text and status 200, and libraries append one to a page that
// they cannot complete. Such a page does not prove that a family is absent.
func (p *Parser) rejectUnprovenFamilies() {
	fault := p.firstLineFault
	if fault == nil {
		fault = p.lastLineFault
	}
	if fault == nil {
		return
	}
	for i := range p.families {
		if p.families[i].Samples == 0 {
			p.rejectPageFamily(i, fault)
		}
	}
}

// findPageLineFault returns an error if the line of the text format is neither empty nor a comment, and does not have the form of
// a sample. It does not look into the braces.
func findPageLineFault(line []byte) *Error {
	text := bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\ufeff")))
	if len(text) == 0 || text[0] == '#' || len(line) > maxLineBytes || hasSampleLineForm(text) {
		return nil
	}
	return newForeignTextError(text)
}

func newForeignTextError(text []byte) *Error {
	return newPageError(KindNotMetrics, "text, not metrics: %s", plaintext.Clip(string(text), maxForeignBytes))
}

// hasSampleLineForm reports whether a line has a name, or braces, and then a number.
func hasSampleLineForm(line []byte) bool {
	rest := line
	if line[0] != '{' {
		name := parseSampleName(line)
		if len(name) == 0 || name[0] >= '0' && name[0] <= '9' {
			return false
		}
		rest = bytes.TrimLeft(line[len(name):], " \t")
	}
	if len(rest) > 0 && rest[0] == '{' {
		rest = rest[findLabelBracesEnd(rest):]
	}
	value, _, _ := bytes.Cut(bytes.TrimLeft(rest, " \t"), []byte(" "))
	value, _, _ = bytes.Cut(value, []byte("\t"))
	_, ok := parseSampleValue(value)
	return ok
}

// findLabelBracesEnd returns the position behind the closing brace of b, outside quotes, or the length of b.
func findLabelBracesEnd(b []byte) int {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '}' && !quoted:
			return i + 1
		}
	}
	return len(b)
}
