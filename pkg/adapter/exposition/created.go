package exposition

// The times at which a page says that its counters began: NAME_created, in seconds, beside NAME_total or a histogram.

import (
	"bytes"
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

// newCreatedSampleKey returns the key of a sample with the labels l of a family called base.
func newCreatedSampleKey(base string, l labels.Labels) createdKey {
	hash, _ := l.HashWithoutLabels(nil, model.MetricNameLabel, model.BucketLabel, model.QuantileLabel)
	return createdKey{strings.Clone(base), hash}
}

// trimCreatedSuffix returns the name that a family's created samples have, without its suffix.
func trimCreatedSuffix(family string) string {
	for _, suffix := range [...]string{"_total", "_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(family, suffix); ok {
			return base
		}
	}
	return family
}

// parseCreatedLine reads a line that may be a created sample of a wanted family. It ignores a malformed line, and is for the pages
// that show a family for the first time: all other beginnings are known by the page before.
func (p *Parser) parseCreatedLine(line, name []byte) {
	base, ok := bytes.CutSuffix(name, []byte(createdSuffix))
	if !ok || !p.options.Families.hasTypeLineName(base) || !p.history.lacksAcceptedPages(p.options.Families) {
		return
	}
	if len(line) > maxLineBytes || !utf8.Valid(line) || p.options.MaxSamples > 0 && len(p.created) >= p.options.MaxSamples {
		return
	}
	_ = decodeSampleLines(append(bytes.Clone(line), '\n'), p.options.Format, func(d decodedSample) error {
		l, err := p.cache.mergeTargetLabels(d.copySortedLabels())
		if err != nil || !(d.value > 0) || math.IsInf(d.value, 0) {
			return err
		}
		if p.created == nil {
			p.created = map[createdKey]int64{}
		}
		p.created[newCreatedSampleKey(string(base), l)] = int64(d.value * 1000)
		return nil
	})
}

// findCreatedTime returns the time at which the page says that a counter began, in milliseconds.
func (p *Parser) findCreatedTime(sample *Sample) (created int64, known bool) {
	if len(p.created) == 0 {
		return 0, false
	}
	created, known = p.created[newCreatedSampleKey(trimCreatedSuffix(p.options.Families.names[sample.family]), sample.Series.Labels)]
	return created, known
}
