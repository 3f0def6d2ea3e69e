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

// Selection are the series whose labels are listed.
type Selection struct {
	// Match are series selectors, any of which must match; none means all series.
	Match []string
	// Start and End bound the time in which a series must have samples; zero: as the server likes.
	Start, End time.Time
	// Limit bounds the list; 0: none but the server's. A list that reaches it is an error, for it may lack something.
	Limit int
}

func (s Selection) form() url.Values {
	form := url.Values{}
	if len(s.Match) > 0 {
		form["match[]"] = s.Match
	}
	if !s.Start.IsZero() {
		form.Set("start", seconds(s.Start))
	}
	if !s.End.IsZero() {
		form.Set("end", seconds(s.End))
	}
	if s.Limit > 0 {
		form.Set("limit", strconv.Itoa(s.Limit))
	}
	return form
}

// LabelValues hands each value of a label among the selected series on, as they come. After an error the list is not
// whole, and nothing that was handed on should be used. An error of each ends it and is returned as it is; others are of
// metric's kinds.
func (b *Backend) LabelValues(ctx context.Context, label string, s Selection, each func(string) error) error {
	// This part of the API knows no POST.
	return b.list(ctx, "label/"+url.PathEscape(label)+"/values", http.MethodGet, s, each)
}

// LabelNames is as LabelValues, for the names of labels.
func (b *Backend) LabelNames(ctx context.Context, s Selection, each func(string) error) error {
	return b.list(ctx, "labels", b.config.Method, s, each)
}

// listPatience is how much longer than a query a list may take. It is asked for seldom, and reads an index.
const listPatience = 6

func (b *Backend) list(ctx context.Context, path, method string, s Selection, each func(string) error) error {
	patience := listPatience * b.config.Timeout
	l := &list{limit: s.Limit, each: each, accept: b.config.AcceptPartial}
	f := b.client.ask(ctx, request{
		path: path, method: method, form: s.form(), patience: patience,
		read: func(resp *http.Response) *fault {
			body, f := answerBody(resp, b.config.MaxResponseBytes)
			if f != nil {
				return f
			}
			l.envelope = envelope{}
			err := l.read(json.NewDecoder(body))
			if body.err != nil {
				f = readFault(body.err, b.config.MaxResponseBytes, patience)
			} else {
				f = l.fault(err)
			}
			if f != nil && l.n > 0 && f.elsewhere() {
				f.outcome = otherFault // what was handed on cannot be taken back: no other server is asked
			}
			return f
		},
	})
	if l.refused != nil {
		return l.refused
	}
	b.health.note(ctx, b, f)
	switch {
	case f == nil:
		return nil
	case f.outcome == cancelled:
		return metric.Errorf(metric.KindUnavailable, "backend %s: list %s: %w", b.name, path, ctx.Err())
	}
	return metric.Errorf(f.kind(), "backend %s: list %s: %s", b.name, path, f.text)
}

// list is an answer with a list of strings, read as it comes.
type list struct {
	limit   int
	accept  bool
	each    func(string) error
	n       int
	refused error // by each
	envelope
}

var errNotAList = errors.New("its data is no list of strings")

// read reads the whole answer.
func (l *list) read(d *json.Decoder) error {
	if err := expect(d, json.Delim('{')); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := l.field(d, key); err != nil {
			return err
		}
	}
	return expect(d, json.Delim('}'))
}

func (l *list) field(d *json.Decoder, key json.Token) error {
	switch key {
	case "status":
		return d.Decode(&l.Status)
	case "data":
		return l.data(d)
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

func (l *list) data(d *json.Decoder) error {
	open, err := d.Token()
	if err != nil {
		return err
	}
	if open == nil { // null: an empty list
		return nil
	}
	if open != json.Delim('[') {
		return errNotAList
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		value, ok := token.(string)
		if !ok {
			return errNotAList
		}
		l.n++
		if l.refused = l.each(value); l.refused != nil {
			return l.refused
		}
	}
	return expect(d, json.Delim(']'))
}

func expect(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err == nil && token != want {
		err = fmt.Errorf("%v in the place of %v", token, want)
	}
	return err
}

// fault is what is wrong with an answer that was read until err.
func (l *list) fault(err error) *fault {
	if err != nil {
		return l.broken(err)
	}
	if f := l.envelope.fault(); f != nil {
		return f
	}
	if l.limit > 0 && l.n >= l.limit {
		return faultf(tooLarge, "there are %d or more, the limit", l.limit)
	}
	if warnings, _ := l.notices(); len(warnings) > 0 && !l.accept {
		return faultf(partial, "partial response: %s", clip(warnings[0]))
	}
	return nil
}

func (l *list) broken(err error) *fault {
	switch {
	case l.refused != nil:
		return faultf(cancelled, "%v", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return faultf(badAnswer, "the answer is truncated JSON")
	}
	return faultf(badAnswer, "the answer is not JSON of the Prometheus API: %s", clip(err.Error()))
}
