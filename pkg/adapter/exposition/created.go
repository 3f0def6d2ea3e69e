package exposition

// The times at which a page says that its counters began: NAME_created, in seconds, beside NAME_total, a histogram or a summary.

import (
	"bytes"
	"hash/maphash"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

const createdSuffix = "_created"

// createdKey identifies the counters that a created sample is about.
type createdKey struct {
	base   string // their name without a suffix
	labels uint64 // the hash of their labels, without le and quantile
}

// createdTimes are the created samples of a page. Nearly all lines repeat those of the page before, and cost a map look-up.
type createdTimes struct {
	times map[createdKey]int64 // of the lines that no accepted page had, in milliseconds
	pages map[uint64]uint64    // the last page with a line, by the line's hash; of accepted pages
	fresh []uint64             // the hashes of the lines in times
	all   bool                 // the page shows a family for the first time: times has the known lines, too
	begun bool                 // all is known
}

func (c *createdTimes) beginCreatedPage() {
	clear(c.times)
	c.fresh, c.begun = c.fresh[:0], false
}

// newCreatedSampleKey returns the key of a sample with the labels l of a family called base.
func newCreatedSampleKey(base string, l labels.Labels) createdKey {
	hash, _ := l.HashWithoutLabels(nil, model.MetricNameLabel, model.BucketLabel, model.QuantileLabel)
	return createdKey{strings.Clone(base), hash}
}

// FormatCreatedName returns the name of the created samples of a family, if it counts events.
func FormatCreatedName(family string) string { return trimCreatedSuffix(family) + createdSuffix }

// trimCreatedSuffix returns the name that a family's created samples have, without its suffix.
func trimCreatedSuffix(family string) string {
	for _, suffix := range [...]string{"_total", "_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(family, suffix); ok {
			return base
		}
	}
	return family
}

// parseCreatedLine reads a line that may be a created sample of a wanted family. It ignores a malformed line, and a line that an
// accepted page had.
func (p *Parser) parseCreatedLine(line, name []byte) {
	base, ok := bytes.CutSuffix(name, []byte(createdSuffix))
	if !ok || !p.options.FindBeginnings || !p.options.Families.hasTypeLineName(base) || p.isKnownCreatedLine(line) {
		return
	}
	if len(line) > maxLineBytes || !utf8.Valid(line) || p.options.MaxSamples > 0 && len(p.created.times) >= p.options.MaxSamples {
		return
	}
	_ = decodeSampleLines(append(bytes.Clone(line), '\n'), p.options.Format, func(d decodedSample) error {
		l, err := p.cache.mergeTargetLabels(d.copySortedLabels())
		if err != nil || !(d.value > 0) || math.IsInf(d.value, 0) {
			return err
		}
		if p.created.times == nil {
			p.created.times = map[createdKey]int64{}
		}
		p.created.times[newCreatedSampleKey(string(base), l)] = int64(d.value * 1000)
		return nil
	})
}

// isKnownCreatedLine reports whether an accepted page had the line, and notes that this page has it.
func (p *Parser) isKnownCreatedLine(line []byte) bool {
	c := &p.created
	if !c.begun {
		c.begun, c.all = true, p.history.lacksAcceptedPages(p.options.Families)
	}
	hash := maphash.Bytes(p.cache.seed, line)
	if _, known := c.pages[hash]; known {
		c.pages[hash] = p.cache.pageNumber
		return !c.all
	}
	c.fresh = append(c.fresh, hash)
	return false
}

// acceptCreatedLines remembers the new lines of an accepted page, as many as there are series, and forgets old lines. A page that
// rejects a family is no use to its counters: the next page's lines are new again.
func (p *Parser) acceptCreatedLines() {
	c := &p.created
	if p.rejectedCount == 0 {
		for _, hash := range c.fresh {
			if len(c.pages) >= p.cache.seriesCount {
				break
			}
			if c.pages == nil {
				c.pages = map[uint64]uint64{}
			}
			c.pages[hash] = p.cache.pageNumber
		}
	}
	if len(c.pages) == 0 || p.cache.pageNumber%forgetAfterPages != 0 {
		return
	}
	for hash, page := range c.pages {
		if page+forgetAfterPages < p.cache.pageNumber {
			delete(c.pages, hash)
		}
	}
}

// findCreatedTime returns the time at which the page says that a counter began, in milliseconds, if no page before said the same.
func (p *Parser) findCreatedTime(sample *Sample) (created int64, known bool) {
	if len(p.created.times) == 0 {
		return 0, false
	}
	created, known = p.created.times[newCreatedSampleKey(trimCreatedSuffix(p.options.Families.names[sample.family]), sample.Series.Labels)]
	return created, known
}

// beginCountersAnew finds the counters that began again since their last page, with no less than before: their created samples moved. They
// were 0 then. Outside OpenMetrics NAME_created may also be a gauge, such as the time of the newest backup: there the counts since then
// must fit the rate of the family.
func (h *pageCounterHistory) beginCountersAnew(p *Parser) {
	if len(p.created.times) == 0 {
		return
	}
	var anew []*Sample
	for i := range p.samples {
		if sample := &p.samples[i]; h.movesCreatedTime(p, sample) {
			g := &h.growths[sample.family]
			g.born, g.largest = g.born+sample.Value, max(g.largest, sample.Value)
			anew = append(anew, sample)
		}
	}
	for _, sample := range anew {
		s, since := sample.Series, sample.findNewBeginning()
		switch {
		case p.options.Format != OpenMetrics && !h.growths[sample.family].provesCounterBeginning(p.now, since):
		case s.alive:
			h.earlier = append(h.earlier, Sample{Series: s, Time: since, family: sample.family})
			s.lastValue, s.seenAt, s.fellFrom = 0, since, 0
		default: // it does not go on
			s.seenAlive = false
		}
	}
	for _, sample := range anew {
		h.growths[sample.family].born, h.growths[sample.family].largest = 0, 0
	}
}

// movesCreatedTime notes the created sample about a counter. It reports whether the counter began again since its last page, and has no
// less than before. The clock of the service may differ by maxFutureSkew.
func (h *pageCounterHistory) movesCreatedTime(p *Parser, sample *Sample) bool {
	s := sample.Series
	created, known := p.findCreatedTime(sample)
	if !known || !s.isCounterSeries(p.families[sample.family].Type, h.names.names[sample.family]) {
		return false
	}
	before, skew := s.created, maxFutureSkew.Milliseconds()
	s.created = created
	return 0 < before && before < created && s.seenAt-skew < created && created < p.now+skew &&
		s.seenAlive && !s.isReplaced && sample.Value >= s.lastValue && !math.IsInf(sample.Value, 0) && s.seenAt+1 < sample.Time
}

// findNewBeginning returns the time at which the counter began since its last page; just behind that page if the service's clock differs.
func (s Sample) findNewBeginning() int64 {
	if last := s.Series.seenAt; last >= s.Series.created || s.Series.created >= s.Time {
		return last + 1
	}
	return s.Series.created
}
