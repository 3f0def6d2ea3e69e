// Package exposition parses the text of /metrics pages: the lines, families, series, counters and sample values of one scraped page
// after the other. It does no input or output: its callers hand over the bytes.
//
// A Parser belongs to a target, and remembers its series from page to page. It reads a page line by line as it arrives, in pieces of any size,
// and only the lines of wanted families. It
// recognises a series of an earlier page by a hash of its bytes, so that a sample of a steady target costs the hash and a float
// conversion, and no allocation. Prometheus's own parser decodes every other wanted line. A Parser accepts or rejects a wanted
// family as a whole; a page with wrong framing or content loses all its families.
package exposition

// The types of a page: its format, its limits, its samples.

import (
	"strings"
	"time"

	"github.com/prometheus/common/model"
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

// EscapedAcceptHeader is AcceptHeader without UTF-8 names: a service with the family http.requests then calls it http_requests, as
// it does for curl.
const EscapedAcceptHeader = "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"

// AcceptHeader is the value of the Accept header that asks for the supported formats. The plain text format comes first: it has
// no exemplars, so that a page is smaller and its lines stay on the fast path.
const AcceptHeader = "text/plain;version=1.0.0;escaping=allow-utf-8,text/plain;version=0.0.4;q=0.9," +
	"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1"

// DetectFormat returns the format of a body from the Content-Type and Content-Encoding of its response. An empty content type
// means Text. An encoded body, and a body of another content type, is an *Error.
func DetectFormat(contentType, contentEncoding string) (Format, error) {
	if isPageCompressed(contentEncoding) {
		return Text, newPageError(KindEncoding, "%s, though not asked for", shortenPageDetail(contentEncoding))
	}
	media := strings.ToLower(strings.TrimSpace(contentType))
	if end := strings.IndexAny(media, ";, \t"); end >= 0 { // some servers forget the semicolon, some proxies write the header twice
		media = media[:end]
	}
	switch media {
	case "", "text/plain":
		return Text, nil
	case "application/openmetrics-text":
		return OpenMetrics, nil
	default:
		return Text, newPageError(KindNotMetrics, "Content-Type is %s", shortenPageDetail(media))
	}
}

// isPageCompressed reports whether a Content-Encoding names a compression. Servers also write identity, none or utf-8 there.
func isPageCompressed(contentEncoding string) bool {
	for coding := range strings.SplitSeq(strings.ToLower(contentEncoding), ",") {
		switch strings.TrimPrefix(strings.TrimSpace(coding), "x-") {
		case "gzip", "deflate", "br", "zstd", "compress", "snappy":
			return true
		}
	}
	return false
}

// PageOptions are the format of a page, the wanted families, and limits. The zero value of a limit means no limit.
type PageOptions struct {
	Format Format
	// Families are the wanted families; nil: none.
	Families *Families
	// MaxBytes bounds the page.
	MaxBytes int64
	// MaxSamples bounds the wanted samples. A page with more loses whole families, by Ranks.
	MaxSamples int
	// Ranks are the ranks of the families, in the order of Families.Names. Of a page with too many samples the parser rejects
	// the family of the highest rank, and among equal ranks the largest. nil: all families have the same rank.
	Ranks []int
	// MaxLabels bounds the labels of a wanted series, without its name.
	MaxLabels int
	// MaxLabelBytes bounds the names and values of the labels of a wanted series, together.
	MaxLabelBytes int
	// Reserve takes the bytes of a series that the parser has to remember from a budget, or gives them back if bytes is negative. Its
	// error rejects the family. The parser calls it for series that it has not seen before. nil: no budget.
	Reserve func(bytes int64) error
	// Complete reports that the transport knows the end of the body. The last line then needs no line break.
	Complete bool
	// Now is the time of samples without a timestamp.
	Now time.Time
	// AllFamilies makes a fault of one family reject the page.
	AllFamilies bool
	// FindBeginnings finds the beginnings of counters, by the pages before and by Started.
	FindBeginnings bool
	// Started is the time at which the process behind the page started; zero if unknown. Its counters began at 0 then.
	Started time.Time
	// NewProcess reports that the process behind the page started at an unknown time, after the end of the one before.
	NewProcess bool
	// Oldest is the time before which a beginning is of no use; zero: any is.
	Oldest time.Time
	// FindFirstName finds ParsedPage.FirstName.
	FindFirstName bool
}

// CheckSize returns the *Error of a page of this size, or nil. It is for a length known before the page is read.
func (p PageOptions) CheckSize(bytes int64) error {
	if err := p.newPageSizeError(bytes); err != nil {
		return err
	}
	return nil
}

func (p *PageOptions) newPageSizeError(bytes int64) *Error {
	if p.MaxBytes <= 0 || bytes <= p.MaxBytes {
		return nil
	}
	return newPageError(KindTooLarge, "page over %s", formatPageSize(p.MaxBytes))
}

// PageSeries is a wanted series of a target. Each page yields the same *PageSeries for it.
type PageSeries struct {
	// Labels are the page's labels merged with the target's own.
	Labels labels.Labels
	// Ref belongs to the caller: the series' reference in its store, for example. It starts as 0.
	Ref uint64

	lastPage     uint64      // number of the last page with the series, accepted or not
	sampleIndex  int         // of its sample among the samples of lastPage
	family       int         // index of its family on the last accepted page
	pageHash     uint64      // hash of its newest spelling on a page
	nextSameHash *PageSeries // another series with the same hash of its labels

	lastValue float64 // on the last accepted page with the series
	seenAt    int64   // time of that page
	rate      float64 // of a counter up to that page, per millisecond; infinite if unknown
	endedAt   int64   // time of the page that ended the series, or the newest time at which it was known to be away; 0: none
	markedAt  int64   // time of its last staleness marker by EndSeries; 0: none
	created   int64   // time of the newest created sample about it, as the page says; 0: none

	alive      bool         // the last accepted page had the series
	seenAlive  bool         // an accepted page had the series
	isQuantile bool         // it has the label of a summary's quantiles
	isBucket   bool         // it is a bucket of a histogram
	isReplaced bool         // the page being accepted replaces its earlier samples
	decreased  unusualPages // on which it decreased
	fellFrom   float64      // the value from which it went back, while its process ran on; 0: it did not, or has returned

	familyType model.MetricType // the type for which isCounter was computed
	isCounter  bool             // its value counts up from 0
}

// Sample is a value of a series.
type Sample struct {
	Series *PageSeries
	// Time is in milliseconds since the epoch: the page's own timestamp, else PageOptions.Now. It is never later than Now.
	Time int64
	// Value is the number on the page; it may be NaN or infinite.
	Value float64

	family  int  // index of the family
	ownTime bool // Time is from the page
	held    bool // waits for the next page
}

// ParsedPage is an accepted page. Its slices are valid until the parser's next BeginPage.
type ParsedPage struct {
	// Time is PageOptions.Now in milliseconds.
	Time int64
	// Replaced are series with earlier samples that do not belong to those of this page: the family has another type now, or the histogram
	// other buckets. The caller forgets them before it appends a sample.
	Replaced []*PageSeries
	// Earlier are samples before the page, to append before Samples and in this order: the zeros from which new counters
	// began, and samples of the page before that waited for a proof of their beginning.
	Earlier []Sample
	// Samples are the wanted samples, in no fixed order, at most one of each series.
	Samples []Sample
	// Vanished are the series of the previous accepted page that this page does not have.
	Vanished []*PageSeries
	// Families are the families, in the order of Families.Names.
	Families []FamilyResult
	// FirstName is the metric name of the first sample on the page, wanted or not; empty without PageOptions.FindFirstName.
	FirstName string
}

// FamilyOf returns the index of a sample's family within Families.
func (r ParsedPage) FamilyOf(s Sample) int { return s.family }

// FamilyResult is the content of a page for one wanted family.
type FamilyResult struct {
	// Samples is the number of its samples on the page, Held the number that wait for the next page.
	Samples, Held int
	// HeldCounts is the sum of the held samples that count events: a histogram's count, and not its buckets.
	HeldCounts float64
	// Type is the type that the page gives to the family; MetricTypeUnknown without a TYPE line.
	Type model.MetricType
	// NewestOwn is the newest timestamp that the page itself gives to a line of the family, in milliseconds; 0: the page gives none. A line
	// with a negative timestamp gives no sample.
	NewestOwn int64
	// Decreasing reports that several processes answer behind one port: a counter of the family went back on several of the last pages, while
	// its process ran on, or all counters gave way to earlier ones. It needs PageOptions.FindBeginnings and Started.
	Decreasing bool
	// Err is the reason why the page has no sample of the family, and the previous samples stay; nil: the family is accepted.
	Err *Error
}

// maxFutureSkew bounds how far a page's own timestamp may lie in the future. Clocks of a cluster differ by less. A
// sample of the future would be invisible at first, and would keep a value looking fresh after its target has died: see
// correctSampleTimestamps.
const maxFutureSkew = time.Minute
