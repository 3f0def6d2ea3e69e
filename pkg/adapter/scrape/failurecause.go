package scrape

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

var errInvalidURL = errors.New("invalid URL")

// statusError is an answer that is not 200.
type statusError struct {
	code       int
	redirectTo string // where a redirect points, without what may be secret
}

func newStatusError(code int, location string) *statusError {
	e := &statusError{code: code}
	if u, err := url.Parse(location); code/100 == 3 && err == nil {
		e.redirectTo = strings.TrimPrefix(u.Scheme+"://"+u.Host+u.Path, "://")
	}
	return e
}

// Error is "HTTP 500", or "redirected to https://host/path, not followed".
func (e *statusError) Error() string {
	if e.redirectTo != "" {
		return "redirected to " + clipCauseText(e.redirectTo) + ", not followed"
	}
	return "HTTP " + strconv.Itoa(e.code)
}

// failureCause is why a scrape failed, for people and for the self-metrics. The zero value: it did not.
type failureCause struct {
	outcome string // one of the out* constants
	text    string // a few words that hold no secret: they appear in the status of HPAs
}

// The outcomes of a scrape, as label values.
const (
	outcomeOK            = "ok"
	outcomeTimeout       = "timeout"
	outcomeConnect       = "connect" // no connection, or a broken one
	outcomeTLS           = "tls"
	outcomeStatus        = "http_status"
	outcomePageRejected  = "page_refused"
	outcomeStoreRejected = "store_refused"
	outcomeOther         = "other"
)

func outcomeLabels() []string {
	return []string{outcomeOK, outcomeTimeout, outcomeConnect, outcomeTLS, outcomeStatus, outcomePageRejected, outcomeStoreRejected, outcomeOther}
}

// classifyOutcome distils a scrape's outcome.
func (o scrapeOutcome) classifyOutcome(timeout time.Duration) failureCause {
	switch {
	case o.err != nil:
		return classifyFetchError(o.err, timeout)
	case o.rejected != nil:
		return failureCause{outcomeStoreRejected, clipCauseText(o.rejected.Error())}
	default:
		return failureCause{outcome: outcomeOK}
	}
}

// classifyFetchError distils an error of a fetch. What the net package says is full of addresses and of words for
// programmers; what matters to whoever reads it is one of a few things.
func classifyFetchError(err error, timeout time.Duration) failureCause {
	var status *statusError
	var page *exposition.Error
	switch {
	case errors.As(err, &page):
		return failureCause{outcomePageRejected, page.Detail}
	case errors.As(err, &status):
		return failureCause{outcomeStatus, status.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return failureCause{outcomeTimeout, "timeout after " + timeout.String()}
	}
	if text := describeTLSError(err); text != "" {
		return failureCause{outcomeTLS, text}
	}
	if text := describeConnectError(err); text != "" {
		return failureCause{outcomeConnect, text}
	}
	return failureCause{outcomeOther, clipCauseText(unwrapFully(err).Error())}
}

func describeConnectError(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to host"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed):
		return "connection closed"
	case errors.As(err, &dns):
		return "no such host"
	}
	return ""
}

func describeTLSError(err error) string {
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var host x509.HostnameError
	switch {
	case errors.As(err, &host):
		return "TLS: certificate is for another name"
	case errors.As(err, &verification):
		return "TLS: certificate not trusted"
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return "TLS: the target speaks plain HTTP"
	case errors.As(err, &alert):
		return "TLS: handshake refused"
	}
	return ""
}

func unwrapFully(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// clipCauseText bounds a text that another program wrote.
func clipCauseText(s string) string {
	const most = 100
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
