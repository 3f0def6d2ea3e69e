package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/doctor"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/podtls"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// examine returns what `kubectl tachometer doctor hpa/sample` finds.
func examine(ctx context.Context, t *testing.T) *doctor.Report {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Cluster.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	reader, err := reading.NewRESTReader(config)
	if err != nil {
		t.Fatal(err)
	}
	return doctor.Run(ctx, doctor.Options{
		Client: s.Client, Metrics: reading.MetricReader{Reader: reader, Mapper: kube.NewLazyRESTMapper(s.Client.Discovery())},
		Certificates: podtls.Reader{Config: config, Client: s.Client}, Namespace: stack.SampleNamespace, HPA: "sample", Now: time.Now,
	})
}

// findsFirst waits until doctor's first fault is that of a check with the words, and returns the command that mends it.
func findsFirst(t *testing.T, check, says string) (fix string) {
	t.Helper()
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		first := examine(ctx, t).First()
		if first == nil || first.Name != check || first.Status != doctor.StatusFail || !strings.Contains(first.Message, says) {
			return fmt.Errorf("the first fault is %+v, want %s: … %s …", first, check, says)
		}
		fix = first.Fix
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return fix
}

// findsNothing waits until doctor finds nothing broken.
func findsNothing(t *testing.T) {
	t.Helper()
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		if report := examine(ctx, t); report.Broken() {
			return fmt.Errorf("the first fault is %+v", report.First())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestNetworkPolicyInTheWay: doctor names the policy that keeps the adapter from the pods, and its command admits the adapter. The
// cluster's network enforces no policy, so that rules of nftables do it.
func TestNetworkPolicyInTheWay(t *testing.T) {
	needNode(t)
	send(t, low)
	findsNothing(t)
	policies := s.Client.NetworkingV1().NetworkPolicies(stack.SampleNamespace)
	_, err := policies.Create(t.Context(), &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "deny-all"}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := policies.Delete(context.Background(), "deny-all", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	pods, err := adapters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var admit []func()
	for _, pod := range pods {
		pids, err := podProcesses(pod)
		if err != nil {
			t.Fatal(err)
		}
		admit = append(admit, filterPodTraffic(t, pids[0], "tcp dport 8080 drop"))
	}
	fix := findsFirst(t, "network", "networkpolicy/deny-all does not admit the adapter's pods to port 8080")
	runFix(t, fix)
	for _, end := range admit {
		end()
	}
	findsNothing(t)
}

// runFix runs a command that doctor printed, as a person would.
func runFix(t *testing.T, fix string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", fix)
	cmd.Env = append(os.Environ(), s.Cluster.Env()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", fix, err, out)
	}
}

// TestExpiredCertificate: doctor names the certificate of files that expired.
func TestExpiredCertificate(t *testing.T) {
	needNode(t)
	ctx := t.Context()
	const name = "expired"
	secrets, deployments := s.Client.CoreV1().Secrets(stack.AdapterNamespace), s.Client.AppsV1().Deployments(stack.AdapterNamespace)
	if _, err := secrets.Create(ctx, newExpiredCertificate(t, name), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	whole, err := deployments.Get(ctx, "tachometer-adapter", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := secrets.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		current, err := deployments.Get(ctx, whole.Name, metav1.GetOptions{})
		if err == nil {
			current.Spec = whole.Spec
			_, err = deployments.Update(ctx, current, metav1.UpdateOptions{})
		}
		if err == nil {
			_, err = s.Kubectl(ctx, "-n", stack.AdapterNamespace, "rollout", "status", "deployment/"+whole.Name, "--timeout=120s")
		}
		if err == nil {
			err = stack.Wait(ctx, time.Minute, func(ctx context.Context) error { return steady(ctx, 2) })
		}
		if err != nil {
			t.Error(err)
		}
	})
	patch := `[{"op":"replace","path":"/spec/strategy","value":{"type":"Recreate"}},` +
		`{"op":"add","path":"/spec/template/spec/volumes/-","value":{"name":"expired","secret":{"secretName":"expired"}}},` +
		`{"op":"add","path":"/spec/template/spec/containers/0/volumeMounts/-","value":{"name":"expired","mountPath":"/expired"}},` +
		`{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--tls-cert-file=/expired/tls.crt"},` +
		`{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--tls-private-key-file=/expired/tls.key"}]`
	if _, err := deployments.Patch(ctx, whole.Name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	findsFirst(t, "certificate", "expired at 20")
}

// newExpiredCertificate returns a Secret with a certificate for the adapter's Service that was valid until an hour ago.
func newExpiredCertificate(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	host := "tachometer-adapter." + stack.AdapterNamespace + ".svc"
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
			corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		},
	}
}
