package podtls

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"               //nolint:staticcheck // the types of client-go's own dialer
	httpspdy "k8s.io/apimachinery/pkg/util/httpstream/spdy" //nolint:staticcheck // as above
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// newForwardingAPIServer forwards every port of every pod to backend; without one it rejects, as a kubelet does.
func newForwardingAPIServer(t *testing.T, backend string) Reader {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces/tachometer/pods/adapter-1/portforward" {
			http.NotFound(w, r)
			return
		}
		if _, err := httpstream.Handshake(r, w, []string{portForwardProtocol}); err != nil {
			t.Errorf("handshake: %v", err)
			return
		}
		streams := make(chan httpstream.Stream, 2)
		connection := httpspdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
			streams <- s
			return nil
		})
		if connection == nil {
			return
		}
		go forwardStreams(streams, backend)
		<-connection.CloseChan()
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL}
	return Reader{Config: config, Client: kubernetes.NewForConfigOrDie(config)}
}

func forwardStreams(streams <-chan httpstream.Stream, backend string) {
	failure := <-streams
	data := <-streams
	if data.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
		failure, data = data, failure
	}
	upstream, err := net.Dial("tcp", backend)
	if err != nil {
		_, _ = failure.Write([]byte("error forwarding port: connection refused"))
		_ = failure.Close()
		_ = data.Close()
		return
	}
	_ = failure.Close()
	go func() { _, _ = io.Copy(upstream, data) }()
	_, _ = io.Copy(data, upstream)
}

func TestReadCertificates(t *testing.T) {
	t.Parallel()
	pod := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(pod.Close)
	reader := newForwardingAPIServer(t, pod.Listener.Addr().String())
	chain, err := reader.ReadCertificates(t.Context(), "tachometer", "adapter-1", 6443)
	if err != nil {
		t.Fatal(err)
	}
	if len(chain) == 0 || !bytes.Equal(chain[0].Raw, pod.Certificate().Raw) {
		t.Errorf("got another certificate than the pod serves: %d of them", len(chain))
	}
}

func TestReadCertificatesOfADeafPod(t *testing.T) {
	t.Parallel()
	_, err := newForwardingAPIServer(t, "127.0.0.1:1").ReadCertificates(t.Context(), "tachometer", "adapter-1", 6443)
	if err == nil || !strings.Contains(err.Error(), "pod adapter-1") {
		t.Errorf("error = %v, want one that names the pod", err)
	}
}

func TestReadCertificatesOfNoPod(t *testing.T) {
	t.Parallel()
	_, err := newForwardingAPIServer(t, "").ReadCertificates(t.Context(), "tachometer", "adapter-2", 6443)
	if err == nil || !strings.HasPrefix(err.Error(), "forward a port of pod adapter-2: ") {
		t.Errorf("error = %v, want one that names the pod", err)
	}
}
