package apiserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const hpaUser = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"

// fakeKube answers what an aggregated server asks of kube-apiserver. Every token is the name of its user; one that begins
// with "unknown" is none's. The users "reader" and hpaUser may do everything. Reviews of what begins with "slow", and of
// unknown tokens, wait for release.
type fakeKube struct {
	kubeconfig                  string
	frontProxy                  tls.Certificate // of kube-apiserver
	tokenReviews, accessReviews atomic.Int64
	heldTokens, mostHeldTokens  atomic.Int64 // reviews of unknown tokens that wait, now and at most
	heldAccesses                atomic.Int64 // reviews of access that wait
	slow                        chan struct{}
	unauthorized                atomic.Bool // the adapter's own token is rejected
}

func (k *fakeKube) release() { close(k.slow) }

func newFakeKube(t *testing.T) *fakeKube {
	t.Helper()
	k := &fakeKube{slow: make(chan struct{})}
	ca, proxy := issueFrontProxy(t)
	k.frontProxy = proxy
	config := core.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication", ResourceVersion: "1"},
		Data: map[string]string{
			"client-ca-file": ca, "requestheader-client-ca-file": ca,
			"requestheader-username-headers": `["X-Remote-User"]`, "requestheader-group-headers": `["X-Remote-Group"]`,
			"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`, "requestheader-allowed-names": `["front-proxy"]`,
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/kube-system/configmaps", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("sendInitialEvents") != "" { // unsupported: the client lists then
			w.WriteHeader(http.StatusUnprocessableEntity)
			answerJSON(w, metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
				Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity,
			})
			return
		}
		if r.URL.Query().Get("watch") != "" {
			w.WriteHeader(http.StatusOK)
			<-r.Context().Done()
			return
		}
		answerJSON(w, core.ConfigMapList{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"},
			Items: []core.ConfigMap{config},
		})
	})
	mux.HandleFunc("GET /api/v1/namespaces/kube-system/configmaps/{name}", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, config) })
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", k.reviewToken)
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", k.reviewAccess)
	server := httptest.NewServer(k.rejectUnauthorized(mux))
	t.Cleanup(server.CloseClientConnections) // the watches that the library's controllers leave open
	k.kubeconfig = kubeconfig(t, server.URL)
	return k
}

func (k *fakeKube) rejectUnauthorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !k.unauthorized.Load() {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		answerJSON(w, metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Message: "Unauthorized",
			Reason: metav1.StatusReasonUnauthorized, Code: http.StatusUnauthorized,
		})
	})
}

func (k *fakeKube) reviewToken(w http.ResponseWriter, r *http.Request) {
	k.tokenReviews.Add(1)
	var review authentication.TokenReview
	_ = json.NewDecoder(r.Body).Decode(&review)
	unknown := strings.HasPrefix(review.Spec.Token, "unknown")
	if unknown {
		now := k.heldTokens.Add(1)
		for most := k.mostHeldTokens.Load(); now > most && !k.mostHeldTokens.CompareAndSwap(most, now); most = k.mostHeldTokens.Load() {
		}
		k.wait(r)
		k.heldTokens.Add(-1)
	}
	review.Status = authentication.TokenReviewStatus{Authenticated: !unknown, User: authentication.UserInfo{Username: review.Spec.Token}}
	answerJSON(w, review)
}

func (k *fakeKube) reviewAccess(w http.ResponseWriter, r *http.Request) {
	k.accessReviews.Add(1)
	var review authorization.SubjectAccessReview
	_ = json.NewDecoder(r.Body).Decode(&review)
	if strings.HasPrefix(review.Spec.User, "slow") {
		k.heldAccesses.Add(1)
		k.wait(r)
		k.heldAccesses.Add(-1)
	}
	review.Status = authorization.SubjectAccessReviewStatus{Allowed: review.Spec.User == "reader" || review.Spec.User == hpaUser}
	answerJSON(w, review)
}

func (k *fakeKube) wait(r *http.Request) {
	select {
	case <-k.slow:
	case <-r.Context().Done():
	}
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// issueFrontProxy returns an authority in PEM and a client certificate of it with kube-apiserver's usual name.
func issueFrontProxy(t *testing.T) (ca string, client tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(template, parent *x509.Certificate) []byte {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		template.BasicConstraintsValid = true
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	caDER := issue(authority, authority)
	leaf := issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "front-proxy"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authority)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})), tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}
}
