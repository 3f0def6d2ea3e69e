// Bounds of the texts in a request, checked before authentication. Later stages parse them, remembers them as keys of
// decisions, and sends them to kube-apiserver.

package apiserver

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// requestFault is a bound that a request exceeds.
type requestFault struct {
	label   string // of the self-metric
	code    int32
	status  metav1.StatusReason
	message string
}

// checkRequestBounds returns the first bound that a request exceeds; nil for none. It costs microseconds.
func checkRequestBounds(r *http.Request, limits serverLimits) *requestFault {
	switch {
	case len(r.Method) > limits.methodBytes:
		return &requestFault{reasonMethod, http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "the request's method is too long; these APIs are read with GET"}
	case len(r.RequestURI) > limits.uriBytes:
		return &requestFault{reasonURI, http.StatusRequestURITooLong, metav1.StatusReasonInvalid, fmt.Sprintf(
			"the request URI has %d bytes and may have %d; shorten the names and selectors in it", len(r.RequestURI), limits.uriBytes)}
	case len(r.URL.Path) > limits.pathBytes:
		return &requestFault{reasonURI, http.StatusRequestURITooLong, metav1.StatusReasonInvalid, fmt.Sprintf(
			"the request's path has %d bytes and may have %d; shorten the names in it", len(r.URL.Path), limits.pathBytes)}
	case len(r.Header.Get("Authorization")) > limits.tokenBytes:
		return &requestFault{reasonToken, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, fmt.Sprintf(
			"the Authorization header has more than %d bytes; a ServiceAccount's token has about 1,000", limits.tokenBytes)}
	}
	if name := findLongHeader(r.Header, limits.fieldBytes); name != "" {
		return &requestFault{reasonHeader, http.StatusRequestHeaderFieldsTooLarge, metav1.StatusReasonInvalid, fmt.Sprintf(
			"the header %.40q has more than %d bytes; shorten it", name, limits.fieldBytes)}
	}
	if message := checkSelectorSizes(r.URL.RawQuery, limits); message != "" {
		return &requestFault{reasonSelector, http.StatusBadRequest, metav1.StatusReasonBadRequest, message}
	}
	return nil
}

// findLongHeader returns the name of a header with values that are too long together; empty if there is none. Of the headers that
// say who the caller is, only kube-apiserver's count, and their bound is the bound of all headers.
func findLongHeader(header http.Header, limit int) string {
	for name, values := range header {
		if name == "Authorization" || strings.HasPrefix(name, "X-Remote-") {
			continue
		}
		size := len(name)
		for _, v := range values {
			size += len(v)
		}
		if size > limit {
			return name
		}
	}
	return ""
}

// checkSelectorSizes returns the fault in the size of the selectors in a query; empty for none. A parser would take
// milliseconds for each of them, several times.
func checkSelectorSizes(query string, limits serverLimits) string {
	for query != "" {
		var parameter string
		parameter, query, _ = strings.Cut(query, "&")
		name, text, _ := strings.Cut(parameter, "=")
		if !strings.HasSuffix(name, "elector") && !strings.Contains(name, "%") {
			continue
		}
		text, err := url.QueryUnescape(text)
		if err != nil {
			continue // the library rejects it
		}
		switch requirements, values := countSelectorTerms(text); {
		case requirements > limits.requirements:
			return fmt.Sprintf("a selector has %d requirements; the limit is %d", requirements, limits.requirements)
		case values > limits.values:
			return fmt.Sprintf("a selector has %d values; the limit is %d", values, limits.values)
		}
	}
	return ""
}

// countSelectorTerms counts the requirements of a selector's text, and the values in its sets.
func countSelectorTerms(text string) (requirements, values int) {
	inSet := false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '(':
			inSet, values = true, values+1
		case c == ')':
			inSet = false
		case c == ',' && inSet:
			values++
		case c == ',':
			requirements++
		}
	}
	return requirements + 1, values
}
