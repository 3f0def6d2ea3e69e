package exposition

// Prometheus's parser. This file alone uses textparse, because its interface changes between releases.

import (
	"bytes"
	"errors"
	"io"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// decodedSample is a sample as Prometheus's parser reads it. It is valid during the call of take.
type decodedSample struct {
	series  []byte // name and labels of the series, as on the page
	time    int64  // milliseconds, if hasTime
	hasTime bool
	value   float64
	parser  textparse.Parser
}

// copySortedLabels returns the labels of the series, sorted. They share no memory with the page.
func (d decodedSample) copySortedLabels() labels.Labels {
	var l labels.Labels
	d.parser.Labels(&l)
	return l
}

// decodeSampleLines calls take for each sample in lines, which are whole TYPE and sample lines of a page.
func decodeSampleLines(lines []byte, f Format, take func(decodedSample) error) error {
	var p textparse.Parser
	if f == OpenMetrics {
		p = textparse.NewOpenMetricsParser(append(lines, "# EOF\n"...), labels.NewSymbolTable())
	} else {
		p = textparse.NewPromParser(lines, labels.NewSymbolTable(), false)
	}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry == textparse.EntrySeries {
			if err := decodeSampleEntry(p, take); err != nil {
				return err
			}
		}
	}
}

var errLabelLineBreak = errors.New("line break within a label value")

// decodeSampleEntry calls take for the sample that p is at.
func decodeSampleEntry(p textparse.Parser, take func(decodedSample) error) error {
	d := decodedSample{parser: p}
	var ts *int64
	d.series, ts, d.value = p.Series()
	if ts != nil {
		d.time, d.hasTime = *ts, true
	}
	// The text parser lets a quoted value run over the end of a line. The format forbids it, and here the next line may be
	// from elsewhere on the page.
	if bytes.IndexByte(d.series, '\n') >= 0 {
		return errLabelLineBreak
	}
	return take(d)
}
