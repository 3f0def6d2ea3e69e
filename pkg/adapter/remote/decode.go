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

// reply is an answer of the HTTP API to an instant query.
type reply struct {
	samples []sample
	// warnings say why the answer may not be whole, infos what else the server noticed.
	warnings, infos []string
}

// sample is one result of a query.
type sample struct {
	Metric map[string]string
	Value  point
}

// point is a number at a time: [1435781451.781,"1"].
type point struct {
	at    time.Time
	value float64
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
	Status    string
	ErrorType string
	Error     string
	Warnings  []string
	Infos     []string
	// IsPartial is VictoriaMetrics's way to say that a node of its cluster did not answer.
	IsPartial bool
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

// decode reads an answer to an instant query. It is done by hand because there are many results every few seconds:
// encoding/json takes more than three times as long (BenchmarkDecode).
func decode(data []byte) (*reply, *fault) {
	d := &decoder{data: data, names: map[string]string{}}
	var e envelope
	d.object(func(key string) {
		switch key {
		case "data":
			d.result()
		case "status":
			e.Status = d.text()
		case "errorType":
			e.ErrorType = d.text()
		case "error":
			e.Error = d.text()
		case "warnings":
			e.Warnings = d.texts()
		case "infos":
			e.Infos = d.texts()
		case "isPartial":
			e.IsPartial = string(d.skip()) == "true"
		default:
			d.skip()
		}
	})
	if d.peek() != 0 {
		d.fail("more than one value")
	}
	if d.fault != nil {
		return nil, d.fault
	}
	if f := e.fault(); f != nil {
		return nil, f
	}
	switch {
	case d.kind == "", !d.read && (d.kind == "vector" || d.kind == "scalar"):
		return nil, faultf(badAnswer, "the answer has no result")
	case !d.read:
		return nil, faultf(badResult, "the result is a %q, not a vector", clip(d.kind))
	}
	r := &reply{samples: d.samples}
	r.warnings, r.infos = e.notices()
	return r, d.odd
}

// result reads the data of an answer.
func (d *decoder) result() {
	at := -1 // of a result that came before its type
	d.object(func(key string) {
		switch key {
		case "resultType":
			d.kind = d.text()
		case "result":
			at = d.at
			d.results()
		default:
			d.skip()
		}
	})
	if end := d.at; at >= 0 && !d.read && d.fault == nil {
		d.at = at
		d.results()
		d.at = end
	}
}

// results reads results of the kind that is known by now.
func (d *decoder) results() {
	d.read, d.samples, d.odd = true, nil, nil
	switch d.kind {
	case "vector":
		if d.peek() == 'n' {
			d.skip()
			return
		}
		d.array(func() { d.samples = append(d.samples, d.sample()) })
	case "scalar":
		d.samples = append(d.samples, sample{Value: d.point()})
	default:
		d.read = false
		d.skip()
	}
}

func (d *decoder) sample() sample {
	var s sample
	valued, histogram := false, false
	d.object(func(key string) {
		switch key {
		case "metric":
			s.Metric = d.labels()
		case "value":
			s.Value, valued = d.point(), true
		case "histogram":
			d.skip()
			histogram = true
		default:
			d.skip()
		}
	})
	if d.fault == nil && d.odd == nil && !valued {
		d.odd = faultf(badAnswer, "the result %s has no value", text(s.Metric))
		if histogram {
			d.odd = faultf(badResult, "the result %s is a native histogram: use a function that makes a number of it", text(s.Metric))
		}
	}
	return s
}

// labels reads the labels of a result. Their names, and most values, are those of the results before.
func (d *decoder) labels() map[string]string {
	l := make(map[string]string, 4)
	d.object(func(name string) { l[name] = d.text() })
	return l
}

// point reads a sample. NaN and infinities are spelt as Go's strconv has them.
func (d *decoder) point() point {
	var p point
	n := 0
	d.array(func() {
		switch n {
		case 0:
			seconds, err := strconv.ParseFloat(string(d.skip()), 64)
			ok := false
			if p.at, ok = seconds2time(seconds); err != nil || !ok {
				d.fail("a sample without a time")
			}
		case 1:
			var err error
			// Beyond the range of a float it is infinite to every reader.
			if p.value, err = strconv.ParseFloat(d.text(), 64); err != nil && !errors.Is(err, strconv.ErrRange) {
				d.fail("a sample without a number")
			}
		default:
			d.fail("a sample of more than time and number")
		}
		n++
	})
	if n != 2 {
		d.fail("a sample of less than time and number")
	}
	return p
}
