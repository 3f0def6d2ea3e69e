package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// outcome is how a question to a server ended, as a label value.
type outcome string

const (
	succeeded    outcome = "ok"
	connect      outcome = "connect" // no connection, or a broken one
	timedOut     outcome = "timeout"
	tlsFailed    outcome = "tls"
	unauthorised outcome = "unauthorised"
	throttled    outcome = "throttled"
	serverError  outcome = "server_error" // 5xx
	badQuery     outcome = "bad_query"
	badRequest   outcome = "bad_request" // redirects and 4xx that do not concern the query
	badAnswer    outcome = "bad_answer"  // not the JSON that it should be
	tooLarge     outcome = "too_large"
	partial      outcome = "partial"
	badResult    outcome = "bad_result" // whole, but not what the rule promises
	otherFault   outcome = "other"

	// Not counted: no question was asked, or nobody waits for the answer.
	skipped   outcome = "skipped"
	cancelled outcome = "cancelled"
)

func outcomes() []outcome {
	return []outcome{
		succeeded, connect, timedOut, tlsFailed, unauthorised, throttled, serverError, badQuery, badRequest, badAnswer,
		tooLarge, partial, badResult, otherFault,
	}
}

// fault is why a question has no answer.
type fault struct {
	outcome outcome
	// text is the cause in a few words that hold no secret: it appears in the status of HPAs.
	text string
	// whole tells that the server will not answer other questions either.
	whole bool
	// retryAfter is how long the server wants to be left alone; 0 where it does not say.
	retryAfter time.Duration
	// since is since when it is so, where that is longer than this question.
	since time.Time
}

func faultf(o outcome, format string, args ...any) *fault {
	return &fault{outcome: o, text: fmt.Sprintf(format, args...)}
}

// elsewhere tells that another server of the same data may do better.
func (f *fault) elsewhere() bool {
	switch f.outcome {
	case connect, timedOut, tlsFailed, throttled, serverError, badAnswer, skipped:
		return true
	}
	return false
}

// kind is what the fault means for a read.
func (f *fault) kind() metric.Kind {
	if f.outcome == badQuery || f.outcome == badResult {
		return metric.KindInternal
	}
	return metric.KindUnavailable
}

// spares tells that repeating the question as often as ever burdens nobody.
func (f *fault) spares() bool {
	switch f.outcome {
	case partial, badResult, badAnswer:
		return true
	}
	return false
}

// causeOf distils an error of the HTTP client. What the net package says is full of addresses, and of URLs with what may
// be secret in them.
func causeOf(err error, patience time.Duration) *fault {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return faultf(timedOut, "timeout after %v", patience)
	}
	if f := tlsCause(err); f != nil {
		return f
	}
	if f := connectCause(err); f != nil {
		return f
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		return faultf(unauthorised, "credentials: %s %s: %v", file.Op, file.Path, file.Err)
	}
	text, _, _ := strings.Cut(innermost(err).Error(), "\n")
	if strings.HasPrefix(text, "oauth2: ") { // what the server of tokens says
		return faultf(unauthorised, "credentials: %s", clip(text))
	}
	return faultf(otherFault, "%s", clip(text))
}

func connectCause(err error) *fault {
	text := ""
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &dns):
		text = "no such host " + clip(dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		text = "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		text = "no route to host"
	case errors.Is(err, syscall.ETIMEDOUT):
		text = "connection timed out"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		text = "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed):
		text = "connection closed"
	case errors.As(err, &dial) && dial.Op == "dial":
		text = clip(innermost(err).Error())
	default:
		return nil
	}
	return &fault{outcome: connect, text: text, whole: true}
}

func tlsCause(err error) *fault {
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	text := ""
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		text = "certificate expired"
		if c := invalid.Cert; c != nil {
			text = fmt.Sprintf("certificate is valid from %s to %s only",
				c.NotBefore.UTC().Format(time.DateTime), c.NotAfter.UTC().Format(time.DateTime))
			if c.NotAfter.Before(time.Now()) {
				text = "certificate expired at " + c.NotAfter.UTC().Format(time.DateTime) + " UTC"
			}
		}
	case errors.As(err, &host):
		text = "certificate is for another name than " + clip(host.Host)
	case errors.As(err, &verification):
		text = "certificate not trusted"
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		text = "the server speaks plain HTTP"
	case errors.As(err, &alert):
		text = "handshake refused: " + clip(alert.Error())
	default:
		return nil
	}
	return &fault{outcome: tlsFailed, text: "TLS: " + text, whole: true}
}

func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// clip bounds a text that another program wrote.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// statusFault is what an answer's status means; nil where it is the answer to the question. It may read the body.
func statusFault(resp *http.Response, now time.Time) *fault {
	code := resp.StatusCode
	if code == http.StatusOK {
		return nil
	}
	words := serverWords(resp)
	text := "HTTP " + strconv.Itoa(code)
	if words.text != "" {
		text += ": " + words.text
	}
	switch {
	case code/100 == 3:
		return faultf(badRequest, "redirected to %s, not followed: correct the url", location(resp))
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return faultf(unauthorised, "unauthorised (%s): check the credentials under http", text)
	case code == http.StatusTooManyRequests:
		return &fault{outcome: throttled, text: text, whole: true, retryAfter: retryAfter(resp, now)}
	case code/100 == 5:
		return &fault{outcome: serverError, text: text, retryAfter: retryAfter(resp, now)}
	case words.json && (code == http.StatusBadRequest || code == http.StatusUnprocessableEntity):
		return faultf(badQuery, "refuses the query: %s", words.text)
	case code == http.StatusMethodNotAllowed:
		return faultf(badRequest, "%s: try method: GET", text)
	case code == http.StatusRequestURITooLong:
		return faultf(badRequest, "%s: try method: POST", text)
	case code == http.StatusNotFound:
		return faultf(badRequest, "%s: no Prometheus API at this url", text)
	}
	return faultf(badRequest, "%s", text)
}

// words are what a server says beside a status.
type words struct {
	text string
	json bool // by the rules of the Prometheus API
}

// serverWords reads the beginning of an error's body: the error of the API, or a line of text. Pages for a browser say
// nothing that fits here.
func serverWords(resp *http.Response) words {
	const enough = 16 << 10
	body, _ := io.ReadAll(io.LimitReader(resp.Body, enough)) // what came before an error is all there is
	var api struct{ Error string }
	if json.Unmarshal(body, &api) == nil && api.Error != "" {
		return words{clip(api.Error), true}
	}
	if mediaType(resp) != "text/plain" {
		return words{}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(strings.ToValidUTF8(string(body), "")), "\n")
	return words{text: clip(line)}
}

// location is where a redirect points, without what may be secret.
func location(resp *http.Response) string {
	u, err := resp.Location()
	if err != nil {
		return "nowhere"
	}
	return clip(shown(u))
}

// maxPause is the longest time for which a server or a question is left alone.
const maxPause = time.Minute

// retryAfter is how long the server wants to be left alone, at most maxPause.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	header := resp.Header.Get("Retry-After")
	if s, err := strconv.ParseUint(header, 10, 31); err == nil {
		return min(maxPause, time.Duration(s)*time.Second)
	}
	if t, err := http.ParseTime(header); err == nil {
		return min(maxPause, max(0, t.Sub(now)))
	}
	return 0
}

// pause is how long to wait after a number of failures in a row: refresh, twice that, and so on up to maxPause.
func pause(refresh time.Duration, failures int) time.Duration {
	d := min(refresh, maxPause)
	for range failures - 1 {
		if d = min(maxPause, 2*d); d == maxPause {
			break
		}
	}
	return d
}
