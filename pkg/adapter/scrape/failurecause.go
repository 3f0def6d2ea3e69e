package scrape

// Why a scrape failed, as a label value and as a few words for people.

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/netcause"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape/http1"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// maxCauseBytes bounds a text from another program.
const maxCauseBytes = 100

// maxRejectionBytes bounds the reason of a rejected family: a sentence of the store with the name of a namespace.
const maxRejectionBytes = 200

var errInvalidURL = errors.New("invalid URL")

// statusError is a response with a status other than 200.
type statusError struct {
	code       int
	location   string // of a redirect, as the response says
	redirectTo string // the URL of a redirect without user and query, which may hold secrets
	wantsTLS   bool   // the response says that the port expects TLS
}

// speaksTLS is the cause of a failure at a port that expects TLS.
const speaksTLS = "the target speaks TLS: annotate prometheus.io/scheme: \"https\""

// wantsCredentials is the cause of a failure at a page behind a password or token: the adapter would send it to whatever has the pod's address.
const wantsCredentials = "the page wants credentials, and the adapter sends none"

func newTargetStatusError(code int, location string, wantsTLS bool) *statusError {
	e := &statusError{code: code, wantsTLS: wantsTLS}
	if u, err := url.Parse(location); code/100 == 3 && err == nil {
		e.location = location
		e.redirectTo = strings.TrimPrefix(u.Scheme+"://"+u.Host+u.EscapedPath(), "://")
	}
	return e
}

// Error returns "HTTP 500", or "redirected to https://host/path, not followed".
func (e *statusError) Error() string {
	if e.redirectTo != "" {
		return "redirected to " + plaintext.Clip(e.redirectTo, maxCauseBytes) + ", not followed"
	}
	text := "HTTP " + strconv.Itoa(e.code)
	switch {
	case e.wantsTLS:
		text += ": " + speaksTLS
	case e.code == http.StatusUnauthorized:
		text += ": " + wantsCredentials
	}
	return text
}

// failureCause is the reason of a failed scrape, for people and for the self-metrics.
type failureCause struct {
	outcome string // an outcome* constant
	text    string // a few words without a secret: they appear in the status of HPAs; empty unless the whole scrape failed
}

// Outcomes of a scrape, as label values.
const (
	outcomeSuccess       = "success"
	outcomeTimeout       = "timeout"
	outcomeConnect       = "connect" // no connection, or a broken connection
	outcomeTLS           = "tls"
	outcomeStatus        = "http_status"
	outcomePageRejected  = "page_rejected"
	outcomeStoreRejected = "store_rejected"
	outcomePanic         = "panic"
	outcomeOther         = "other"
)

func listScrapeOutcomes() []string {
	return []string{outcomeSuccess, outcomeTimeout, outcomeConnect, outcomeTLS, outcomeStatus, outcomePageRejected, outcomeStoreRejected, outcomePanic, outcomeOther}
}

// classifyScrapeOutcome returns the cause of a scrape's outcome.
func (o scrapeOutcome) classifyScrapeOutcome(timeout time.Duration) failureCause {
	switch {
	case o.err != nil:
		return classifyFetchError(o.err, timeout)
	case o.noRoom:
		return failureCause{outcome: outcomeStoreRejected}
	case o.rejected != nil:
		return failureCause{outcome: outcomePageRejected}
	default:
		return failureCause{outcome: outcomeSuccess}
	}
}

// describeFamilyRejection returns the reason of a rejected family in a few words.
func describeFamilyRejection(err error) string {
	var page *exposition.Error
	if errors.As(err, &page) {
		return page.Detail
	}
	return plaintext.Clip(err.Error(), maxRejectionBytes)
}

// classifyOtherProtocol returns the cause of a target that does not speak HTTP/1.
func classifyOtherProtocol(e *http1.OtherProtocolError) failureCause {
	switch e.Protocol {
	case "TLS":
		return failureCause{outcomeTLS, speaksTLS}
	case "":
		return failureCause{outcomeOther, "not HTTP: " + plaintext.Clip(e.FirstLine, maxCauseBytes)}
	}
	return failureCause{outcomeOther, "the target speaks " + e.Protocol + " only, as gRPC ports do: annotate prometheus.io/port"}
}

// isConnectionRefused reports whether nothing listens at a target's address.
func isConnectionRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// classifyFetchError returns the cause of a fetch error. Errors of package net are full of addresses and of words for
// programmers; the readers of an HPA's status need one of a few causes.
func classifyFetchError(err error, timeout time.Duration) failureCause {
	var status *statusError
	var page *exposition.Error
	var other *http1.OtherProtocolError
	switch {
	case errors.As(err, &page):
		return failureCause{outcomePageRejected, page.Detail}
	case errors.As(err, &other):
		return classifyOtherProtocol(other)
	case errors.Is(err, errScrapePanic):
		return failureCause{outcomePanic, errScrapePanic.Error()}
	case errors.As(err, &status):
		return failureCause{outcomeStatus, status.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return failureCause{outcomeTimeout, "timeout after " + timeout.String()}
	}
	if text, detail := netcause.DescribeTLS(err, "target"); text != "" {
		return failureCause{outcomeTLS, text + detail}
	}
	if text, _ := netcause.DescribeConnect(err); text != "" {
		return failureCause{outcomeConnect, text}
	}
	return failureCause{outcomeOther, plaintext.Clip(netcause.Innermost(err).Error(), maxCauseBytes)}
}
