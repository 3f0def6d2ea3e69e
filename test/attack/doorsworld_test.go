// An adapter with a Deployment of twenty pods, for attacks on its port.

package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

const (
	doorPods     = 20
	doorReadPath = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/" + goodMetric + "?labelSelector=app%3Dweb"
)

// doorWorld is an adapter with a Deployment of 20 pods and its autoscaler. A review takes 5 ms. Tokens that begin with "reader" are of
// users who may view everything, those that begin with "known" of users who may nothing; no other token is anybody's.
type doorWorld struct {
	*attackedAdapter
	hpa *http.Client // with kube-apiserver's certificate
}

func startDoorWorld(t *testing.T) *doorWorld {
	t.Helper()
	isReader := func(name string) bool { return strings.HasPrefix(name, "reader") }
	kube := startKube(t, kubeapi.Options{
		Authenticate: func(token string) (string, bool) { return token, isReader(token) || strings.HasPrefix(token, "known") },
		Authorize:    func(user string) bool { return user == hpaController || isReader(user) },
		ReviewTime:   5 * time.Millisecond,
	})
	port := startPages(t, http.HandlerFunc(goodPage))
	kube.AddDeployment("shop", "web", doorPods)
	for i := range doorPods {
		kube.SetPod(kubeapi.NewPod("shop", fmt.Sprintf("web-%02d", i), "web", net.JoinHostPort(fmt.Sprintf("127.0.1.%d", 1+i), port)))
	}
	kube.SetAutoscaler(kubeapi.NewAutoscaler("shop", "web", goodMetric))
	w := &doorWorld{attackedAdapter: startAttackedAdapter(t, kube)}
	trust, err := w.NewTLSConfig(kube.Proxy.Client)
	if err != nil {
		t.Fatal(err)
	}
	w.hpa = adapter.NewClient(trust, 1)
	w.awaitDoorValues()
	return w
}

// awaitDoorValues waits until the adapter is ready and the HPA has a value.
func (w *doorWorld) awaitDoorValues() {
	w.Helper()
	for end := waitEnd(w.T); ; retry.Sleep(w.Context(), 200*time.Millisecond) {
		_, err := askDoor(w.Context(), w.hpa, w.URL+"/readyz", doorHPAHeader())
		if err == nil {
			_, err = askDoor(w.Context(), w.hpa, w.URL+doorReadPath, doorHPAHeader())
		}
		if err == nil {
			return
		}
		if ended := w.EndError(); ended != nil || time.Now().After(end) {
			w.Fatalf("no values: %v, %v", err, ended)
		}
	}
}

func doorHPAHeader() http.Header {
	return http.Header{
		"X-Remote-User":  {hpaController},
		"X-Remote-Group": {"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
	}
}

// newDoorClient returns a client from 127.0.0.host that trusts the certificate in a file.
func newDoorClient(certificate string, host byte) (*http.Client, error) {
	text, err := os.ReadFile(certificate)
	if err != nil {
		return nil, err
	}
	trust := &tls.Config{RootCAs: adapter.NewTrust(text), ServerName: "localhost", MinVersion: tls.VersionTLS12}
	return adapter.NewClient(trust, host), nil
}

// askDoor sends a request and returns its status; 0 without a response.
func askDoor(ctx context.Context, client *http.Client, url string, header http.Header) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header = header
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", response.Status, body)
	}
	return response.StatusCode, err
}
