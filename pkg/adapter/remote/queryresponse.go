// Responses to instant queries: content type, size, the envelope of the API, and results.

package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
)

// queryResponse is a response of the HTTP API to an instant query.
type queryResponse struct {
	samples []resultSample
	// warnings explain a response that may be incomplete; infos are other notices of the server.
	warnings, infos []string
}

// resultSample is a result of a query.
type resultSample struct {
	Metric map[string]string
	Value  timedValue
}

// timedValue is a number at a time: [1435781451.781,"1"].
type timedValue struct {
	at    time.Time
	value float64
}

// parseEpochSeconds returns the time of s seconds since the epoch, to the millisecond; false if s is not a time.
func parseEpochSeconds(s float64) (time.Time, bool) {
	const maxSeconds = 1 << 40 // the year 36812
	if math.IsNaN(s) || math.Abs(s) > maxSeconds {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(s * 1000))), true
}

// responseEnvelope has the fields that all responses of the API share.
type responseEnvelope struct {
	Status    string
	ErrorType string
	Error     string
	Warnings  []string
	Infos     []string
	// IsPartial is true if a node of a VictoriaMetrics cluster did not respond.
	IsPartial bool
}

// checkEnvelopeStatus returns the failure that the envelope states; nil for success.
func (e responseEnvelope) checkEnvelopeStatus() *backendRequestFailure {
	switch {
	case e.Status == "success" && e.Error == "":
		return nil
	case e.Status == "success":
		return newRequestFailuref(outcomeBadResponse, "the answer is a success with an error: %s", clipServerText(e.Error))
	case e.Status != "error":
		return newRequestFailuref(outcomeBadResponse, "the answer is JSON, but not of the Prometheus API: its status is %q", clipServerText(e.Status))
	}
	text := clipServerText(e.Error)
	if (e.ErrorType == "bad_data" || e.ErrorType == "execution") && !isServerStorageError(e.Error) {
		return newRequestFailuref(outcomeBadQuery, "rejects the query: %s", text)
	}
	return newRequestFailuref(outcomeServerError, "%s: %s", clipServerText(e.ErrorType), text)
}

// splitServerNotices separates warnings from infos. Servers of 2023 and 2024 put both into a single list.
func (e responseEnvelope) splitServerNotices() (warnings, infos []string) {
	infos = e.Infos
	for _, w := range e.Warnings {
		if strings.HasPrefix(w, "PromQL info:") {
			infos = append(infos, w)
		} else {
			warnings = append(warnings, w)
		}
	}
	if e.IsPartial && len(warnings) == 0 {
		warnings = append(warnings, "isPartial")
	}
	return warnings, infos
}

// readQueryResponse reads a response of at most maxBytes to an instant query.
func readQueryResponse(ctx context.Context, resp *http.Response, maxBytes int64, turn *largeResponseTurn, timer *requestTimer) (*queryResponse, *backendRequestFailure) {
	body, f := openResponseBody(resp, maxBytes)
	if f != nil {
		return nil, f
	}
	data := bytes.NewBuffer(make([]byte, 0, max(bytes.MinRead, min(memorybounds.LargeServerResponse, resp.ContentLength+bytes.MinRead))))
	_, err := io.CopyN(data, body, memorybounds.LargeServerResponse)
	if err == nil { // there may be more
		if err = turn.awaitLargeResponseTurn(ctx, timer); err == nil {
			_, err = data.ReadFrom(body)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, newResponseBodyFailure(findBackendErrorCause(ctx, err), maxBytes, timer.timeout)
	}
	return decodeQueryResponse(data.Bytes(), memorybounds.DecodedRatio*maxBytes)
}

// openResponseBody returns the body of a JSON response, bounded to maxBytes.
func openResponseBody(resp *http.Response, maxBytes int64) (*limitedBody, *backendRequestFailure) {
	switch t := parseResponseMediaType(resp); t {
	case "application/json":
	case "text/html":
		return nil, newRequestFailuref(outcomeBadResponse, "the answer is an HTML page, not JSON, perhaps for logging in: check the url and the credentials")
	default:
		return nil, newRequestFailuref(outcomeBadResponse, "the answer is %q, not JSON: check the url", clipServerText(t))
	}
	if resp.ContentLength > maxBytes {
		return nil, newResponseBodyFailure(errResponseTooLarge, maxBytes, 0)
	}
	return &limitedBody{r: resp.Body, remaining: maxBytes}, nil
}

// parseResponseMediaType returns the content type without parameters.
func parseResponseMediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return resp.Header.Get("Content-Type")
	}
	return t
}

var errResponseTooLarge = errors.New("answer too large")

// newResponseBodyFailure returns the failure for an error of reading a body. It is not serverWide: the server was there.
func newResponseBodyFailure(err error, maxBytes int64, timeout time.Duration) *backendRequestFailure {
	if errors.Is(err, errResponseTooLarge) {
		return newRequestFailuref(outcomeTooLarge, "the answer has more than the %d bytes of maxResponseBytes", maxBytes)
	}
	if errors.Is(err, errNoTurn) {
		return newRequestFailuref(outcomeOther, "waited %v for other large answers of this backend, which are read one at a time: make its answers smaller", timeout)
	}
	f := classifyBackendTransportError(err, timeout)
	if f.outcome == outcomeConnect {
		f.text += " in the middle of the answer"
		f.serverWide = false
	}
	return f
}

// limitedBody reads at most remaining bytes; the next byte is errResponseTooLarge.
type limitedBody struct {
	r         io.Reader
	remaining int64
	err       error // of the last read, other than io.EOF
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.remaining+1 {
		p = p[:b.remaining+1]
	}
	n, err := b.r.Read(p)
	if int64(n) > b.remaining {
		n = int(b.remaining)
		err = errResponseTooLarge
	}
	b.remaining -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// decodeQueryResponse decodes a response to an instant query. The decoder is hand-written because many results arrive every few
// seconds: encoding/json takes more than three times as long (BenchmarkDecode).
func decodeQueryResponse(data []byte, maxDecoded int64) (*queryResponse, *backendRequestFailure) {
	d := &responseDecoder{data: data, room: maxDecoded, internedStrings: map[string]string{}}
	var e responseEnvelope
	seen := map[string]bool{}
	d.decodeResponseObject(func(key string) {
		d.rejectRepeatedResponseKey(seen, key)
		switch key {
		case "data":
			d.decodeResponseData()
		case "status":
			e.Status = d.decodeResponseString()
		case "errorType":
			e.ErrorType = d.decodeResponseString()
		case "error":
			e.Error = d.decodeResponseString()
		case "warnings":
			e.Warnings = d.decodeResponseStrings()
		case "infos":
			e.Infos = d.decodeResponseStrings()
		case "isPartial":
			e.IsPartial = d.decodeResponseBool()
		default:
			d.skipResponseJSON()
		}
	})
	if d.peekResponseJSON() != 0 {
		d.failResponseDecoding("more than one value")
	}
	if d.failure != nil {
		return nil, d.failure
	}
	if f := e.checkEnvelopeStatus(); f != nil {
		return nil, f
	}
	switch {
	case d.resultType == "", !d.resultDecoded && (d.resultType == "vector" || d.resultType == "scalar"):
		return nil, newRequestFailuref(outcomeBadResponse, "the answer has no result")
	case !d.resultDecoded:
		return nil, newRequestFailuref(outcomeBadResult, "the result is a %q, not a vector", clipServerText(d.resultType))
	}
	r := &queryResponse{samples: d.samples}
	r.warnings, r.infos = e.splitServerNotices()
	return r, d.resultFailure
}

// decodeResponseData decodes the field data.
func (d *responseDecoder) decodeResponseData() {
	at := -1 // offset of the result, which may come before its type
	seen := map[string]bool{}
	d.decodeResponseObject(func(key string) {
		d.rejectRepeatedResponseKey(seen, key)
		switch key {
		case "resultType":
			d.resultType = d.decodeResponseString()
		case "result":
			at = d.offset
			d.decodeQueryResults()
		default:
			d.skipResponseJSON()
		}
	})
	if end := d.offset; at >= 0 && !d.resultDecoded && d.failure == nil {
		d.offset = at
		d.decodeQueryResults()
		d.offset = end
	}
}

// decodeQueryResults decodes results of resultType. It skips them if the type is unknown yet.
func (d *responseDecoder) decodeQueryResults() {
	d.resultDecoded, d.samples, d.resultFailure = true, nil, nil
	switch d.resultType {
	case "vector":
		if d.peekResponseJSON() == 'n' {
			d.skipResponseJSON()
			return
		}
		d.decodeResponseArray(func() { d.samples = append(d.samples, d.decodeQueryResultSample()) })
	case "scalar":
		d.samples = append(d.samples, resultSample{Value: d.decodeQueryResultValue()})
	default:
		d.resultDecoded = false
		d.skipResponseJSON()
	}
}

// decodeQueryResultSample decodes a result: its labels and its value.
func (d *responseDecoder) decodeQueryResultSample() resultSample {
	var s resultSample
	d.takeDecodingRoom(decodedSampleBytes)
	valued, histogram := false, false
	d.decodeResponseObject(func(key string) {
		switch key {
		case "metric":
			if s.Metric != nil {
				d.failResponseDecoding("the labels of a result twice")
			}
			s.Metric = d.decodeQueryResultLabels()
		case "value":
			if valued {
				d.failResponseDecoding("the value of a result twice")
			}
			s.Value, valued = d.decodeQueryResultValue(), true
		case "histogram":
			d.skipResponseJSON()
			histogram = true
		default:
			d.skipResponseJSON()
		}
	})
	if d.failure == nil && d.resultFailure == nil && !valued {
		d.resultFailure = newRequestFailuref(outcomeBadResponse, "the result %s has no value", formatServerResultLabels(s.Metric))
		if histogram {
			d.resultFailure = newRequestFailuref(outcomeBadResult, "the result %s is a native histogram: use a function that makes a number of it", formatServerResultLabels(s.Metric))
		}
	}
	return s
}

// decodeQueryResultLabels decodes the labels of a result. Their names, and most values, repeat earlier results.
func (d *responseDecoder) decodeQueryResultLabels() map[string]string {
	l := make(map[string]string, 4)
	n := 0
	d.decodeResponseObject(func(name string) {
		l[name] = d.decodeResponseString()
		d.takeDecodingRoom(decodedTextBytes + len(name) + len(l[name]))
		if n++; len(l) < n {
			d.failResponseDecoding("a label twice")
		}
	})
	return l
}

// decodeQueryResultValue decodes a time and a number. strconv parses the spellings of NaN and infinities.
func (d *responseDecoder) decodeQueryResultValue() timedValue {
	var p timedValue
	n := 0
	d.decodeResponseArray(func() {
		switch n {
		case 0:
			seconds, err := strconv.ParseFloat(string(d.skipResponseJSON()), 64)
			ok := false
			if p.at, ok = parseEpochSeconds(seconds); err != nil || !ok {
				d.failResponseDecoding("a sample without a time")
			}
		case 1:
			text := d.decodeResponseString()
			var err error
			// Every reader of the API takes a number beyond the range of a float for an infinity. Go's own notations, such as 0x1p4,
			// are no numbers of the API.
			if p.value, err = strconv.ParseFloat(text, 64); err != nil && !errors.Is(err, strconv.ErrRange) || strings.ContainsAny(text, "xXpP_") {
				d.failResponseDecoding("a sample without a number")
			}
		default:
			d.failResponseDecoding("a sample of more than time and number")
		}
		n++
	})
	if n != 2 {
		d.failResponseDecoding("a sample of less than time and number")
	}
	return p
}
