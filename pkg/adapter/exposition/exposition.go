// Package exposition reads the needed lines of a /metrics page: pure functions, bytes in, samples or an error out.
//
// A Parser reads the page line by line as it arrives, in pieces of any size, and only the lines of wanted families. It
// recognises a series of an earlier page by its bytes, so that a sample of a steady target costs a map look-up and a float
// conversion, and no allocation. Prometheus's own parser decodes every other wanted line. A Parser accepts or rejects a page
// as a whole.
package exposition

// The types of a page: its format, its limits, its samples.

import (
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Format is the syntax of a page.
type Format int

// The supported formats.
const (
	// Text is the Prometheus text format, 0.0.4 and 1.0.0 (which adds quoted names).
	Text Format = iota
	// OpenMetrics is the OpenMetrics text format 1.0.
	OpenMetrics
)

// AcceptHeader is the value of the Accept header that asks for the supported formats. The plain text format comes first: it has
// no exemplars, so that a page is smaller and its lines stay on the fast path.
const AcceptHeader = "text/plain;version=1.0.0;escaping=allow-utf-8,text/plain;version=0.0.4;q=0.9," +
	"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1"

// DetectFormat returns the format of a body from the Content-Type and Content-Encoding of its response. An empty content type
// means Text. An encoded body, and a body of another content type, is an *Error.
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

// PageOptions are the format of a page, the wanted families, and limits. The zero value of a limit means no limit.
type PageOptions struct {
	Format Format
	// Families are the wanted families; nil: none.
	Families *Families
	// MaxBytes bounds the page.
	MaxBytes int64
	// MaxSamples bounds the wanted samples.
	MaxSamples int
	// MaxLabels bounds the labels of a wanted series, without its name.
	MaxLabels int
	// Now is the time of samples without a timestamp.
	Now time.Time
}

// CheckSize returns the *Error of a page of this size, or nil. It is for a length known before the page is read.
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

// Series is a wanted series of a target. Each page yields the same *Series for it.
type Series struct {
	// Labels are the page's labels merged with the target's own.
	Labels labels.Labels
	// Ref belongs to the caller: the series' reference in its store, for example. It starts as 0.
	Ref uint64

	lastPage     uint64  // number of the last page with the series, accepted or not
	alive        bool    // the last accepted page had the series
	nextSameHash *Series // another series with the same hash of its labels
}

// Sample is a value of a series.
type Sample struct {
	Series *Series
	// Time is in milliseconds since the epoch: the page's own timestamp, else PageOptions.Now.
	Time int64
	// Value is the number on the page; it may be NaN or infinite.
	Value float64
}

// ParsedPage is an accepted page. Its slices are valid until the parser's next BeginPage.
type ParsedPage struct {
	// Samples are the wanted samples, in no fixed order, at most one of each series.
	Samples []Sample
	// Vanished are the series of the previous accepted page that this page does not have.
	Vanished []*Series
	// Counts is the number of samples of each family, in the order of Families.Names.
	Counts []int
}

// maxFutureSkew bounds how far a page's own timestamp may lie in the future. Clocks of a cluster differ by less. A sample
// from further ahead would keep a value looking fresh after its target has died.
const maxFutureSkew = time.Minute
