// Failures of requests: their outcomes as label values, their texts without secrets, and their consequences.

package remote

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/netcause"
	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// requestOutcome is the end of a request to a server, as a label value.
type requestOutcome string

const (
	outcomeSuccess      requestOutcome = "success"
	outcomeConnect      requestOutcome = "connect" // no connection, or a broken connection
	outcomeTimeout      requestOutcome = "timeout"
	outcomeTLS          requestOutcome = "tls"
	outcomeUnauthorised requestOutcome = "unauthorised"
	outcomeThrottled    requestOutcome = "throttled"
	outcomeServerError  requestOutcome = "server_error" // 5xx
	outcomeBadQuery     requestOutcome = "bad_query"
	outcomeBadRequest   requestOutcome = "bad_request"  // redirects and 4xx that do not concern the query
	outcomeBadResponse  requestOutcome = "bad_response" // not JSON of the Prometheus API
	outcomeTooLarge     requestOutcome = "too_large"
	outcomePartial      requestOutcome = "partial"
	outcomeBadResult    requestOutcome = "bad_result" // complete, but not as the rule promises
	outcomeOther        requestOutcome = "other"

	// Not counted: no request was sent, or no reader waits for the response.
	outcomeSkipped   requestOutcome = "skipped"
	outcomeCancelled requestOutcome = "cancelled"
)

func listRequestOutcomes() []requestOutcome {
	return []requestOutcome{
		outcomeSuccess, outcomeConnect, outcomeTimeout, outcomeTLS, outcomeUnauthorised, outcomeThrottled, outcomeServerError, outcomeBadQuery, outcomeBadRequest, outcomeBadResponse,
		outcomeTooLarge, outcomePartial, outcomeBadResult, outcomeOther,
	}
}

// backendRequestFailure explains the lack of a response.
type backendRequestFailure struct {
	outcome requestOutcome
	// text is the cause in a few words without secrets: it appears in the status of HPAs.
	text string
	// serverWide means that other requests to the server would fail too.
	serverWide bool
	// retryAfter is the time until the next try that the server demands; 0 without such a demand.
	retryAfter time.Duration
	// since is the time of the first such failure, if it is older than this request.
	since time.Time
}

func newRequestFailuref(o requestOutcome, format string, args ...any) *backendRequestFailure {
	return &backendRequestFailure{outcome: o, text: fmt.Sprintf(format, args...)}
}

// allowsServerFailover reports whether another server of the same data may succeed.
func (f *backendRequestFailure) allowsServerFailover() bool {
	switch f.outcome {
	case outcomeConnect, outcomeTimeout, outcomeTLS, outcomeThrottled, outcomeServerError, outcomeBadResponse, outcomeSkipped:
		return true
	case outcomeSuccess, outcomeUnauthorised, outcomeBadQuery, outcomeBadRequest, outcomeTooLarge, outcomePartial, outcomeBadResult,
		outcomeOther, outcomeCancelled:
		return false
	}
	return false
}

// chooseErrorKind returns the kind of a read's error.
func (f *backendRequestFailure) chooseErrorKind() metric.Kind {
	if f.outcome == outcomeBadQuery || f.outcome == outcomeBadResult {
		return metric.KindInternal
	}
	return metric.KindUnavailable
}

// allowsRegularRefresh reports whether the query may repeat at its usual interval: the failure does not come from load.
func (f *backendRequestFailure) allowsRegularRefresh() bool {
	switch f.outcome {
	case outcomePartial, outcomeBadResult, outcomeBadResponse:
		return true
	case outcomeSuccess, outcomeConnect, outcomeTimeout, outcomeTLS, outcomeUnauthorised, outcomeThrottled, outcomeServerError,
		outcomeBadQuery, outcomeBadRequest, outcomeTooLarge, outcomeOther, outcomeCancelled, outcomeSkipped:
		return false
	}
	return false
}

// findBackendErrorCause returns context.DeadlineExceeded for an error of a request that its timer ended, and any other error as it is.
func findBackendErrorCause(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}

// classifyBackendTransportError returns the failure for an error of the HTTP client. The net package's own texts have addresses, and URLs
// that may contain secrets.
func classifyBackendTransportError(err error, timeout time.Duration) *backendRequestFailure {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return newRequestFailuref(outcomeTimeout, "timeout after %v", timeout)
	}
	if fieldlimit.IsLongHeadersError(err) {
		return newRequestFailuref(outcomeBadResponse, "%s", fieldlimit.LongHeadersCause)
	}
	if f := classifyBackendTLSError(err); f != nil {
		return f
	}
	if f := classifyBackendConnectError(err); f != nil {
		return f
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		return newRequestFailuref(outcomeUnauthorised, "credentials: %s %s: %v", file.Op, file.Path, file.Err)
	}
	text, _, _ := strings.Cut(netcause.Innermost(err).Error(), "\n")
	if strings.HasPrefix(text, "oauth2: ") { // words of the token server
		return newRequestFailuref(outcomeUnauthorised, "credentials: %s", clipServerText(text))
	}
	return newRequestFailuref(outcomeOther, "%s", clipServerText(text))
}

func classifyBackendConnectError(err error) *backendRequestFailure {
	text, host := netcause.DescribeConnect(err)
	var dial *net.OpError
	switch {
	case host != "":
		text += " " + clipServerText(host)
	case text != "":
	case errors.As(err, &dial) && dial.Op == "dial":
		text = clipServerText(netcause.Innermost(err).Error())
	default:
		return nil
	}
	return &backendRequestFailure{outcome: outcomeConnect, text: text, serverWide: true}
}

func classifyBackendTLSError(err error) *backendRequestFailure {
	text, detail := netcause.DescribeTLS(err, "server")
	text += clipServerText(detail)
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		text = "TLS: " + describeServerCertExpiry(invalid.Cert, time.Now())
	}
	if text == "" {
		return nil
	}
	return &backendRequestFailure{outcome: outcomeTLS, text: text, serverWide: true}
}

// describeServerCertExpiry words the validity of a certificate that is not valid at now. The certificate may be nil.
func describeServerCertExpiry(c *x509.Certificate, now time.Time) string {
	switch {
	case c == nil:
		return "certificate expired"
	case c.NotAfter.Before(now):
		return "certificate expired at " + c.NotAfter.UTC().Format(time.DateTime) + " UTC"
	}
	return fmt.Sprintf("certificate is valid from %s to %s only", c.NotBefore.UTC().Format(time.DateTime), c.NotAfter.UTC().Format(time.DateTime))
}

// clipServerText bounds text of another program.
func clipServerText(s string) string {
	const maxBytes = 300
	return plaintext.Clip(s, maxBytes)
}

// checkResponseStatus returns the failure of a response's status; nil for 200. It may read the body.
func checkResponseStatus(resp *http.Response, now time.Time) *backendRequestFailure {
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
		return newRequestFailuref(outcomeBadRequest, "redirected to %s, not followed: correct the url", redactRedirectLocation(resp))
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return newRequestFailuref(outcomeUnauthorised, "unauthorised (%s): check the credentials under http", text)
	case code == http.StatusTooManyRequests:
		return &backendRequestFailure{outcome: outcomeThrottled, text: text, serverWide: true, retryAfter: parseRetryAfter(resp, now)}
	case code/100 == 5:
		return &backendRequestFailure{outcome: outcomeServerError, text: text, retryAfter: parseRetryAfter(resp, now)}
	case words.fromAPI && isServerStorageError(words.text):
		return newRequestFailuref(outcomeServerError, "%s", text)
	case words.fromAPI && (code == http.StatusBadRequest || code == http.StatusUnprocessableEntity):
		return newRequestFailuref(outcomeBadQuery, "rejects the query: %s", words.text)
	case code == http.StatusMethodNotAllowed:
		return newRequestFailuref(outcomeBadRequest, "%s: try method: GET", text)
	case code == http.StatusRequestURITooLong:
		return newRequestFailuref(outcomeBadRequest, "%s: try method: POST", text)
	case code == http.StatusNotFound:
		return newRequestFailuref(outcomeBadRequest, "%s: no Prometheus API at this url", text)
	}
	return newRequestFailuref(outcomeBadRequest, "%s", text)
}

// remoteRejectionRegexp matches the error of gRPC for a wrong query.
var remoteRejectionRegexp = regexp.MustCompile(`rpc error: code = (InvalidArgument|Code\((400|422)\)) `)

// isServerStorageError reports whether the error of a query is that its series could not be read, as while a store behind Thanos or a remote
// read fails. Servers tell it with the status 422 of a wrong query. Thanos's own engine passes on the error of gRPC alone. A server behind
// the server may also reject the query, with a code of gRPC or of HTTP.
func isServerStorageError(text string) bool {
	return !remoteRejectionRegexp.MatchString(text) && (strings.HasPrefix(text, "expanding series: ") || strings.Contains(text, "rpc error: code = "))
}

// quotedQueryRegexp matches the query, and its parts, before the cause in the errors of VictoriaMetrics.
var quotedQueryRegexp = regexp.MustCompile(`^(?:(?:error when executing query=|cannot [a-z ]+ )"(?:[^"\\]|\\.)*"(?: for \([^)]*\))?: )+`)

// serverMessage is the text of an error response.
type serverMessage struct {
	text    string
	fromAPI bool // an error of the Prometheus API
}

// readServerMessage reads the beginning of an error's body: the error of the API, or a line of plain text. It ignores pages for
// a browser, which have no short cause.
func readServerMessage(resp *http.Response) serverMessage {
	// VictoriaMetrics repeats the query, which names up to maxQueryNamespaces.
	const maxBytes = 1 << 20
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBytes)) // the part before a read error may do
	var api struct{ Error string }
	if json.Unmarshal(body, &api) == nil && api.Error != "" {
		return serverMessage{clipServerText(quotedQueryRegexp.ReplaceAllString(api.Error, "")), true}
	}
	if parseResponseMediaType(resp) != "text/plain" {
		return serverMessage{}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(strings.ToValidUTF8(string(body), "")), "\n")
	return serverMessage{text: clipServerText(line)}
}

// redactRedirectLocation returns the address of a redirect, without parts that may be secret.
func redactRedirectLocation(resp *http.Response) string {
	u, err := resp.Location()
	if err != nil {
		return "nowhere"
	}
	return clipServerText(redactServerURL(u))
}

// maxRetryDelay bounds the time between two tries of a server or a query.
const maxRetryDelay = time.Minute

// parseRetryAfter returns the time until the next try that the server demands, at most maxRetryDelay; 0 without such a demand.
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

// newRefreshBackoff returns the delays after failures: the refresh interval, twice that, and so on up to maxRetryDelay.
func newRefreshBackoff(refresh time.Duration) retry.Backoff {
	return retry.Backoff{First: refresh, Max: maxRetryDelay}
}
