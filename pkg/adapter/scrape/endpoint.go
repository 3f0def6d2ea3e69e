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

// endpoint is where and how to ask one target for some families. It is used by one scrape at a time.
type endpoint struct {
	url      string
	shown    string // the URL for logs: without user and query, which may hold secrets
	address  string // where to connect to for plain HTTP; empty: net/http does
	families *exposition.Families
	err      error // the URL is no URL

	named, whole question  // the page of the families; the whole page, made when needed
	wholeUntil   time.Time // asked for whole pages until then
	namedUntil   time.Time // not asked for whole pages until then
}

// question is a request, to be sent any number of times: as bytes for plain HTTP, else as a template.
type question struct {
	bytes   []byte
	request *http.Request
}

var header = http.Header{
	"Accept":     {exposition.Accept},
	"User-Agent": {"tachometer"},
}

func newEndpoint(address string, families *exposition.Families) *endpoint {
	e := &endpoint{url: address, families: families, shown: "invalid"}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		e.err = errInvalidURL
		return e
	}
	e.shown = u.Scheme + "://" + u.Host + u.Path
	e.address = plainAddress(u)
	named := *u
	named.RawQuery = withNames(u.RawQuery, families.Names())
	e.named = e.question(&named)
	return e
}

// plainAddress is the host and port of a URL with the scheme http. Names that have to be translated first are
// left to net/http, and so is https.
func plainAddress(u *url.URL) string {
	host, port := u.Hostname(), u.Port()
	if u.Scheme != "http" || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(host, port)
}

// with returns an endpoint for another URL or other families that remembers how the target likes to be asked.
func (e *endpoint) with(address string, families *exposition.Families) *endpoint {
	n := newEndpoint(address, families)
	n.wholeUntil, n.namedUntil = e.wholeUntil, e.namedUntil
	return n
}

// question renders the request for a URL once for all scrapes. The bytes are those that net/http would send.
func (e *endpoint) question(u *url.URL) question {
	request := &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if e.address != "" {
		var b bytes.Buffer
		if request.Write(&b) == nil {
			return question{bytes: bytes.Clone(b.Bytes())}
		}
	}
	return question{request: request} // what cannot be rendered, net/http refuses with its own words
}

// wholePage returns the request without names.
func (e *endpoint) wholePage() question {
	if e.whole.bytes == nil && e.whole.request == nil {
		u, _ := url.Parse(e.url) // newEndpoint parsed it
		e.whole = e.question(u)
	}
	return e.whole
}

// withNames adds to a query the names that a target may know the families' samples under. client_golang wants the
// family's name, Python's client those of the samples; names that do not exist are ignored by both. The
// samples of FAMILY_sum and FAMILY_count may be those of a histogram or summary FAMILY.
func withNames(query string, families []string) string {
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
