// Lists of label names and values, decoded as they arrive: a list may be larger than any query result.

package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// SeriesSelection selects the series to list the labels of.
type SeriesSelection struct {
	// Match are series selectors, any of which may match; empty means all series.
	Match []string
	// Start and End bound the time in which a series must have samples; zero: the server decides.
	Start, End time.Time
	// Limit bounds the list; 0: only the server's limit applies. A list that reaches it is an error, for it may lack entries.
	Limit int
}

func (s SeriesSelection) encodeSeriesSelection() url.Values {
	form := url.Values{}
	if len(s.Match) > 0 {
		form["match[]"] = s.Match
	}
	if !s.Start.IsZero() {
		form.Set("start", formatEpochSeconds(s.Start))
	}
	if !s.End.IsZero() {
		form.Set("end", formatEpochSeconds(s.End))
	}
	if s.Limit > 0 {
		form.Set("limit", strconv.Itoa(s.Limit))
	}
	return form
}

// LabelValues calls each with every value of a label among the selected series, as they arrive. After an error the list is
// incomplete, and the caller must discard all values. An error of each ends the list and is returned unchanged; other errors are
// of metric's kinds.
func (b *Backend) LabelValues(ctx context.Context, label string, s SeriesSelection, each func(string) error) error {
	// This endpoint accepts no POST.
	return b.fetchLabelList(ctx, "label/"+url.PathEscape(label)+"/values", http.MethodGet, s, each)
}

// LabelNames calls each with every label name, by the rules of LabelValues.
func (b *Backend) LabelNames(ctx context.Context, s SeriesSelection, each func(string) error) error {
	return b.fetchLabelList(ctx, "labels", b.config.Method, s, each)
}

// listTimeoutFactor is the timeout of a list in timeouts of a query. Lists are rare, and read an index.
const listTimeoutFactor = 6

func (b *Backend) fetchLabelList(ctx context.Context, path, method string, s SeriesSelection, each func(string) error) error {
	timeout := listTimeoutFactor * b.config.Timeout
	l := &labelListResponse{limit: s.Limit, each: each, acceptPartial: b.config.AcceptPartial}
	f := b.client.sendWithFailover(ctx, serverRequest{
		path: path, method: method, form: s.encodeSeriesSelection(), timeout: timeout,
		readResponse: func(ctx context.Context, resp *http.Response, _ *requestTimer) *backendRequestFailure {
			body, f := openResponseBody(resp, b.config.MaxResponseBytes)
			if f != nil {
				return f
			}
			l.responseEnvelope = responseEnvelope{}
			err := l.decodeLabelListResponse(json.NewDecoder(body))
			if body.err != nil {
				f = newResponseBodyFailure(findBackendErrorCause(ctx, body.err), b.config.MaxResponseBytes, timeout)
			} else {
				f = l.checkLabelList(err)
			}
			if f != nil && l.count > 0 && f.allowsServerFailover() {
				f.outcome = outcomeOther // each cannot take entries back: no failover
			}
			return f
		},
	})
	if l.callbackErr != nil {
		return l.callbackErr
	}
	b.health.recordRequestOutcome(ctx, b, f)
	switch {
	case f == nil:
		return nil
	case f.outcome == outcomeCancelled:
		return metric.Errorf(metric.KindUnavailable, "backend %s: list %s: %w", b.name, path, ctx.Err())
	}
	return metric.Errorf(f.chooseErrorKind(), "backend %s: list %s: %s", b.name, path, f.text)
}

// labelListResponse decodes a response with a list of strings, as it arrives.
type labelListResponse struct {
	limit         int
	acceptPartial bool
	each          func(string) error
	count         int
	callbackErr   error // returned by each
	responseEnvelope
}

var errNotStringList = errors.New("its data is not a list of strings")

// decodeLabelListResponse decodes the whole response.
func (l *labelListResponse) decodeLabelListResponse(d *json.Decoder) error {
	if err := expectResponseListDelim(d, json.Delim('{')); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := l.decodeServerLabelField(d, key); err != nil {
			return err
		}
	}
	return expectResponseListDelim(d, json.Delim('}'))
}

func (l *labelListResponse) decodeServerLabelField(d *json.Decoder, key json.Token) error {
	switch key {
	case "status":
		return d.Decode(&l.Status)
	case "data":
		return l.decodeServerLabelItems(d)
	case "error":
		return d.Decode(&l.Error)
	case "errorType":
		return d.Decode(&l.ErrorType)
	case "warnings":
		return d.Decode(&l.Warnings)
	case "isPartial":
		return d.Decode(&l.IsPartial)
	}
	var other json.RawMessage
	return d.Decode(&other)
}

func (l *labelListResponse) decodeServerLabelItems(d *json.Decoder) error {
	open, err := d.Token()
	if err != nil {
		return err
	}
	if open == nil { // null: an empty list
		return nil
	}
	if open != json.Delim('[') {
		return errNotStringList
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		value, ok := token.(string)
		if !ok {
			return errNotStringList
		}
		l.count++
		if l.callbackErr = l.each(value); l.callbackErr != nil {
			return l.callbackErr
		}
	}
	return expectResponseListDelim(d, json.Delim(']'))
}

func expectResponseListDelim(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err == nil && token != want {
		err = fmt.Errorf("%v in the place of %v", token, want)
	}
	return err
}

// checkLabelList returns the failure of a response that was decoded until err; nil for a complete list.
func (l *labelListResponse) checkLabelList(err error) *backendRequestFailure {
	if err != nil {
		return l.classifyLabelListError(err)
	}
	if f := l.responseEnvelope.checkEnvelopeStatus(); f != nil {
		return f
	}
	if l.limit > 0 && l.count >= l.limit {
		return newRequestFailuref(outcomeTooLarge, "there are %d or more, the limit", l.limit)
	}
	if warnings, _ := l.splitServerNotices(); len(warnings) > 0 && !l.acceptPartial {
		return newRequestFailuref(outcomePartial, "partial response: %s", clipServerText(warnings[0]))
	}
	return nil
}

func (l *labelListResponse) classifyLabelListError(err error) *backendRequestFailure {
	switch {
	case l.callbackErr != nil:
		return newRequestFailuref(outcomeCancelled, "%v", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return newRequestFailuref(outcomeBadResponse, "the answer is truncated JSON")
	}
	return newRequestFailuref(outcomeBadResponse, "the answer is not JSON of the Prometheus API: %s", clipServerText(err.Error()))
}
