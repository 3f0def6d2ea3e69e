// Package exposition reads the needed lines of a /metrics page: pure functions, bytes in, samples or an error out.
//
// The page is walked line by line as it arrives, in whatever pieces; only the lines of wanted families are
// looked at. A series that was seen on an earlier page is recognised by its bytes, so that a steady target
// costs a map look-up and a float conversion a sample, and no allocation; every other wanted line is decoded by
// Prometheus's own parser. A page is taken whole or refused whole.
package exposition

import (
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Format is the syntax of a page.
type Format int

// The formats that are read.
const (
	// Text is the Prometheus text format, 0.0.4 and 1.0.0 (which adds quoted names).
	Text Format = iota
	// OpenMetrics is the OpenMetrics text format 1.0.
	OpenMetrics
)

// AcceptHeader is the value of the Accept header that asks for the formats read here. The plain text format comes
// first: it has no exemplars, so that a page is smaller and its lines stay on the fast path.
const AcceptHeader = "text/plain;version=1.0.0;escaping=allow-utf-8,text/plain;version=0.0.4;q=0.9," +
	"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1"

// DetectFormat tells from a response's Content-Type and Content-Encoding how its body is read. No content type
// is taken for Text. A body that is encoded, or that is no metrics page, is an *Error.
func DetectFormat(contentType, contentEncoding string) (Format, error) {
	if contentEncoding != "" && contentEncoding != "identity" {
		return Text, newPageError(KindEncoding, "%s, though not asked for", shortenDetail(contentEncoding))
	}
	media, _, _ := strings.Cut(contentType, ";")
	switch media = strings.ToLower(strings.TrimSpace(media)); media {
	case "", "text/plain":
		return Text, nil
	case "application/openmetrics-text":
		return OpenMetrics, nil
	case "text/html", "application/xhtml+xml":
		return Text, newPageError(KindNotMetrics, "HTML, not metrics")
	default:
		return Text, newPageError(KindNotMetrics, "%s, not metrics", shortenDetail(media))
	}
}

// PageOptions says how a page is read, and what is wanted from it. The zero value of a limit means no limit.
type PageOptions struct {
	Format Format
	// Families are the wanted families; nil wants nothing.
	Families *Families
	// MaxBytes bounds the page.
	MaxBytes int64
	// MaxSamples bounds the wanted samples.
	MaxSamples int
	// MaxLabels bounds the labels of a wanted series, its name not counted.
	MaxLabels int
	// Now is the time of samples without a timestamp of their own.
	Now time.Time
}

// CheckSize returns the *Error that a page of so many bytes is refused with, or nil: for a length that is known
// before the page is read.
func (p PageOptions) CheckSize(bytes int64) error {
	if err := p.pageSizeError(bytes); err != nil {
		return err
	}
	return nil
}

func (p *PageOptions) pageSizeError(bytes int64) *Error {
	if p.MaxBytes <= 0 || bytes <= p.MaxBytes {
		return nil
	}
	return newPageError(KindTooLarge, "page over %s", formatByteSize(p.MaxBytes))
}

// Series is one wanted series of a target, the same from page to page.
type Series struct {
	// Labels are the page's labels merged with the target's own.
	Labels labels.Labels
	// Ref belongs to the caller: a place for what its store calls the series. It starts as 0.
	Ref uint64

	lastPage     uint64  // number of the page that had it last, accepted or not
	alive        bool    // the last accepted page had it
	nextSameHash *Series // another series whose labels have the same hash
}

// Sample is one value of a series.
type Sample struct {
	Series *Series
	// Time is in milliseconds since the epoch: the page's own timestamp, else Page.Now.
	Time int64
	// Value is the number as the page gives it; NaN and infinities are values like any other.
	Value float64
}

// ParsedPage is what an accepted page holds. Its slices are valid until the parser's next Begin.
type ParsedPage struct {
	// Samples are the wanted samples, in no fixed order; no series appears twice.
	Samples []Sample
	// Vanished are the series that the accepted page before this one had and this one has not.
	Vanished []*Series
	// Counts is the number of samples of each family, in the order of Families.Names.
	Counts []int
}

// maxFutureSkew is how far a page's own timestamp may lie in the future. Clocks of one cluster differ by less;
// a sample from further ahead would keep a value looking fresh after its target has died.
const maxFutureSkew = time.Minute
