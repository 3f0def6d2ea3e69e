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

// requestOutcome is how a question to a server ended, as a label value.
type requestOutcome string

const (
	outcomeOK           requestOutcome = "ok"
	outcomeConnect      requestOutcome = "connect" // no connection, or a broken one
	outcomeTimeout      requestOutcome = "timeout"
	outcomeTLS          requestOutcome = "tls"
	outcomeUnauthorised requestOutcome = "unauthorised"
	outcomeThrottled    requestOutcome = "throttled"
	outcomeServerError  requestOutcome = "server_error" // 5xx
	outcomeBadQuery     requestOutcome = "bad_query"
	outcomeBadRequest   requestOutcome = "bad_request" // redirects and 4xx that do not concern the query
	outcomeBadResponse  requestOutcome = "bad_answer"  // not the JSON that it should be
	outcomeTooLarge     requestOutcome = "too_large"
	outcomePartial      requestOutcome = "partial"
	outcomeBadResult    requestOutcome = "bad_result" // whole, but not what the rule promises
	outcomeOther        requestOutcome = "other"

	// Not counted: no question was asked, or nobody waits for the answer.
	outcomeSkipped   requestOutcome = "skipped"
	outcomeCancelled requestOutcome = "cancelled"
)

func countedOutcomes() []requestOutcome {
	return []requestOutcome{
		outcomeOK, outcomeConnect, outcomeTimeout, outcomeTLS, outcomeUnauthorised, outcomeThrottled, outcomeServerError, outcomeBadQuery, outcomeBadRequest, outcomeBadResponse,
		outcomeTooLarge, outcomePartial, outcomeBadResult, outcomeOther,
	}
}

// requestFailure is why a question has no answer.
type requestFailure struct {
	outcome requestOutcome
	// text is the cause in a few words that hold no secret: it appears in the status of HPAs.
	text string
	// serverWide tells that the server will not answer other questions either.
	serverWide bool
	// retryAfter is how long the server wants to be left alone; 0 where it does not say.
	retryAfter time.Duration
	// since is since when it is so, where that is longer than this question.
	since time.Time
}

func newRequestFailuref(o requestOutcome, format string, args ...any) *requestFailure {
	return &requestFailure{outcome: o, text: fmt.Sprintf(format, args...)}
}

// allowsFailover tells that another server of the same data may do better.
func (f *requestFailure) allowsFailover() bool {
	switch f.outcome {
	case outcomeConnect, outcomeTimeout, outcomeTLS, outcomeThrottled, outcomeServerError, outcomeBadResponse, outcomeSkipped:
		return true
	}
	return false
}

// errorKind is what the fault means for a read.
func (f *requestFailure) errorKind() metric.Kind {
	if f.outcome == outcomeBadQuery || f.outcome == outcomeBadResult {
		return metric.KindInternal
	}
	return metric.KindUnavailable
}

// allowsRegularRefresh tells that repeating the question as often as ever burdens nobody.
func (f *requestFailure) allowsRegularRefresh() bool {
	switch f.outcome {
	case outcomePartial, outcomeBadResult, outcomeBadResponse:
		return true
	}
	return false
}

// classifyTransportError distils an error of the HTTP client. What the net package says is full of addresses, and of URLs with what may
// be secret in them.
func classifyTransportError(err error, patience time.Duration) *requestFailure {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return newRequestFailuref(outcomeTimeout, "timeout after %v", patience)
	}
	if f := classifyTLSError(err); f != nil {
		return f
	}
	if f := classifyConnectError(err); f != nil {
		return f
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		return newRequestFailuref(outcomeUnauthorised, "credentials: %s %s: %v", file.Op, file.Path, file.Err)
	}
	text, _, _ := strings.Cut(innermostError(err).Error(), "\n")
	if strings.HasPrefix(text, "oauth2: ") { // what the server of tokens says
		return newRequestFailuref(outcomeUnauthorised, "credentials: %s", clipServerText(text))
	}
	return newRequestFailuref(outcomeOther, "%s", clipServerText(text))
}

func classifyConnectError(err error) *requestFailure {
	text := ""
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &dns):
		text = "no such host " + clipServerText(dns.Name)
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
		text = clipServerText(innermostError(err).Error())
	default:
		return nil
	}
	return &requestFailure{outcome: outcomeConnect, text: text, serverWide: true}
}

func classifyTLSError(err error) *requestFailure {
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
		text = "certificate is for another name than " + clipServerText(host.Host)
	case errors.As(err, &verification):
		text = "certificate not trusted"
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		text = "the server speaks plain HTTP"
	case errors.As(err, &alert):
		text = "handshake refused: " + clipServerText(alert.Error())
	default:
		return nil
	}
	return &requestFailure{outcome: outcomeTLS, text: "TLS: " + text, serverWide: true}
}

func innermostError(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// clipServerText bounds a text that another program wrote.
func clipServerText(s string) string {
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// checkHTTPStatus is what an answer's status means; nil where it is the answer to the question. It may read the body.
func checkHTTPStatus(resp *http.Response, now time.Time) *requestFailure {
	code := resp.StatusCode
	if code == http.StatusOK {
		return nil
	}
	words := readServerMessage(resp)
	text := "HTTP " + strconv.Itoa(code)
	if words.text != "" {
		text += ": " + words.text
	}
	switch {
	case code/100 == 3:
		return newRequestFailuref(outcomeBadRequest, "redirected to %s, not followed: correct the url", redirectLocation(resp))
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return newRequestFailuref(outcomeUnauthorised, "unauthorised (%s): check the credentials under http", text)
	case code == http.StatusTooManyRequests:
		return &requestFailure{outcome: outcomeThrottled, text: text, serverWide: true, retryAfter: parseRetryAfter(resp, now)}
	case code/100 == 5:
		return &requestFailure{outcome: outcomeServerError, text: text, retryAfter: parseRetryAfter(resp, now)}
	case words.fromAPI && (code == http.StatusBadRequest || code == http.StatusUnprocessableEntity):
		return newRequestFailuref(outcomeBadQuery, "refuses the query: %s", words.text)
	case code == http.StatusMethodNotAllowed:
		return newRequestFailuref(outcomeBadRequest, "%s: try method: GET", text)
	case code == http.StatusRequestURITooLong:
		return newRequestFailuref(outcomeBadRequest, "%s: try method: POST", text)
	case code == http.StatusNotFound:
		return newRequestFailuref(outcomeBadRequest, "%s: no Prometheus API at this url", text)
	}
	return newRequestFailuref(outcomeBadRequest, "%s", text)
}

// serverMessage are what a server says beside a status.
type serverMessage struct {
	text    string
	fromAPI bool // by the rules of the Prometheus API
}

// readServerMessage reads the beginning of an error's body: the error of the API, or a line of text. Pages for a browser say
// nothing that fits here.
func readServerMessage(resp *http.Response) serverMessage {
	const enough = 16 << 10
	body, _ := io.ReadAll(io.LimitReader(resp.Body, enough)) // what came before an error is all there is
	var api struct{ Error string }
	if json.Unmarshal(body, &api) == nil && api.Error != "" {
		return serverMessage{clipServerText(api.Error), true}
	}
	if responseMediaType(resp) != "text/plain" {
		return serverMessage{}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(strings.ToValidUTF8(string(body), "")), "\n")
	return serverMessage{text: clipServerText(line)}
}

// redirectLocation is where a redirect points, without what may be secret.
func redirectLocation(resp *http.Response) string {
	u, err := resp.Location()
	if err != nil {
		return "nowhere"
	}
	return clipServerText(redactURL(u))
}

// maxRetryDelay is the longest time for which a server or a question is left alone.
const maxRetryDelay = time.Minute

// parseRetryAfter is how long the server wants to be left alone, at most maxPause.
func parseRetryAfter(resp *http.Response, now time.Time) time.Duration {
	header := resp.Header.Get("Retry-After")
	if s, err := strconv.ParseUint(header, 10, 31); err == nil {
		return min(maxRetryDelay, time.Duration(s)*time.Second)
	}
	if t, err := http.ParseTime(header); err == nil {
		return min(maxRetryDelay, max(0, t.Sub(now)))
	}
	return 0
}

// backendRetryDelay is how long to wait after a number of failures in a row: refresh, twice that, and so on up to maxPause.
func backendRetryDelay(refresh time.Duration, failures int) time.Duration {
	d := min(refresh, maxRetryDelay)
	for range failures - 1 {
		if d = min(maxRetryDelay, 2*d); d == maxRetryDelay {
			break
		}
	}
	return d
}
