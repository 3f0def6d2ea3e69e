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

// Error is why a post was not taken. No part of the URL stands in it.
type Error struct {
	message string
	// Status is that of the answer; 0: there was none.
	Status int
	// RetryAfter is how long the receiver wants to be left alone; 0: it does not say.
	RetryAfter time.Duration
	cause      error // without an address, or nil
}

// Error is in a few words.
func (e *Error) Error() string { return e.message }

// Unwrap is the end of a context, or what the operating system said.
func (e *Error) Unwrap() error { return e.cause }

// permanentStatuses are the statuses that the same message meets again: it is the message that is wrong, or what is asked there.
// Others pass, too those of a URL that was withdrawn: its file is written anew.
var permanentStatuses = []int{
	http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
	http.StatusUnprocessableEntity,
}

// IsPermanent tells that sending the same once more is of no use.
func (e *Error) IsPermanent() bool {
	return e.Status/100 == 3 || slices.Contains(permanentStatuses, e.Status)
}

// newTransportError is an error of the client without the addresses that its own text has.
func newTransportError(err error) *Error {
	var dns *net.DNSError
	var host x509.HostnameError
	var untrusted *tls.CertificateVerificationError
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return &Error{message: "given up before it was answered", cause: context.Canceled}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Error{message: "no answer in time", cause: context.DeadlineExceeded}
	case errors.As(err, &dns):
		return &Error{message: "look up the host: " + dns.Err}
	case errors.As(err, &host):
		return &Error{message: "the certificate is for another host"}
	case errors.As(err, &untrusted):
		return &Error{message: "the certificate is not trusted"}
	case errors.As(err, &errno):
		return &Error{message: errno.Error(), cause: errno}
	}
	return &Error{message: "the connection broke, or what answered speaks no HTTP"}
}

// shortAnswerPattern is what services say in their answers, such as invalid_payload; anything longer may repeat what was sent.
var shortAnswerPattern = regexp.MustCompile(`^[A-Za-z_ ]{1,64}$`)

func newAnswerError(resp *http.Response, u *url.URL, answer []byte, now time.Time) *Error {
	e := &Error{Status: resp.StatusCode, RetryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), now)}
	e.message = "status " + strconv.Itoa(resp.StatusCode)
	said := strings.TrimSpace(string(answer))
	if shortAnswerPattern.MatchString(said) && !strings.Contains(strings.ToLower(u.String()), strings.ToLower(said)) {
		e.message += ": " + said
	}
	return e
}

// parseRetryAfter reads Retry-After: seconds, or a date.
func parseRetryAfter(header string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(header); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}
