// Responses to instant queries: content type, size, the envelope of the API, and results.

package remote

import (
	"bytes"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
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

// parseBackendSeconds returns the time of s seconds since the epoch, to the millisecond; false if s is not a time.
func parseBackendSeconds(s float64) (time.Time, bool) {
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

// checkAPIStatus returns the failure that the envelope states; nil for success.
func (e responseEnvelope) checkAPIStatus() *requestFailure {
	switch {
	case e.Status == "success":
		return nil
	case e.Status != "error":
		return newBackendFailuref(outcomeBadResponse, "the answer is JSON, but not of the Prometheus API: its status is %q", clipServerText(e.Status))
	}
	text := clipServerText(e.Error)
	if e.ErrorType == "bad_data" || e.ErrorType == "execution" {
		return newBackendFailuref(outcomeBadQuery, "refuses the query: %s", text)
	}
	return newBackendFailuref(outcomeServerError, "%s: %s", clipServerText(e.ErrorType), text)
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
func readQueryResponse(resp *http.Response, maxBytes int64, timeout time.Duration) (*queryResponse, *requestFailure) {
	body, f := openBackendResponseBody(resp, maxBytes)
	if f != nil {
		return nil, f
	}
	data := bytes.NewBuffer(make([]byte, 0, max(bytes.MinRead, min(maxBytes, resp.ContentLength+bytes.MinRead))))
	if _, err := data.ReadFrom(body); err != nil {
		return nil, newBackendBodyFailure(err, maxBytes, timeout)
	}
	return decodeQueryResponse(data.Bytes())
}

// openBackendResponseBody returns the body of a JSON response, bounded to maxBytes.
func openBackendResponseBody(resp *http.Response, maxBytes int64) (*limitedBody, *requestFailure) {
	switch t := backendMediaType(resp); t {
	case "application/json":
	case "text/html":
		return nil, newBackendFailuref(outcomeBadResponse, "the answer is an HTML page, not JSON, perhaps for logging in: check the url and the credentials")
	default:
		return nil, newBackendFailuref(outcomeBadResponse, "the answer is %q, not JSON: check the url", clipServerText(t))
	}
	if resp.ContentLength > maxBytes {
		return nil, newBackendBodyFailure(errResponseTooLarge, maxBytes, 0)
	}
	return &limitedBody{r: resp.Body, remaining: maxBytes}, nil
}

// backendMediaType returns the content type without parameters.
func backendMediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return resp.Header.Get("Content-Type")
	}
	return t
}

var errResponseTooLarge = errors.New("answer too large")

// newBackendBodyFailure returns the failure for an error of reading a body. It is not serverWide: the server was there.
func newBackendBodyFailure(err error, maxBytes int64, timeout time.Duration) *requestFailure {
	if errors.Is(err, errResponseTooLarge) {
		return newBackendFailuref(outcomeTooLarge, "the answer has more than the %d bytes of maxResponseBytes", maxBytes)
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
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// decodeQueryResponse decodes a response to an instant query. The decoder is hand-written because many results arrive every few
// seconds: encoding/json takes more than three times as long (BenchmarkDecode).
func decodeQueryResponse(data []byte) (*queryResponse, *requestFailure) {
	d := &responseDecoder{data: data, internedStrings: map[string]string{}}
	var e responseEnvelope
	d.decodeResponseObject(func(key string) {
		switch key {
		case "data":
			d.decodeResponseData()
		case "status":
			e.Status = d.decodeJSONString()
		case "errorType":
			e.ErrorType = d.decodeJSONString()
		case "error":
			e.Error = d.decodeJSONString()
		case "warnings":
			e.Warnings = d.decodeJSONStrings()
		case "infos":
			e.Infos = d.decodeJSONStrings()
		case "isPartial":
			e.IsPartial = string(d.skipJSONValue()) == "true"
		default:
			d.skipJSONValue()
		}
	})
	if d.peekResponseToken() != 0 {
		d.failDecoding("more than one value")
	}
	if d.failure != nil {
		return nil, d.failure
	}
	if f := e.checkAPIStatus(); f != nil {
		return nil, f
	}
	switch {
	case d.resultType == "", !d.resultDecoded && (d.resultType == "vector" || d.resultType == "scalar"):
		return nil, newBackendFailuref(outcomeBadResponse, "the answer has no result")
	case !d.resultDecoded:
		return nil, newBackendFailuref(outcomeBadResult, "the result is a %q, not a vector", clipServerText(d.resultType))
	}
	r := &queryResponse{samples: d.samples}
	r.warnings, r.infos = e.splitServerNotices()
	return r, d.resultFailure
}

// decodeResponseData decodes the field data.
func (d *responseDecoder) decodeResponseData() {
	at := -1 // offset of the result, which may come before its type
	d.decodeResponseObject(func(key string) {
		switch key {
		case "resultType":
			d.resultType = d.decodeJSONString()
		case "result":
			at = d.offset
			d.decodeResults()
		default:
			d.skipJSONValue()
		}
	})
	if end := d.offset; at >= 0 && !d.resultDecoded && d.failure == nil {
		d.offset = at
		d.decodeResults()
		d.offset = end
	}
}

// decodeResults decodes results of resultType. It skips them if the type is unknown yet.
func (d *responseDecoder) decodeResults() {
	d.resultDecoded, d.samples, d.resultFailure = true, nil, nil
	switch d.resultType {
	case "vector":
		if d.peekResponseToken() == 'n' {
			d.skipJSONValue()
			return
		}
		d.decodeResponseArray(func() { d.samples = append(d.samples, d.decodeResultSample()) })
	case "scalar":
		d.samples = append(d.samples, resultSample{Value: d.decodeTimedValue()})
	default:
		d.resultDecoded = false
		d.skipJSONValue()
	}
}

// decodeResultSample decodes a result: its labels and its value.
func (d *responseDecoder) decodeResultSample() resultSample {
	var s resultSample
	valued, histogram := false, false
	d.decodeResponseObject(func(key string) {
		switch key {
		case "metric":
			s.Metric = d.decodeResultLabels()
		case "value":
			s.Value, valued = d.decodeTimedValue(), true
		case "histogram":
			d.skipJSONValue()
			histogram = true
		default:
			d.skipJSONValue()
		}
	})
	if d.failure == nil && d.resultFailure == nil && !valued {
		d.resultFailure = newBackendFailuref(outcomeBadResponse, "the result %s has no value", formatResultLabels(s.Metric))
		if histogram {
			d.resultFailure = newBackendFailuref(outcomeBadResult, "the result %s is a native histogram: use a function that makes a number of it", formatResultLabels(s.Metric))
		}
	}
	return s
}

// decodeResultLabels decodes the labels of a result. Their names, and most values, repeat earlier results.
func (d *responseDecoder) decodeResultLabels() map[string]string {
	l := make(map[string]string, 4)
	d.decodeResponseObject(func(name string) { l[name] = d.decodeJSONString() })
	return l
}

// decodeTimedValue decodes a time and a number. strconv parses the spellings of NaN and infinities.
func (d *responseDecoder) decodeTimedValue() timedValue {
	var p timedValue
	n := 0
	d.decodeResponseArray(func() {
		switch n {
		case 0:
			seconds, err := strconv.ParseFloat(string(d.skipJSONValue()), 64)
			ok := false
			if p.at, ok = parseBackendSeconds(seconds); err != nil || !ok {
				d.failDecoding("a sample without a time")
			}
		case 1:
			var err error
			// Every reader of the API takes a number beyond the range of a float for an infinity.
			if p.value, err = strconv.ParseFloat(d.decodeJSONString(), 64); err != nil && !errors.Is(err, strconv.ErrRange) {
				d.failDecoding("a sample without a number")
			}
		default:
			d.failDecoding("a sample of more than time and number")
		}
		n++
	})
	if n != 2 {
		d.failDecoding("a sample of less than time and number")
	}
	return p
}
