// The first handler of a request: bounds before authentication.

package apiserver

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// requestAdmission bounds the cost of requests that are not authenticated yet. It stands in front of the handler chain of the
// library: its own limits come after authentication.
//
// Requests over connections of the front proxy pass at once: kube-apiserver has authenticated their callers, and holds
// places for them itself. All others are sorted by their credentials: none, credentials that were accepted lately, or unproven ones.
type requestAdmission struct {
	next     http.Handler
	health   http.Handler // answers the health paths at once; nil: next does
	limits   serverLimits
	open     pathMatcher // paths that need no authentication
	verifier frontProxyVerifier
	proven   *provenCredentials
	unproven *addressPlaces
	probes   *addressPlaces
	metrics  *metrics
}

// pathMatcher reports whether a path is in a set.
type pathMatcher func(path string) bool

func newRequestAdmission(next http.Handler, limits serverLimits, open pathMatcher, proven *provenCredentials, verifier frontProxyVerifier, m *metrics) *requestAdmission {
	return &requestAdmission{
		next: next, limits: limits, open: open, verifier: verifier, proven: proven, metrics: m,
		unproven: newClientAddressPlaces(limits.unproven, limits.unprovenPerAddress),
		probes:   newClientAddressPlaces(limits.probes, limits.probesPerAddress),
	}
}

func (a *requestAdmission) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The library also takes a token from here, on paths that are open to all too. No API of this server has WebSockets.
	r.Header.Del("Sec-Websocket-Protocol")
	fault := checkRequestBounds(r, a.limits)
	if fault == nil {
		fault = a.checkHeaderFields(r)
	}
	if fault != nil {
		a.rejectFaultyRequest(w, r, fault)
		return
	}
	switch {
	case isFromFrontProxy(r.Context()):
		a.next.ServeHTTP(w, r)
	case a.verifier.isFrontProxyPeer(r.TLS):
		// Its authority was not known at the handshake. The next connection gets the front proxy's limits.
		w.Header().Set("Connection", "close")
		a.next.ServeHTTP(w, r)
	case parseBearerToken(r) == "" && !hasClientCertificate(r):
		a.serveAnonymousRequest(w, r)
	default:
		a.serveWithCredentials(w, r)
	}
}

// checkHeaderFields returns the fault of a header with too many fields; nil for none. kube-apiserver may send any number: one for each group
// of its caller.
func (a *requestAdmission) checkHeaderFields(r *http.Request) *requestFault {
	fields := 0
	for _, values := range r.Header {
		fields += len(values)
	}
	if fields <= a.limits.fields || isFromFrontProxy(r.Context()) || a.verifier.isFrontProxyPeer(r.TLS) {
		return nil
	}
	return &requestFault{reasonHeader, http.StatusRequestHeaderFieldsTooLarge, metav1.StatusReasonInvalid, fmt.Sprintf(
		"the request's header has %d fields and may have %d; remove some", fields, a.limits.fields)}
}

// serveAnonymousRequest serves only the paths that need no authentication. For all others the answer is known without a question
// to kube-apiserver: a request for another identity would cost one, on an open path too.
func (a *requestAdmission) serveAnonymousRequest(w http.ResponseWriter, r *http.Request) {
	if !a.open(r.URL.Path) || hasImpersonation(r.Header) {
		a.rejectFaultyRequest(w, r, &requestFault{reasonAnonymous, http.StatusUnauthorized, metav1.StatusReasonUnauthorized,
			"the request has no credentials; send a bearer token, or ask through kube-apiserver"})
		return
	}
	next := a.next
	if a.health != nil && isHealthPath(r.URL.Path) {
		next = a.health
	}
	a.serveInClientAddressPlace(w, r, next, a.probes, reasonProbes)
	chargeClientConnection(r.Context())
}

// hasImpersonation reports whether a header asks for another identity than the caller's.
func hasImpersonation(header http.Header) bool {
	for name := range header {
		if strings.HasPrefix(name, "Impersonate-") {
			return true
		}
	}
	return false
}

// serveWithCredentials serves a request with credentials that are proven, or may cost a TokenReview.
func (a *requestAdmission) serveWithCredentials(w http.ResponseWriter, r *http.Request) {
	credentials := hashRequestCredentials(r) // the library removes an accepted token
	hashed := r.WithContext(context.WithValue(r.Context(), credentialsKey{}, credentials))
	if a.proven.areCredentialsProven(credentials) {
		a.next.ServeHTTP(w, hashed)
		return
	}
	a.serveInClientAddressPlace(w, hashed, a.next, a.unproven, reasonUnproven)
	if !a.proven.areCredentialsProven(credentials) {
		chargeClientConnection(r.Context())
	}
}

func (a *requestAdmission) serveInClientAddressPlace(w http.ResponseWriter, r *http.Request, next http.Handler, places *addressPlaces, reason string) {
	address := parseClientHost(r.RemoteAddr)
	if !places.takeClientAddressPlace(address) {
		a.rejectFaultyRequest(w, r, &requestFault{reason, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests,
			"too many requests without proven credentials at a time; try again later"})
		return
	}
	place := &sharedPlace{holders: 1, giveBack: func() { places.returnClientAddressPlace(address) }}
	defer place.releaseRequestPlace()
	next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), placeKey{}, place)))
}

func (a *requestAdmission) rejectFaultyRequest(w http.ResponseWriter, r *http.Request, fault *requestFault) {
	chargeClientConnection(r.Context())
	rejectFaultyRequest(w, a.metrics, fault)
}

// rejectFaultyRequest responds with a fault, and counts it.
func rejectFaultyRequest(w http.ResponseWriter, m *metrics, fault *requestFault) {
	m.rejections.WithLabelValues(fault.label).Inc()
	body := metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: fault.code, Reason: fault.status, Message: fault.message,
	}
	if fault.code == http.StatusTooManyRequests {
		body.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache, private")
	w.WriteHeader(int(fault.code))
	_ = json.NewEncoder(w).Encode(body) // the client is gone
}

func hasClientCertificate(r *http.Request) bool {
	return r.TLS != nil && len(r.TLS.PeerCertificates) > 0
}

// parseBearerToken returns the request's token, or "" if it has none, as the library reads it.
func parseBearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	token, _, _ = strings.Cut(token, " ")
	return token
}

// provenCredentials remembers tokens and client certificates that were accepted, by hash. A request with one of them needs no
// place among the unproven, so no flood of unknown tokens keeps it out. The authenticator still verifies each request.
type provenCredentials struct{ hashes *cache.LRUExpireCache }

const (
	// maxProvenCredentials is more than the callers that talk to the server without kube-apiserver in between.
	maxProvenCredentials = 1024
	// provenTime is about the life of a ServiceAccount's token.
	provenTime = time.Hour
)

func newProvenFrontProxyCredentials() *provenCredentials {
	return &provenCredentials{hashes: cache.NewLRUExpireCache(maxProvenCredentials)}
}

// credentialsHash is a hash of a request's credentials; credentialsKey is its key in the request's context.
type credentialsHash [sha256.Size]byte

type credentialsKey struct{}

// hashRequestCredentials returns the hash of the request's token, or else of its client certificate. It must have one of them.
func hashRequestCredentials(r *http.Request) credentialsHash {
	if token := parseBearerToken(r); token != "" {
		return sha256.Sum256([]byte("token:" + token))
	}
	return sha256.Sum256(r.TLS.PeerCertificates[0].Raw) // a DER sequence never begins like the above
}

func (p *provenCredentials) areCredentialsProven(credentials credentialsHash) bool {
	_, ok := p.hashes.Get(credentials)
	return ok
}

// recordProvenCredentials returns an authenticator that adds the credentials that next accepts, of requests that admission has
// hashed. The front proxy's need no proof.
func (p *provenCredentials) recordProvenCredentials(next authenticator.Request) authenticator.Request {
	return authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		credentials, hashed := r.Context().Value(credentialsKey{}).(credentialsHash)
		response, ok, err := authenticateInPlace(next, r)
		accepted := ok && err == nil && response.User.GetName() != user.Anonymous
		// The library removes an accepted token from the request; a token that is still there was not looked at.
		if accepted && hashed && parseBearerToken(r) == "" {
			p.hashes.Add(credentials, struct{}{}, provenTime)
		}
		return response, ok, err
	})
}

// authenticateInPlace authenticates a request, and holds its place until then. The library's TokenReview goes on if its caller gives
// up: with the caller's time, and a place given back meanwhile, impatient callers would have any number of reviews under way.
func authenticateInPlace(next authenticator.Request, r *http.Request) (*authenticator.Response, bool, error) {
	place, ok := r.Context().Value(placeKey{}).(*sharedPlace)
	if !ok {
		return next.AuthenticateRequest(r)
	}
	if !place.holdRequestPlace() {
		return nil, false, errors.New("authenticate: the request has ended")
	}
	defer place.releaseRequestPlace()
	return next.AuthenticateRequest(r.WithContext(context.WithoutCancel(r.Context())))
}
