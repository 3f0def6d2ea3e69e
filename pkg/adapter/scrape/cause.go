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
	code int
	to   string // where a redirect points, without what may be secret
}

func newStatusError(code int, location string) *statusError {
	e := &statusError{code: code}
	if u, err := url.Parse(location); code/100 == 3 && err == nil {
		e.to = strings.TrimPrefix(u.Scheme+"://"+u.Host+u.Path, "://")
	}
	return e
}

// Error is "HTTP 500", or "redirected to https://host/path, not followed".
func (e *statusError) Error() string {
	if e.to != "" {
		return "redirected to " + clip(e.to) + ", not followed"
	}
	return "HTTP " + strconv.Itoa(e.code)
}

// cause is why a scrape failed, for people and for the self-metrics. The zero value: it did not.
type cause struct {
	outcome string // one of the out* constants
	text    string // a few words that hold no secret: they appear in the status of HPAs
}

// The outcomes of a scrape, as label values.
const (
	outOK      = "ok"
	outTimeout = "timeout"
	outConnect = "connect" // no connection, or a broken one
	outTLS     = "tls"
	outStatus  = "http_status"
	outPage    = "page_refused"
	outStore   = "store_refused"
	outOther   = "other"
)

func outcomes() []string {
	return []string{outOK, outTimeout, outConnect, outTLS, outStatus, outPage, outStore, outOther}
}

// cause distils a scrape's outcome.
func (o outcome) cause(timeout time.Duration) cause {
	switch {
	case o.err != nil:
		return causeOf(o.err, timeout)
	case o.refused != nil:
		return cause{outStore, clip(o.refused.Error())}
	default:
		return cause{outcome: outOK}
	}
}

// causeOf distils an error of a fetch. What the net package says is full of addresses and of words for
// programmers; what matters to whoever reads it is one of a few things.
func causeOf(err error, timeout time.Duration) cause {
	var status *statusError
	var page *exposition.Error
	switch {
	case errors.As(err, &page):
		return cause{outPage, page.Detail}
	case errors.As(err, &status):
		return cause{outStatus, status.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return cause{outTimeout, "timeout after " + timeout.String()}
	}
	if text := tlsCause(err); text != "" {
		return cause{outTLS, text}
	}
	if text := connectCause(err); text != "" {
		return cause{outConnect, text}
	}
	return cause{outOther, clip(innermost(err).Error())}
}

func connectCause(err error) string {
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

func tlsCause(err error) string {
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
	const most = 100
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
