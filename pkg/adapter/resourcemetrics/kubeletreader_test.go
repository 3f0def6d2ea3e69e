package resourcemetrics

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// removeHandshakeTimeout has a transport of client-go wait for a busy machine.
func removeHandshakeTimeout(t *testing.T, transport http.RoundTripper) {
	t.Helper()
	for {
		switch inner := transport.(type) {
		case *http.Transport:
			inner.TLSHandshakeTimeout = 0
			return
		case utilnet.RoundTripperWrapper:
			transport = inner.WrappedRoundTripper()
		default:
			t.Fatalf("a transport of another kind: %T", transport)
		}
	}
}

// The adapter's token goes only to kubelets with a trusted certificate, and never to the target of a redirect.
func TestKubeletTransport(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 10)
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.URL.Path + " " + r.Header.Get("Authorization")
		if r.Header.Get("Authorization") != "Bearer from-file" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte(usagePage("p", time.Now())))
	}))
	t.Cleanup(kubelet.Close)
	write := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: kubelet.Certificate().Raw})
	token, caFile := write("token", []byte("from-file")), write("ca.crt", ca)
	for name, tc := range map[string]struct {
		cluster rest.Config
		trust   KubeletTLS
		outcome string
	}{
		"the cluster's authority": {rest.Config{BearerTokenFile: token, TLSClientConfig: rest.TLSClientConfig{CAData: ca, ServerName: "kubernetes"}}, KubeletTLS{}, outcomeSuccess},
		"one of its own":          {rest.Config{BearerTokenFile: token}, KubeletTLS{CAFile: caFile}, outcomeSuccess},
		"unknown":                 {rest.Config{BearerTokenFile: token}, KubeletTLS{}, outcomeTLS},
		"insecure":                {rest.Config{BearerTokenFile: token, TLSClientConfig: rest.TLSClientConfig{CAFile: caFile}}, KubeletTLS{Insecure: true}, outcomeSuccess},
		"redirected":              {rest.Config{BearerToken: "stale"}, KubeletTLS{CAFile: caFile}, outcomeHTTPStatus},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cluster.Host = "https://kubernetes.invalid"
			before := tc.cluster
			transport, err := NewKubeletTransport(&tc.cluster, tc.trust)
			if err != nil {
				t.Fatal(err)
			}
			defer utilnet.CloseIdleConnectionsFor(transport)
			removeHandshakeTimeout(t, transport)
			if before.String() != tc.cluster.String() {
				t.Error("the cluster's own configuration was changed")
			}
			r := newKubeletReader(transport, exposition.PageOptions{Families: listKubeletFamilies(), MaxBytes: 1 << 20, MaxLabels: maxPageLabels, MaxSamples: maxPageSamples})
			p, err := r.readKubeletPage(t.Context(), kubelet.Listener.Addr().String(), time.Now())
			if got, text := classifyKubeletError(err); got != tc.outcome {
				t.Fatalf("%s (%s: %v), want %s", got, text, err, tc.outcome)
			}
			if tc.outcome == outcomeSuccess && p.node.cpu == 0 {
				t.Errorf("page %+v", p)
			}
			select {
			case request := <-seen:
				if !strings.HasPrefix(request, "/metrics/resource ") {
					t.Errorf("asked for %s", request)
				}
			default:
				if tc.outcome != outcomeTLS {
					t.Error("was not asked")
				}
			}
			if len(seen) != 0 {
				t.Errorf("asked again: %s", <-seen)
			}
		})
	}
	if _, err := NewKubeletTransport(&rest.Config{}, KubeletTLS{CAFile: "none"}); err == nil {
		t.Error("no fault for a file that does not exist")
	}
}

// TestKubeletTLSCauses: an expired certificate is not merely one that is not trusted, and no cause has an address.
func TestKubeletTLSCauses(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"TLS: certificate has expired, or is not valid yet": &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}},
		"TLS: certificate not trusted":                      &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
		"TLS: certificate is for another name":              &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "10.0.0.7"}},
		"TLS: the kubelet speaks plain HTTP":                tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"},
		"TLS: handshake failed":                             errors.New("tls: server selected unsupported protocol version 301"),
	} {
		if outcome, text := classifyKubeletError(fmt.Errorf("read: %w", err)); outcome != outcomeTLS || text != want {
			t.Errorf("%v: %s, %q, want %q", err, outcome, text, want)
		}
	}
}

// TestKubeletHeadersAreBounded: a node that was taken over makes the adapter hold no thousands of header fields, over HTTP/1 and HTTP/2, with
// an authority that client-go reads again and with one that it does not.
func TestKubeletHeadersAreBounded(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		kubelet := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := range 4000 {
				w.Header().Set("A"+strconv.Itoa(i), "")
			}
			_, _ = w.Write([]byte(usagePage("p", time.Now())))
		}))
		kubelet.EnableHTTP2 = http2
		kubelet.StartTLS()
		t.Cleanup(kubelet.Close)
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: kubelet.Certificate().Raw})
		caFile := filepath.Join(t.TempDir(), "ca.crt")
		if err := os.WriteFile(caFile, ca, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, trust := range map[string]rest.TLSClientConfig{"data": {CAData: ca}, "file": {CAFile: caFile}} {
			transport, err := NewKubeletTransport(&rest.Config{Host: "https://kubernetes.invalid", TLSClientConfig: trust}, KubeletTLS{CAFile: trust.CAFile})
			if err != nil {
				t.Fatal(err)
			}
			defer utilnet.CloseIdleConnectionsFor(transport)
			removeHandshakeTimeout(t, transport)
			r := newKubeletReader(transport, exposition.PageOptions{Families: listKubeletFamilies(), MaxBytes: 1 << 20, MaxLabels: maxPageLabels, MaxSamples: maxPageSamples})
			_, err = r.readKubeletPage(t.Context(), kubelet.Listener.Addr().String(), time.Now())
			if outcome, text := classifyKubeletError(err); outcome != outcomeConnect {
				t.Errorf("HTTP/2 %v, authority as %s: %s (%s: %v), want %s", http2, name, outcome, text, err, outcomeConnect)
			}
		}
	}
}
