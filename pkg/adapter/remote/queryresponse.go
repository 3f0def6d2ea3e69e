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

// parseRemoteSeconds returns the time of s seconds since the epoch, to the millisecond; false if s is not a time.
func parseRemoteSeconds(s float64) (time.Time, bool) {
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

// checkRemoteAPIStatus returns the failure that the envelope states; nil for success.
func (e responseEnvelope) checkRemoteAPIStatus() *requestFailure {
	switch {
	case e.Status == "success" && e.Error == "":
		return nil
	case e.Status == "success":
		return newRemoteFailuref(outcomeBadResponse, "the answer is a success with an error: %s", clipRemoteText(e.Error))
	case e.Status != "error":
		return newRemoteFailuref(outcomeBadResponse, "the answer is JSON, but not of the Prometheus API: its status is %q", clipRemoteText(e.Status))
	}
	text := clipRemoteText(e.Error)
	if (e.ErrorType == "bad_data" || e.ErrorType == "execution") && !isRemoteStorageError(e.Error) {
		return newRemoteFailuref(outcomeBadQuery, "rejects the query: %s", text)
	}
	return newRemoteFailuref(outcomeServerError, "%s: %s", clipRemoteText(e.ErrorType), text)
}

// splitRemoteNotices separates warnings from infos. Servers of 2023 and 2024 put both into a single list.
func (e responseEnvelope) splitRemoteNotices() (warnings, infos []string) {
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

// readRemoteQueryResponse reads a response of at most maxBytes to an instant query.
func readRemoteQueryResponse(ctx context.Context, resp *http.Response, maxBytes int64, turn *largeResponseTurn, timer *requestTimer) (*queryResponse, *requestFailure) {
	body, f := openRemoteResponseBody(resp, maxBytes)
	if f != nil {
		return nil, f
	}
	data := bytes.NewBuffer(make([]byte, 0, max(bytes.MinRead, min(memorybounds.LargeServerResponse, resp.ContentLength+bytes.MinRead))))
	_, err := io.CopyN(data, body, memorybounds.LargeServerResponse)
	if err == nil { // there may be more
		if err = turn.awaitLargeRemoteResponseTurn(ctx, timer); err == nil {
			_, err = data.ReadFrom(body)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, newRemoteBodyFailure(remoteRequestCause(ctx, err), maxBytes, timer.timeout)
	}
	return decodeRemoteQueryResponse(data.Bytes(), memorybounds.DecodedRatio*maxBytes)
}

// openRemoteResponseBody returns the body of a JSON response, bounded to maxBytes.
func openRemoteResponseBody(resp *http.Response, maxBytes int64) (*limitedBody, *requestFailure) {
	switch t := remoteMediaType(resp); t {
	case "application/json":
	case "text/html":
		return nil, newRemoteFailuref(outcomeBadResponse, "the answer is an HTML page, not JSON, perhaps for logging in: check the url and the credentials")
	default:
		return nil, newRemoteFailuref(outcomeBadResponse, "the answer is %q, not JSON: check the url", clipRemoteText(t))
	}
	if resp.ContentLength > maxBytes {
		return nil, newRemoteBodyFailure(errResponseTooLarge, maxBytes, 0)
	}
	return &limitedBody{r: resp.Body, remaining: maxBytes}, nil
}

// remoteMediaType returns the content type without parameters.
func remoteMediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return resp.Header.Get("Content-Type")
	}
	return t
}

var errResponseTooLarge = errors.New("answer too large")

// newRemoteBodyFailure returns the failure for an error of reading a body. It is not serverWide: the server was there.
func newRemoteBodyFailure(err error, maxBytes int64, timeout time.Duration) *requestFailure {
	if errors.Is(err, errResponseTooLarge) {
		return newRemoteFailuref(outcomeTooLarge, "the answer has more than the %d bytes of maxResponseBytes", maxBytes)
	}
	if errors.Is(err, errNoTurn) {
		return newRemoteFailuref(outcomeOther, "waited %v for other large answers of this backend, which are read one at a time: make its answers smaller", timeout)
	}
	f := classifyRemoteTransportError(err, timeout)
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

// decodeRemoteQueryResponse decodes a response to an instant query. The decoder is hand-written because many results arrive every few
// seconds: encoding/json takes more than three times as long (BenchmarkDecode).
func decodeRemoteQueryResponse(data []byte, maxDecoded int64) (*queryResponse, *requestFailure) {
	d := &responseDecoder{data: data, room: maxDecoded, internedStrings: map[string]string{}}
	var e responseEnvelope
	seen := map[string]bool{}
	d.decodeRemoteJSONObject(func(key string) {
		d.rejectRemoteKeyTwice(seen, key)
		switch key {
		case "data":
			d.decodeRemoteResponseData()
		case "status":
			e.Status = d.decodeRemoteJSONString()
		case "errorType":
			e.ErrorType = d.decodeRemoteJSONString()
		case "error":
			e.Error = d.decodeRemoteJSONString()
		case "warnings":
			e.Warnings = d.decodeRemoteJSONStrings()
		case "infos":
			e.Infos = d.decodeRemoteJSONStrings()
		case "isPartial":
			e.IsPartial = d.decodeRemoteJSONBool()
		default:
			d.skipRemoteJSONValue()
		}
	})
	if d.peekRemoteToken() != 0 {
		d.failRemoteDecoding("more than one value")
	}
	if d.failure != nil {
		return nil, d.failure
	}
	if f := e.checkRemoteAPIStatus(); f != nil {
		return nil, f
	}
	switch {
	case d.resultType == "", !d.resultDecoded && (d.resultType == "vector" || d.resultType == "scalar"):
		return nil, newRemoteFailuref(outcomeBadResponse, "the answer has no result")
	case !d.resultDecoded:
		return nil, newRemoteFailuref(outcomeBadResult, "the result is a %q, not a vector", clipRemoteText(d.resultType))
	}
	r := &queryResponse{samples: d.samples}
	r.warnings, r.infos = e.splitRemoteNotices()
	return r, d.resultFailure
}

// decodeRemoteResponseData decodes the field data.
func (d *responseDecoder) decodeRemoteResponseData() {
	at := -1 // offset of the result, which may come before its type
	seen := map[string]bool{}
	d.decodeRemoteJSONObject(func(key string) {
		d.rejectRemoteKeyTwice(seen, key)
		switch key {
		case "resultType":
			d.resultType = d.decodeRemoteJSONString()
		case "result":
			at = d.offset
			d.decodeRemoteResults()
		default:
			d.skipRemoteJSONValue()
		}
	})
	if end := d.offset; at >= 0 && !d.resultDecoded && d.failure == nil {
		d.offset = at
		d.decodeRemoteResults()
		d.offset = end
	}
}

// decodeRemoteResults decodes results of resultType. It skips them if the type is unknown yet.
func (d *responseDecoder) decodeRemoteResults() {
	d.resultDecoded, d.samples, d.resultFailure = true, nil, nil
	switch d.resultType {
	case "vector":
		if d.peekRemoteToken() == 'n' {
			d.skipRemoteJSONValue()
			return
		}
		d.decodeRemoteJSONArray(func() { d.samples = append(d.samples, d.decodeRemoteSample()) })
	case "scalar":
		d.samples = append(d.samples, resultSample{Value: d.decodeRemoteTimedValue()})
	default:
		d.resultDecoded = false
		d.skipRemoteJSONValue()
	}
}

// decodeRemoteSample decodes a result: its labels and its value.
func (d *responseDecoder) decodeRemoteSample() resultSample {
	var s resultSample
	d.takeRemoteDecodingRoom(decodedSampleBytes)
	valued, histogram := false, false
	d.decodeRemoteJSONObject(func(key string) {
		switch key {
		case "metric":
			if s.Metric != nil {
				d.failRemoteDecoding("the labels of a result twice")
			}
			s.Metric = d.decodeRemoteResultLabels()
		case "value":
			if valued {
				d.failRemoteDecoding("the value of a result twice")
			}
			s.Value, valued = d.decodeRemoteTimedValue(), true
		case "histogram":
			d.skipRemoteJSONValue()
			histogram = true
		default:
			d.skipRemoteJSONValue()
		}
	})
	if d.failure == nil && d.resultFailure == nil && !valued {
		d.resultFailure = newRemoteFailuref(outcomeBadResponse, "the result %s has no value", formatRemoteResultLabels(s.Metric))
		if histogram {
			d.resultFailure = newRemoteFailuref(outcomeBadResult, "the result %s is a native histogram: use a function that makes a number of it", formatRemoteResultLabels(s.Metric))
		}
	}
	return s
}

// decodeRemoteResultLabels decodes the labels of a result. Their names, and most values, repeat earlier results.
func (d *responseDecoder) decodeRemoteResultLabels() map[string]string {
	l := make(map[string]string, 4)
	n := 0
	d.decodeRemoteJSONObject(func(name string) {
		l[name] = d.decodeRemoteJSONString()
		d.takeRemoteDecodingRoom(decodedTextBytes + len(name) + len(l[name]))
		if n++; len(l) < n {
			d.failRemoteDecoding("a label twice")
		}
	})
	return l
}

// decodeRemoteTimedValue decodes a time and a number. strconv parses the spellings of NaN and infinities.
func (d *responseDecoder) decodeRemoteTimedValue() timedValue {
	var p timedValue
	n := 0
	d.decodeRemoteJSONArray(func() {
		switch n {
		case 0:
			seconds, err := strconv.ParseFloat(string(d.skipRemoteJSONValue()), 64)
			ok := false
			if p.at, ok = parseRemoteSeconds(seconds); err != nil || !ok {
				d.failRemoteDecoding("a sample without a time")
			}
		case 1:
			text := d.decodeRemoteJSONString()
			var err error
			// Every reader of the API takes a number beyond the range of a float for an infinity. Go's own notations, such as 0x1p4,
			// are no numbers of the API.
			if p.value, err = strconv.ParseFloat(text, 64); err != nil && !errors.Is(err, strconv.ErrRange) || strings.ContainsAny(text, "xXpP_") {
				d.failRemoteDecoding("a sample without a number")
			}
		default:
			d.failRemoteDecoding("a sample of more than time and number")
		}
		n++
	})
	if n != 2 {
		d.failRemoteDecoding("a sample of less than time and number")
	}
	return p
}
