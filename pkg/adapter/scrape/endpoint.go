package scrape

// The request for a target: its address, its families by name, and its bytes, rendered once.

import (
	"bytes"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// targetEndpoint is the address of a target and the requests for its families. One scrape at a time uses it.
type targetEndpoint struct {
	url         string
	loggedURL   string // the URL for logs, without user and query, which may hold secrets
	dialAddress string // host and port for plain HTTP; empty: net/http connects
	families    *exposition.Families
	urlErr      error // the URL is invalid

	namedRequest, wholeRequest requestTemplate // for the families by name; for the whole page, rendered when needed
	wholeUntil                 time.Time       // until then, requests ask for whole pages
	namedUntil                 time.Time       // until then, no request asks for a whole page
}

// requestTemplate is a request to send any number of times: as bytes for plain HTTP, else as a template for net/http.
type requestTemplate struct {
	raw     []byte
	netHTTP *http.Request
}

var requestHeader = http.Header{
	"Accept":     {exposition.AcceptHeader},
	"User-Agent": {"tachometer"},
}

func newTargetEndpoint(address string, families *exposition.Families) *targetEndpoint {
	e := &targetEndpoint{url: address, families: families, loggedURL: "invalid"}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		e.urlErr = errInvalidURL
		return e
	}
	e.loggedURL = u.Scheme + "://" + u.Host + u.Path
	e.dialAddress = plainHTTPAddress(u)
	named := *u
	named.RawQuery = appendNameParams(u.RawQuery, families.Names())
	e.namedRequest = e.newRequestTemplate(&named)
	return e
}

// plainHTTPAddress returns the host and port of a URL with the scheme http. It returns an empty address for https and for
// host names outside ASCII: net/http handles both.
func plainHTTPAddress(u *url.URL) string {
	host, port := u.Hostname(), u.Port()
	if u.Scheme != "http" || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(host, port)
}

// cloneFor returns an endpoint for another URL or other families. It keeps the times until which requests avoid names or whole
// pages.
func (e *targetEndpoint) cloneFor(address string, families *exposition.Families) *targetEndpoint {
	n := newTargetEndpoint(address, families)
	n.wholeUntil, n.namedUntil = e.wholeUntil, e.namedUntil
	return n
}

// newRequestTemplate renders the request for a URL once for all scrapes. The bytes equal the request of net/http.
func (e *targetEndpoint) newRequestTemplate(u *url.URL) requestTemplate {
	request := &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Header: requestHeader,
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

// wholePageRequest returns the request without family names.
func (e *targetEndpoint) wholePageRequest() requestTemplate {
	if e.wholeRequest.raw == nil && e.wholeRequest.netHTTP == nil {
		u, _ := url.Parse(e.url) // newTargetEndpoint parsed it
		e.wholeRequest = e.newRequestTemplate(u)
	}
	return e.wholeRequest
}

// appendNameParams adds to a query the possible names of the families' samples. client_golang expects the name of the family,
// Python's client the names of its samples; both ignore unknown names. FAMILY_sum and FAMILY_count may belong to a histogram
// or summary FAMILY.
func appendNameParams(query string, families []string) string {
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
