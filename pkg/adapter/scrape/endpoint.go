package scrape

// The request for a target: its address, its families by name, and its bytes, rendered once.

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// scrapedEndpoint is the address of a target and the requests for its families. One scrape at a time uses it.
type scrapedEndpoint struct {
	url         string
	loggedURL   string // the URL for logs, without user and query, which may hold secrets
	dialAddress string // host and port for plain HTTP; empty: net/http connects
	families    *exposition.Families
	urlErr      error // the URL is invalid

	requestURL *url.URL // the URL, or the page on the same host that the URL redirects to
	redirected bool
	escaped    bool // requests ask for names without dots, and so for whole pages

	namedRequest, wholeRequest requestTemplate // for the families by name; for the whole page, rendered when needed
	wholeUntil                 time.Time       // until then, requests ask for whole pages
	namedUntil                 time.Time       // until then, no request asks for a whole page
	probeAfter                 time.Time       // until then, absent families are not looked for by other requests
	probeWait                  time.Duration   // between the last two looks
	namesProven                bool            // the target was seen to find a family by its name
	namesHidden                bool            // the target was seen to hide a family from a request by name
}

// requestTemplate is a request to send any number of times: as bytes for plain HTTP, else as a template for net/http.
type requestTemplate struct {
	raw     []byte
	netHTTP *http.Request
}

func newScrapeRequestHeader(accept string) http.Header {
	return http.Header{"Accept": {accept}, "User-Agent": {"tachometer"}}
}

func newScrapedEndpoint(address string, families *exposition.Families) *scrapedEndpoint {
	e := &scrapedEndpoint{url: address, families: families, loggedURL: "invalid"}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		e.urlErr = errInvalidURL
		return e
	}
	e.loggedURL = u.Scheme + "://" + u.Host + u.EscapedPath()
	e.dialAddress = parsePlainHTTPAddress(u)
	e.useTargetURL(u)
	return e
}

// maxNamesBytes bounds the query of a request by family: many servers allow 8 KiB for a request line. The scraper asks for the
// whole page instead.
const maxNamesBytes = 6 << 10

// maxNamedFamilies bounds the families of such a request: from about there the whole page costs a server less than the choice.
const maxNamedFamilies = 200

// useTargetURL makes requests ask for u.
func (e *scrapedEndpoint) useTargetURL(u *url.URL) {
	e.requestURL, e.namedRequest, e.wholeRequest = u, requestTemplate{}, requestTemplate{}
	if len(e.families.Names()) > maxNamedFamilies {
		return
	}
	e.namedRequest = e.newNamedRequest(e.families)
}

// newNamedRequest renders a request for families by name, without their created samples if it would be too long; none if it still would.
func (e *scrapedEndpoint) newNamedRequest(families *exposition.Families) requestTemplate {
	named := *e.requestURL
	for _, withCreated := range [...]bool{true, false} {
		named.RawQuery = appendNameParams(e.requestURL.RawQuery, families.Names(), withCreated)
		if len(named.RawQuery) <= maxNamesBytes {
			return e.newRequestTemplate(&named, exposition.AcceptHeader)
		}
	}
	return requestTemplate{}
}

// parsePlainHTTPAddress returns the host and port of a URL with the scheme http. It returns an empty address for https and for
// host names outside ASCII: net/http handles both.
func parsePlainHTTPAddress(u *url.URL) string {
	host, port := u.Hostname(), u.Port()
	if u.Scheme != "http" || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(host, port)
}

// cloneForFamilies returns an endpoint for other families at the same URL. It keeps the lessons of earlier responses.
func (e *scrapedEndpoint) cloneForFamilies(families *exposition.Families) *scrapedEndpoint {
	n := newScrapedEndpoint(e.url, families)
	n.wholeUntil, n.namedUntil, n.escaped, n.redirected = e.wholeUntil, e.namedUntil, e.escaped, e.redirected
	n.namesProven, n.namesHidden = e.namesProven, e.namesHidden
	if e.redirected {
		n.useTargetURL(e.requestURL)
	}
	return n
}

// maxRedirects bounds the redirects of one scrape.
const maxRedirects = 3

// followTargetRedirect makes requests ask for the page that a response redirects to. It returns false for any other error, and for a
// page on another scheme, host or port: a target must not send the scraper elsewhere.
func (e *scrapedEndpoint) followTargetRedirect(err error) bool {
	var status *statusError
	if !errors.As(err, &status) || status.location == "" {
		return false
	}
	to, err := e.requestURL.Parse(status.location)
	if err != nil || to.Scheme != e.requestURL.Scheme || formatHostPort(to) != formatHostPort(e.requestURL) || to.User != nil {
		return false
	}
	to.RawQuery, to.Fragment = removeNameParams(to.RawQuery), ""
	e.redirected = true
	e.useTargetURL(to)
	return true
}

// formatHostPort returns the host of a URL in lower case with its port, which servers leave out of a redirect if it is the scheme's own.
func formatHostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// forgetTargetRedirect makes requests ask for the target's own URL again, after an error at the page that it redirected to.
func (e *scrapedEndpoint) forgetTargetRedirect() {
	if !e.redirected {
		return
	}
	if u, err := url.Parse(e.url); err == nil {
		e.redirected = false
		e.useTargetURL(u)
	}
}

// newRequestTemplate renders the request for a URL once for all scrapes. The bytes equal the request of net/http.
func (e *scrapedEndpoint) newRequestTemplate(u *url.URL, accept string) requestTemplate {
	request := &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Header: newScrapeRequestHeader(accept),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if e.dialAddress != "" {
		var b bytes.Buffer
		if request.Write(&b) == nil {
			return requestTemplate{raw: bytes.Clone(b.Bytes())}
		}
	}
	return requestTemplate{netHTTP: request} // net/http rejects the request with its own error
}

// isRequestRendered reports whether there is a request.
func (q requestTemplate) isRequestRendered() bool { return q.raw != nil || q.netHTTP != nil }

// getWholePageRequest returns the request without family names.
func (e *scrapedEndpoint) getWholePageRequest() requestTemplate {
	if !e.wholeRequest.isRequestRendered() {
		e.wholeRequest = e.newWholePageRequest(e.escaped)
	}
	return e.wholeRequest
}

// newWholePageRequest renders a request for the whole page, with names as they are or without dots.
func (e *scrapedEndpoint) newWholePageRequest(escaped bool) requestTemplate {
	if escaped {
		return e.newRequestTemplate(e.requestURL, exposition.EscapedAcceptHeader)
	}
	return e.newRequestTemplate(e.requestURL, exposition.AcceptHeader)
}

// requestsWholePage reports whether a scrape at now asks for the whole page at once.
func (e *scrapedEndpoint) requestsWholePage(now time.Time) bool {
	return e.escaped || e.namesHidden || !e.namedRequest.isRequestRendered() || now.Before(e.wholeUntil)
}

// removeNameParams removes the family names from a query, for a server that repeats the query in a redirect.
func removeNameParams(query string) string {
	parts := strings.Split(query, "&")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool {
		return strings.HasPrefix(p, "name%5B%5D=") || strings.HasPrefix(p, "name[]=")
	}), "&")
}

// appendNameParams adds to a query the possible names of the families' samples. client_golang expects the name of the family,
// Python's client the names of its samples; both ignore unknown names. FAMILY_sum and FAMILY_count may belong to a histogram
// or summary FAMILY. Python's client shows FAMILY_created only if it is asked for.
func appendNameParams(query string, families []string, withCreated bool) string {
	var b strings.Builder
	b.WriteString(query)
	name := func(s string) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString("name%5B%5D=")
		b.WriteString(url.QueryEscape(s))
	}
	for _, f := range families {
		name(f)
		if withCreated {
			name(exposition.FormatCreatedName(f))
		}
		if strings.HasSuffix(f, "_total") {
			continue // a counter, beyond doubt
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(f, suffix); ok {
				name(base)
			} else {
				name(f + suffix)
			}
		}
	}
	return b.String()
}
