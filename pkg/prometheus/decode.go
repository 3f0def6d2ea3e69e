package prometheus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// reply is an answer of the HTTP API to an instant query.
type reply struct {
	samples []sample
	// warnings say why the answer may not be whole, infos what else the server noticed.
	warnings, infos []string
}

// sample is one result of a query.
type sample struct {
	Metric map[string]string `json:"metric"`
	Value  *point            `json:"value"`
	// Histogram is in the place of Value where the result is a native histogram.
	Histogram json.RawMessage `json:"histogram"`
}

// point is a number at a time: [1435781451.781,"1"].
type point struct {
	at    time.Time
	value float64
}

// UnmarshalJSON implements json.Unmarshaler. NaN and infinities are spelt as Go's strconv has them.
func (p *point) UnmarshalJSON(data []byte) error {
	text, isArray := strings.CutPrefix(string(data), "[")
	seconds, value, isPair := strings.Cut(strings.TrimSuffix(text, "]"), ",")
	value = strings.TrimSpace(value)
	if !isArray || !isPair || len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return fmt.Errorf("%s is no sample", clip(string(data)))
	}
	at, err := strconv.ParseFloat(strings.TrimSpace(seconds), 64)
	if err != nil {
		return fmt.Errorf("%s has no time", clip(string(data)))
	}
	ok := false
	if p.at, ok = seconds2time(at); !ok {
		return fmt.Errorf("%s has no time", clip(string(data)))
	}
	p.value, err = strconv.ParseFloat(value[1:len(value)-1], 64)
	if errors.Is(err, strconv.ErrRange) { // as infinite, which is what it is to every reader
		err = nil
	}
	if err != nil {
		return fmt.Errorf("%s has no number", clip(string(data)))
	}
	return nil
}

// seconds2time is a time in seconds since the epoch, to the millisecond; false for what is none.
func seconds2time(s float64) (time.Time, bool) {
	const most = 1 << 40 // in seconds: the year 36812
	if math.IsNaN(s) || math.Abs(s) > most {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(s * 1000))), true
}

// envelope is what all answers of the API have in common.
type envelope struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	Infos     []string `json:"infos"`
	// IsPartial is VictoriaMetrics's way to say that a node of its cluster did not answer.
	IsPartial bool `json:"isPartial"`
}

// fault is what the envelope alone says.
func (e envelope) fault() *fault {
	switch {
	case e.Status == "success":
		return nil
	case e.Status != "error":
		return faultf(badAnswer, "the answer is JSON, but not of the Prometheus API: its status is %q", clip(e.Status))
	}
	text := clip(e.Error)
	if e.ErrorType == "bad_data" || e.ErrorType == "execution" {
		return faultf(badQuery, "refuses the query: %s", text)
	}
	return faultf(serverError, "%s: %s", clip(e.ErrorType), text)
}

// notices sorts warnings from infos. Servers of 2023 and 2024 put both into one list.
func (e envelope) notices() (warnings, infos []string) {
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

// readReply reads an answer to an instant query of at most that many bytes.
func readReply(resp *http.Response, most int64, patience time.Duration) (*reply, *fault) {
	body, f := answerBody(resp, most)
	if f != nil {
		return nil, f
	}
	data := bytes.NewBuffer(make([]byte, 0, max(bytes.MinRead, min(most, resp.ContentLength+bytes.MinRead))))
	if _, err := data.ReadFrom(body); err != nil {
		return nil, readFault(err, most, patience)
	}
	return decode(data.Bytes())
}

// answerBody is the body of an answer as far as it may be read.
func answerBody(resp *http.Response, most int64) (*bounded, *fault) {
	switch t := mediaType(resp); t {
	case "application/json":
	case "text/html":
		return nil, faultf(badAnswer, "the answer is an HTML page, not JSON, perhaps for logging in: check the url and the credentials")
	default:
		return nil, faultf(badAnswer, "the answer is %q, not JSON: check the url", clip(t))
	}
	if resp.ContentLength > most {
		return nil, readFault(errTooLarge, most, 0)
	}
	return &bounded{r: resp.Body, left: most}, nil
}

func mediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return resp.Header.Get("Content-Type")
	}
	return t
}

var errTooLarge = errors.New("answer too large")

// readFault distils an error of reading a body. It concerns the one answer: its server was there.
func readFault(err error, most int64, patience time.Duration) *fault {
	if errors.Is(err, errTooLarge) {
		return faultf(tooLarge, "the answer has more than the %d bytes of maxResponseBytes", most)
	}
	f := causeOf(err, patience)
	if f.outcome == connect {
		f.text += " in the middle of the answer"
		f.whole = false
	}
	return f
}

// bounded reads at most left bytes; one more is errTooLarge.
type bounded struct {
	r    io.Reader
	left int64
	err  error // that ended it, other than io.EOF
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		err = errTooLarge
	}
	b.left -= int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// decode reads an answer to an instant query.
func decode(data []byte) (*reply, *fault) {
	var answer struct {
		envelope
		Data struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, decodeFault(err, len(data))
	}
	if f := answer.fault(); f != nil {
		return nil, f
	}
	r := &reply{}
	r.warnings, r.infos = answer.notices()
	switch t := answer.Data.ResultType; t {
	case "vector":
		if err := json.Unmarshal(answer.Data.Result, &r.samples); err != nil {
			return nil, decodeFault(err, len(data))
		}
	case "scalar":
		r.samples = []sample{{Value: &point{}}}
		if err := json.Unmarshal(answer.Data.Result, r.samples[0].Value); err != nil {
			return nil, decodeFault(err, len(data))
		}
	case "":
		return nil, faultf(badAnswer, "the answer has no result")
	default:
		return nil, faultf(badResult, "the result is a %s, not a vector", clip(t))
	}
	return r, r.check()
}

// check finds what is no number.
func (r *reply) check() *fault {
	for _, s := range r.samples {
		switch {
		case s.Histogram != nil:
			return faultf(badResult, "the result %s is a native histogram: use a function that makes a number of it", text(s.Metric))
		case s.Value == nil:
			return faultf(badAnswer, "the result %s has no value", text(s.Metric))
		}
	}
	return nil
}

func decodeFault(err error, size int) *fault {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Offset >= int64(size) || errors.Is(err, io.ErrUnexpectedEOF) {
		return faultf(badAnswer, "the answer is truncated JSON of %d bytes", size)
	}
	return faultf(badAnswer, "the answer is not JSON of the Prometheus API: %s", clip(err.Error()))
}
