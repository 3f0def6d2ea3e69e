// The clock of the server that dates the values, and its difference from this machine's.

package reading

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// ClockSkew is the difference of clocks from which ages mislead: a read takes less.
const ClockSkew = 5 * time.Second

// MeasureClockAhead returns by how much the adapter's clock, as of an answer, is ahead of this machine's; 0 below ClockSkew or for an unknown time.
func MeasureClockAhead(answered, now time.Time) time.Duration {
	ahead := answered.Sub(now).Round(time.Second)
	if answered.IsZero() || ahead.Abs() < ClockSkew {
		return 0
	}
	return ahead
}

// DescribeClock says by how much this machine's clock differs from another: "the adapter's".
func DescribeClock(ahead time.Duration, owner string) string {
	word := "behind"
	if ahead < 0 {
		word = "ahead of"
	}
	return fmt.Sprintf("this machine's clock is %s %s %s", ahead.Abs(), word, owner)
}

// measureAnswerAhead returns by how much the clock of the answering server is ahead of this machine's, from the Date of its answer to a read that
// took a while; 0 where the answer has no Date.
func measureAnswerAhead(served, begun, ended time.Time) time.Duration {
	if served.Before(begun) {
		return MeasureClockAhead(served, begun)
	}
	return max(0, MeasureClockAhead(served, ended))
}

// versionPath is a small read that every user may do.
const versionPath = "/version"

// MeasureServerAhead returns by how much the clock of kube-apiserver is ahead of this machine's, from the Date of its answer; 0 below ClockSkew. It
// reports false without a Date. An answer to a user without the right to read has one too.
func MeasureServerAhead(ctx context.Context, r Reader, now func() time.Time) (ahead time.Duration, ok bool) {
	ctx, served := withServedTime(ctx)
	begun := now()
	_, _ = r.Read(ctx, versionPath) // the Date counts alone
	if served.IsZero() {
		return 0, false
	}
	return measureAnswerAhead(*served, begun, now()), true
}

// FindClockAhead returns by how much the clock behind the first answer with a different clock is ahead of this machine's; 0 for no such answer.
func FindClockAhead(answers []Answer) time.Duration {
	for _, a := range answers {
		if a.Ahead != 0 {
			return a.Ahead
		}
	}
	return 0
}

// servedTimeKey is the key of a context's *time.Time, which gets the Date of an answer.
type servedTimeKey struct{}

func withServedTime(ctx context.Context) (context.Context, *time.Time) {
	served := new(time.Time)
	return context.WithValue(ctx, servedTimeKey{}, served), served
}

// dateRecorder records the Date of answers. kube-apiserver passes on the Date of an aggregated API's server.
type dateRecorder struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (d dateRecorder) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.next.RoundTrip(r)
	if served, ok := r.Context().Value(servedTimeKey{}).(*time.Time); ok && err == nil {
		*served, _ = http.ParseTime(answer.Header.Get("Date")) // zero without one
	}
	return answer, err
}
