package scrape

import (
	"bytes"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// targetEndpoint is where and how to ask one target for some families. It is used by one scrape at a time.
type targetEndpoint struct {
	url         string
	loggedURL   string // the URL for logs: without user and query, which may hold secrets
	dialAddress string // where to connect to for plain HTTP; empty: net/http does
	families    *exposition.Families
	urlErr      error // the URL is no URL

	namedRequest, wholeRequest requestTemplate // the page of the families; the whole page, made when needed
	wholeUntil                 time.Time       // asked for whole pages until then
	namedUntil                 time.Time       // not asked for whole pages until then
}

// requestTemplate is a request, to be sent any number of times: as bytes for plain HTTP, else as a template.
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

// plainHTTPAddress is the host and port of a URL with the scheme http. Names that have to be translated first are
// left to net/http, and so is https.
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

// cloneFor returns an endpoint for another URL or other families that remembers how the target likes to be asked.
func (e *targetEndpoint) cloneFor(address string, families *exposition.Families) *targetEndpoint {
	n := newTargetEndpoint(address, families)
	n.wholeUntil, n.namedUntil = e.wholeUntil, e.namedUntil
	return n
}

// newRequestTemplate renders the request for a URL once for all scrapes. The bytes are those that net/http would send.
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
	return requestTemplate{netHTTP: request} // what cannot be rendered, net/http refuses with its own words
}

// wholePageRequest returns the request without names.
func (e *targetEndpoint) wholePageRequest() requestTemplate {
	if e.wholeRequest.raw == nil && e.wholeRequest.netHTTP == nil {
		u, _ := url.Parse(e.url) // newEndpoint parsed it
		e.wholeRequest = e.newRequestTemplate(u)
	}
	return e.wholeRequest
}

// appendNameParams adds to a query the names that a target may know the families' samples under. client_golang wants the
// family's name, Python's client those of the samples; names that do not exist are ignored by both. The
// samples of FAMILY_sum and FAMILY_count may be those of a histogram or summary FAMILY.
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
