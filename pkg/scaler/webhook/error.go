package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Error is the error of a failed post. It contains no part of the URL.
type Error struct {
	message string
	// Status is the status of the response; 0: no response.
	Status int
	// RetryAfter is the pause that the receiver asks for; 0: unknown.
	RetryAfter time.Duration
	cause      error // without an address, or nil
	permanent  bool
}

// Error returns a short message.
func (e *Error) Error() string { return e.message }

// Unwrap returns the error of a context or of the operating system, or nil.
func (e *Error) Unwrap() error { return e.cause }

// permanentStatuses are the statuses that a retry of the same message gets again, because the message or the endpoint is wrong. All other
// statuses can pass, also the status of a withdrawn URL: its file can change.
var permanentStatuses = []int{
	http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
	http.StatusUnprocessableEntity,
}

// IsPermanent reports whether a retry of the same message is useless.
func (e *Error) IsPermanent() bool {
	return e.permanent || e.Status/100 == 3 || slices.Contains(permanentStatuses, e.Status)
}

// newWebhookTransportError converts an error of the HTTP client, and drops the addresses in its text.
func newWebhookTransportError(err error) *Error {
	var dns *net.DNSError
	var host x509.HostnameError
	var untrusted *tls.CertificateVerificationError
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.Is(err, errForbiddenAddress):
		return &Error{message: errForbiddenAddress.Error(), cause: errForbiddenAddress, permanent: true}
	case errors.Is(err, context.Canceled):
		return &Error{message: "cancelled before the response", cause: context.Canceled}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Error{message: "no response in time", cause: context.DeadlineExceeded}
	case errors.As(err, &dns):
		return &Error{message: "look up the host: " + dns.Err}
	case errors.As(err, &host):
		return &Error{message: "the certificate is for another host"}
	case errors.As(err, &untrusted):
		return &Error{message: "the certificate is not trusted"}
	case errors.As(err, &errno):
		return &Error{message: errno.Error(), cause: errno}
	}
	return &Error{message: "connection broken, or not an HTTP server"}
}

// shortAnswerPattern matches the short error words of services, such as invalid_payload. A longer body may repeat the request.
var shortAnswerPattern = regexp.MustCompile(`^[A-Za-z_ ]{1,64}$`)

func newWebhookResponseError(resp *http.Response, u *url.URL, answer []byte, now time.Time) *Error {
	e := &Error{Status: resp.StatusCode, RetryAfter: parseWebhookRetryAfter(resp.Header.Get("Retry-After"), now)}
	e.message = "status " + strconv.Itoa(resp.StatusCode)
	text := strings.TrimSpace(string(answer))
	if e.Status/100 == 3 {
		e.message += ": a redirect, which is not followed; write the new URL into the file"
	} else if shortAnswerPattern.MatchString(text) && !strings.Contains(strings.ToLower(u.String()), strings.ToLower(text)) {
		e.message += ": " + text
	}
	return e
}

// parseWebhookRetryAfter parses the header Retry-After, which holds seconds or a date. It returns 0 for any other text, and cuts a number of seconds that is
// longer than any pause.
func parseWebhookRetryAfter(header string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(header, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(s) * time.Second //nolint:gosec // of 31 bits
	}
	if t, err := http.ParseTime(header); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}
