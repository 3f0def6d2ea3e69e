package exposition

// The reasons to reject a page or a family, and their texts.

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// ErrorKind is the reason of a rejected page or family, in one word: a label value of the self-metrics.
type ErrorKind string

// The reasons to reject a page (the first four) or a family.
const (
	KindNotMetrics     ErrorKind = "not_metrics"      // HTML, JSON or another content
	KindEncoding       ErrorKind = "encoding"         // compressed, though not asked for
	KindTooLarge       ErrorKind = "too_large"        // more bytes than PageOptions.MaxBytes
	KindTruncated      ErrorKind = "truncated"        // the page is incomplete
	KindSyntax         ErrorKind = "syntax"           // a wanted line is malformed
	KindNotUTF8        ErrorKind = "not_utf8"         // a wanted line is not UTF-8
	KindDuplicate      ErrorKind = "duplicate"        // a wanted series appears twice, with different values
	KindTooManySamples ErrorKind = "too_many_samples" // more wanted samples than PageOptions.MaxSamples
	KindTooManyLabels  ErrorKind = "too_many_labels"  // a wanted series has more labels than PageOptions.MaxLabels
	KindTooLong        ErrorKind = "too_long"         // a wanted line is longer than 16 KiB
	KindLabelsTooLong  ErrorKind = "labels_too_long"  // a wanted series has more label bytes than PageOptions.MaxLabelBytes
	KindNoRoom         ErrorKind = "no_room"          // PageOptions.Reserve has no memory for a wanted series
	KindChurn          ErrorKind = "churn"            // the caller counted too many new series on the last pages
	KindFuture         ErrorKind = "future"           // a wanted sample's timestamp lies in the future
)

// ErrorKinds returns all kinds.
func ErrorKinds() []ErrorKind {
	return []ErrorKind{
		KindNotMetrics, KindEncoding, KindTooLarge, KindTruncated, KindSyntax, KindNotUTF8, KindDuplicate,
		KindTooManySamples, KindTooManyLabels, KindTooLong, KindLabelsTooLong, KindNoRoom, KindChurn, KindFuture,
	}
}

// Error is the reason of a rejected page or family: none of its samples may be used.
type Error struct {
	Kind ErrorKind
	// Detail is a short text for people, on one line: "HTML, not metrics".
	Detail string
}

// Error returns the detail.
func (e *Error) Error() string { return e.Detail }

func newPageError(k ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: k, Detail: fmt.Sprintf(format, args...)}
}

// maxDetailBytes bounds the bytes of a page in an error message: the status of an HPA shows the message.
const maxDetailBytes = 120

// shortenPageDetail returns text of a page as it may stand in an error.
func shortenPageDetail(s string) string { return plaintext.Clip(s, maxDetailBytes) }

// formatPageSeries returns a series as a text for people, with braces only if it has labels.
func formatPageSeries(l labels.Labels) string {
	var b strings.Builder
	b.WriteString(l.Get(model.MetricNameLabel))
	if rest := l.DropReserved(func(name string) bool { return name == model.MetricNameLabel }); !rest.IsEmpty() {
		b.WriteString(rest.StringNoSpace())
	}
	return shortenPageDetail(b.String())
}

// formatPageSize returns a number of bytes as a text for people: "16 MiB".
func formatPageSize(n int64) string {
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
